"""Name what would decide an open verdict: one sentence, and the command that cures it."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from rtxbench.records import CaseRecord, Observation, RatioRecord, Verdict
from rtxbench.verdicts.claims import Claim
from rtxbench.workloads.own import is_own, own_target

__all__ = ["measure_again", "most_frequent_step", "with_step"]

_LONGER: Final = {"smoke": "quick", "quick": "standard", "standard": "full"}


def measure_again(claim: Claim, record: RatioRecord | Observation | CaseRecord, profile: str) -> str | None:
    """Write the command that measures a comparison's own models once more, one profile longer; runs are combined.

    Args:
        claim: it was measured for.
        record: the latest of it.
        profile: that record was measured in.
    """
    if claim.kind == "user":
        return claim.reproduce or None
    longer = _LONGER.get(profile, "full")
    case = record.baseline if isinstance(record, RatioRecord) else record.case
    engine = f" --engine {case.engine}" if case is not None and case.engine not in ("tensorflow", "python") else ""
    if not isinstance(record, RatioRecord) or record.replicate == "seed":
        return f"rtxbench run --claim {claim.id} --profile {longer}{engine}"
    baseline = record.baseline
    if is_own(baseline.workload):
        named = f"--model {own_target(baseline.workload)} --batch-size {baseline.batch_size}"
    else:
        named = f"--workload {baseline.workload}"
    return f"rtxbench run {named} --profile {longer}{engine}"


def with_step(verdict: Verdict, step: str | None, command: str | None) -> Verdict:
    """Return the verdict with its next step, the command in the sentence and beside it."""
    if step is None:
        return replace(verdict, next_step=None, next_command=None)
    plain = step.rstrip(".")
    text = f"{plain}: `{command}`." if command else f"{plain}."
    return replace(verdict, next_step=text, next_command=command)


def most_frequent_step(claim: Claim, verdicts: Sequence[Verdict]) -> tuple[str | None, str | None]:
    """Choose the step, with its command, that most of these open verdicts ask for; of several alike the first.

    Where it takes a command for each of them, the claim's own command measures them together.
    """
    asked = [verdict for verdict in verdicts if verdict.next_step]
    if not asked:
        return None, None
    common = Counter(_sentence(verdict) for verdict in asked).most_common(1)[0][0]
    alike = [verdict for verdict in asked if _sentence(verdict) == common]
    commands = {verdict.next_command for verdict in alike}
    if len(commands) == 1 or not claim.reproduce:
        return alike[0].next_step, alike[0].next_command
    step = with_step(alike[0], common, f"{claim.reproduce} --profile standard")
    return step.next_step, step.next_command


def _sentence(verdict: Verdict) -> str:
    """Cut the command off a step."""
    return (verdict.next_step or "").replace(f": `{verdict.next_command}`", "")

"""Records and claims in, verdicts out: what may be said on each machine, and why.

Every comparison measured (a *subject*: one workload, one pair of arms) gets a verdict of its own
(`rtxbench.verdicts.subjects`), and the claim as a whole gets one from them (`rtxbench.verdicts.whole`).
See docs/claims.md for the states and docs/method.md for the rule.
"""

from collections.abc import Sequence
from typing import Final

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.records import GATE_SELFTEST_TOPIC, GATE_TOPIC, Observation, Verdict
from rtxbench.results.store import LoadedRun
from rtxbench.verdicts.causes import with_causes
from rtxbench.verdicts.claims import Claim, load_claims
from rtxbench.verdicts.matching import MachineEvidence, by_machine
from rtxbench.verdicts.notes import with_notes
from rtxbench.verdicts.subjects import Quality, judge_subjects, with_quality_checked, worst_quality
from rtxbench.verdicts.whole import JudgedClaim, after_holm, judge_whole, whole_p_value

__all__ = ["Claim", "judge", "load_claims"]

_QUALITY_CLAIM: Final = "equal-quality"


def judge(runs: Sequence[LoadedRun], claims: Sequence[Claim]) -> list[Verdict]:
    """Judge every claim on every machine of ``runs``.

    Returns:
        Per machine and claim: the verdict of the claim as a whole (empty ``subject``) followed by those of its
        subjects. Figures of two machines never enter one verdict, and a machine that only ran the gate gets none
        beside others.
    """
    spoken = [run for run in runs if not _only_of_the_gate(run)] or runs
    judged = [verdict for machine in by_machine(spoken) for verdict in _judge_machine(machine, claims)]
    diagnoser = Diagnoser(runs)
    return with_notes(runs, with_causes(runs, judged, diagnoser), claims, diagnoser)


def _only_of_the_gate(run: LoadedRun) -> bool:
    return bool(run.records) and all(
        isinstance(record, Observation) and record.topic in (GATE_TOPIC, GATE_SELFTEST_TOPIC) for record in run.records
    )


def _judge_machine(machine: MachineEvidence, claims: Sequence[Claim]) -> list[Verdict]:
    qualities = _qualities(machine, claims)
    judged = [_judged(machine, claim, qualities) for claim in claims]
    wholes = after_holm([(judge_whole(machine, entry), whole_p_value(entry)) for entry in judged], claims)
    return [
        verdict
        for whole, entry in zip(wholes, judged, strict=True)
        for verdict in (whole, *(subject.verdict for subject in entry.subjects))
    ]


def _judged(machine: MachineEvidence, claim: Claim, qualities: dict[tuple[str, str], Quality]) -> JudgedClaim:
    subjects = judge_subjects(machine, claim)
    if claim.needs_equal_quality:
        subjects = tuple(with_quality_checked(subject, qualities) for subject in subjects)
    return JudgedClaim(claim, subjects)


def _qualities(machine: MachineEvidence, claims: Sequence[Claim]) -> dict[tuple[str, str], Quality]:
    if not any(claim.needs_equal_quality for claim in claims):
        return {}
    quality = next(claim for claim in (*claims, *load_claims()) if claim.id == _QUALITY_CLAIM)
    return worst_quality(judge_subjects(machine, quality))

"""What a verdict also says, from records of its machine: did training wait for input, what did all-reduce take.

None of it decides anything; it is what a reader asks next.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.diagnosis.rules import WAIT_SHARE
from rtxbench.records import Observation, RatioRecord, Verdict
from rtxbench.store import LoadedRun
from rtxbench.units import format_percent

__all__ = ["input_wait_text", "is_input_bound", "with_asides"]


def with_asides(runs: Sequence[LoadedRun], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Append to each explanation what the machine's records say of input and of all-reduce."""
    diagnoser = Diagnoser(runs)
    ratios = {record.record_id: record for loaded in runs for record in loaded.of_kind(RatioRecord)}
    waits = _waits(runs)
    found = []
    for verdict in verdicts:
        parallel = [ratios[name] for name in verdict.evidence if name in ratios]
        texts = [_all_reduce_text(parallel[-1:] if verdict.subject else parallel, diagnoser)]
        if not verdict.subject:
            texts.append(input_wait_text(waits.get((verdict.machine, verdict.claim), ())))
        found.append(replace(verdict, explanation=" ".join([verdict.explanation, *filter(None, texts)])))
    return found


def _waits(runs: Sequence[LoadedRun]) -> Mapping[tuple[str, str], list[Observation]]:
    """(machine, topic) → the latest wait for input of each pipeline."""
    latest: dict[tuple[str, str], dict[str, Observation]] = {}
    for loaded in runs:
        for record in loaded.of_kind(Observation):
            if record.metric == "input_wait_ratio" and record.values and "pipeline" in record.labels:
                key = (loaded.run.environment.machine, record.topic)
                latest.setdefault(key, {})[record.labels["pipeline"]] = record
    return {key: list(pipelines.values()) for key, pipelines in latest.items()}


def input_wait_text(waits: Iterable[Observation]) -> str:
    """One sentence: of each pipeline, whether training fed by it was input-bound. Empty without figures."""
    said = [f"{_bound_words(wait)} with `{wait.labels['pipeline']}`" for wait in waits]
    return f"Share of the training loop spent waiting for input: {'; '.join(said)}." if said else ""


def _bound_words(wait: Observation) -> str:
    bound = is_input_bound(wait)
    one = "one repeat: " if wait.estimate is None or wait.estimate.low is None else ""
    words = f"{one}cannot say whether input-bound" if bound is None else "input-bound" if bound else "not input-bound"
    return f"{format_percent(sum(wait.values) / len(wait.values), 0)} ({words})"


def is_input_bound(wait: Observation) -> bool | None:
    """Whether training waits for input: the whole interval at or above a fifth of the loop, or below it.

    Args:
        wait: ``input_wait_ratio`` of one pipeline.

    Returns:
        ``None`` where the interval holds the line, or there is none.
    """
    low, high = (None, None) if wait.estimate is None else (wait.estimate.low, wait.estimate.high)
    if low is None or high is None or low < WAIT_SHARE <= high:
        return None
    return low >= WAIT_SHARE


def _all_reduce_text(ratios: Sequence[RatioRecord], diagnoser: Diagnoser) -> str:
    """One sentence on the parallel arms of these ratios; several arms are told one by one, each kind by itself."""
    found = {record.candidate.label: diagnoser.all_reduce(record) for record in ratios}
    shares = {label: share.text for label, share in found.items() if share is not None}
    if not shares:
        return ""
    if len(set(shares.values())) == 1:
        return f"All-reduce share: {next(iter(shares.values()))}."
    return f"All-reduce share: {'; '.join(f'{text} in {label}' for label, text in shares.items())}."

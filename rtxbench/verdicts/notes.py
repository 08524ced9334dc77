"""Notes beside a verdict: did training wait for input, what did all-reduce take, what is published meanwhile.

None of it decides anything; it is what a reader asks next, taken from the machine's records and from the catalogue.
Every note is a record of its own (`rtxbench.records.Note`), so that a program can tell the reason from what is beside.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.diagnosis.rules import WAIT_SHARE
from rtxbench.records import Note, Observation, RatioRecord, Verdict
from rtxbench.results.latest import latest_by_machine
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_percent
from rtxbench.verdicts.claims import Claim, Elsewhere
from rtxbench.verdicts.published_pairs import published_pairs

__all__ = ["input_wait_note", "is_input_bound", "with_notes"]


def with_notes(
    runs: Sequence[LoadedRun], verdicts: Sequence[Verdict], claims: Iterable[Claim], diagnoser: Diagnoser
) -> list[Verdict]:
    """Add to each verdict the notes on all-reduce, on waiting for input and on where its figures come from."""
    ratios = {record.record_id: record for loaded in runs for record in loaded.of_kind(RatioRecord)}
    waits = _waits(runs)
    about = {claim.id: _published(claim.elsewhere) for claim in claims if claim.elsewhere is not None}
    found = []
    for verdict in verdicts:
        parallel = [ratios[name] for name in verdict.evidence if name in ratios]
        notes = [_all_reduce_note(parallel[-1:] if verdict.subject else parallel, diagnoser)]
        if not verdict.subject:
            notes.append(input_wait_note(waits.get((verdict.machine, verdict.claim), ())))
        if not verdict.subject and verdict.claim in about:
            notes.append(_standing(verdict, about[verdict.claim]))
        found.append(replace(verdict, notes=(*verdict.notes, *(note for note in notes if note is not None))))
    return found


def _waits(runs: Sequence[LoadedRun]) -> Mapping[tuple[str, str], list[Observation]]:
    """Map (machine, topic) to the latest wait for input of each pipeline."""
    waits: dict[tuple[str, str], list[Observation]] = {}
    for machine, records in latest_by_machine(runs, _pipeline_waits, lambda r: (r.topic, r.labels["pipeline"])).items():
        for record in records:
            waits.setdefault((machine, record.topic), []).append(record)
    return waits


def _pipeline_waits(loaded: LoadedRun) -> list[Observation]:
    waits = [record for record in loaded.of_kind(Observation) if record.metric == "input_wait_ratio"]
    return [record for record in waits if record.values and "pipeline" in record.labels]


def input_wait_note(waits: Iterable[Observation]) -> Note | None:
    """Say of each pipeline whether training fed by it was input-bound; ``None`` without figures."""
    known = list(waits)
    said = [f"{_bound_words(wait)} with `{wait.labels['pipeline']}`" for wait in known]
    text = f"Share of the training loop spent waiting for input: {'; '.join(said)}."
    return Note(kind="input-wait", text=text, links=tuple(wait.record_id for wait in known)) if known else None


def _bound_words(wait: Observation) -> str:
    bound = is_input_bound(wait)
    one = "one repeat: " if wait.estimate is None or wait.estimate.low is None else ""
    words = f"{one}cannot say whether input-bound" if bound is None else "input-bound" if bound else "not input-bound"
    return f"{format_percent(sum(wait.values) / len(wait.values), 0)} ({words})"


def is_input_bound(wait: Observation) -> bool | None:
    """Judge whether training waits for input: the whole interval at or above a fifth of the loop, or below it.

    Args:
        wait: ``input_wait_ratio`` of one pipeline.

    Returns:
        ``None`` where the interval holds the line, or there is none.
    """
    low, high = (None, None) if wait.estimate is None else (wait.estimate.low, wait.estimate.high)
    if low is None or high is None or low < WAIT_SHARE <= high:
        return None
    return low >= WAIT_SHARE


def _all_reduce_note(ratios: Sequence[RatioRecord], diagnoser: Diagnoser) -> Note | None:
    """Note what all-reduce takes in the parallel arms of these ratios, each kind of answer once."""
    arms = {record.candidate.label: record for record in ratios}
    found = {label: diagnoser.all_reduce(record) for label, record in arms.items()}
    shares = {label: share.text for label, share in found.items() if share is not None}
    if not shares:
        return None
    several = len(set(shares.values())) > 1
    said = [f"{text} in {label}" if several else text for label, text in shares.items()]
    text = f"All-reduce share: {'; '.join(dict.fromkeys(said))}."
    return Note(kind="all-reduce", text=text, links=tuple(arms[label].candidate_record for label in shares))


_OWN_FIGURES = Note(
    kind="own-figures",
    text="The verdict stands on figures measured on this machine; published and predicted ones are no part of it.",
)
_NOTHING_PUBLISHED = Note(kind="published", text="Nothing is published that could stand in.")


def _published(wanted: Elsewhere) -> Note:
    """Return the first published comparison that the claim names, as a note."""
    first = next(iter(published_pairs(wanted)), None)
    if first is None:
        return _NOTHING_PUBLISHED
    text = f"Published (not measured on this machine, and no part of the verdict): {first.text}."
    return Note(kind="published", text=text, links=first.sources)


def _standing(verdict: Verdict, published: Note) -> Note:
    return published if verdict.state == "not-measured" else _OWN_FIGURES

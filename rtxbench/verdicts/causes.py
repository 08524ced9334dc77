"""Verdicts with their why: the bottleneck behind the ratios a verdict rests on."""

from collections.abc import Sequence

import msgspec

from rtxbench.diagnosis.causes import Diagnosis
from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.errors import UsageError
from rtxbench.records import RatioRecord, Verdict
from rtxbench.results.store import LoadedRun

__all__ = ["with_causes"]

_DECIDED = ("supported", "refuted", "mixed", "inconclusive")


def with_causes(
    runs: Sequence[LoadedRun], verdicts: Sequence[Verdict], diagnoser: Diagnoser | None = None
) -> list[Verdict]:
    """Fill ``cause``, and ``next_step`` where a verdict has none.

    A verdict on one comparison takes the diagnosis of its latest record. One on a claim as a whole takes a diagnosis
    only if all its comparisons share it: several causes are told beside the comparisons, not averaged.
    """
    diagnoser = diagnoser or Diagnoser(runs)
    ratios = {record.record_id: record for loaded in runs for record in loaded.of_kind(RatioRecord)}
    explained = []
    for verdict in verdicts:
        records = [ratios[record_id] for record_id in verdict.evidence if record_id in ratios]
        diagnosis = _diagnosis(diagnoser, records[-1:] if verdict.subject else records)
        explained.append(_explained(verdict, diagnosis))
    return explained


def _diagnosis(diagnoser: Diagnoser, records: Sequence[RatioRecord]) -> Diagnosis | None:
    try:
        found = [diagnosis for record in records if (diagnosis := diagnoser.ratio(record)) is not None]
    except UsageError:
        return None  # a placement this version does not know: its records are judged, not explained
    same = len({diagnosis.code for diagnosis in found}) == 1
    return found[-1] if same and found[-1].code != "undetermined" else None


def _explained(verdict: Verdict, diagnosis: Diagnosis | None) -> Verdict:
    if diagnosis is None or verdict.state not in _DECIDED or verdict.cause is not None:
        return verdict
    step = verdict.next_step or (diagnosis.next_step if verdict.state != "supported" else None)
    return msgspec.structs.replace(verdict, cause=diagnosis.text, next_step=step)

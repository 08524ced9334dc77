"""The sentences of a verdict: what was compared, what was found, what to do."""

from collections.abc import Iterable
from typing import Final

from rtxbench.records import Note, Observation, RatioRecord, VerdictState
from rtxbench.units import format_percent, format_ratio
from rtxbench.verdicts.claims import Comparison
from rtxbench.wording import say_pair

__all__ = [
    "describe_observation",
    "describe_pair",
    "evidence_ids",
    "explain",
    "how_to_decide",
    "interval",
    "one_line",
    "scaling_note",
]

_PROVENANCE: Final = {"dataset", "checksum"}
"""Labels that say on which data a figure rests, not what it is of."""


def describe_pair(record: RatioRecord) -> str:
    """What changed, then what both sides share: ``bfloat16 instead of float32, ResNet-14, batch 8``."""
    return say_pair(record.candidate, record.baseline, record.metric)


def describe_observation(record: Observation) -> str:
    """What an observation is of, in its labels' own words, and where it ran: ``keras, cpu``."""
    words = [value for name, value in sorted(record.labels.items()) if name not in _PROVENANCE]
    if record.case is not None:
        words.append(record.case.placement)
        words += [record.case.engine] if record.case.engine != "tensorflow" else []
    return ", ".join(words)


def interval(record: RatioRecord) -> str:
    """Point and interval of a paired record: ``1.42× [1.40×, 1.44×]``."""
    ratio = record.ratio
    assert ratio.low is not None
    assert ratio.high is not None
    return f"{_fine(ratio.value)} [{_fine(ratio.low)}, {_fine(ratio.high)}]"


def _fine(value_ratio: float) -> str:
    """Three decimals near 1, where a verdict turns on the third; three digits elsewhere."""
    return f"{value_ratio:.3f}×" if 0.5 < value_ratio < 2 else format_ratio(value_ratio)


def explain(comparison: Comparison, record: RatioRecord, state: VerdictState) -> str:
    """What was found and where it lies against the line."""
    figure = f"{record.metric.replace('_', ' ').capitalize()} is {interval(record)} of the baseline's"
    if comparison.rule == "no-difference":
        word = {"supported": "inside", "refuted": "outside"}.get(state, "across the edge of")
        return f"{figure}, {word} the ±{100 * comparison.margin_ratio:g} % called equal."
    assert comparison.threshold_ratio is not None
    line = comparison.threshold_ratio * (1 - comparison.margin_ratio)
    word = {"supported": "wholly above", "refuted": "wholly below"}.get(state, "on both sides of")
    asked = f"{comparison.threshold_ratio:g}× less {100 * comparison.margin_ratio:g} %"
    return f"{figure}, {word} the line of {line:.4g}× ({asked})."


def scaling_note(record: RatioRecord) -> Note | None:
    """Scaling efficiency where the candidate has more devices than the baseline."""
    devices = record.candidate.device_count / record.baseline.device_count
    if devices <= 1:
        return None
    text = f"Scaling efficiency is {format_percent(record.ratio.value / devices, 0)} on {devices:g}× the devices."
    return Note(kind="scaling", text=text, links=(record.record_id,))


def how_to_decide(record: RatioRecord) -> str:
    """What would turn an inconclusive interval into a verdict."""
    unit = "launches" if record.replicate == "launch" else "seeds"
    return f"The truth lies near the line; more {unit} (`--profile full`) narrow the interval."


def evidence_ids(records: Iterable[RatioRecord]) -> tuple[str, ...]:
    """Ids of the paired records and of both arms of each, without duplicates."""
    ids = [(record.record_id, record.baseline_record, record.candidate_record) for record in records]
    return tuple(dict.fromkeys(name for group in ids for name in group))


def one_line(text: str) -> str:
    """Text of a TOML block as one line."""
    return " ".join(text.split())

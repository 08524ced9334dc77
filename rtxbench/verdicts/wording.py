"""The sentences of a verdict: what was compared, what was found, what to do."""

from collections.abc import Iterable
from typing import Final

from rtxbench.records import Estimate, Note, Observation, RatioRecord
from rtxbench.units import format_percent, format_ratio
from rtxbench.verdicts.claims import Comparison
from rtxbench.verdicts.statistics.decision import Decision
from rtxbench.wording import engine_name, name_of, say_metric, say_pair

__all__ = [
    "describe_observation",
    "describe_pair",
    "evidence_ids",
    "explanation_of",
    "interval",
    "range_text",
    "refuted_below",
    "say_reason",
    "scaling_note",
]

_PROVENANCE: Final = {"dataset", "checksum"}
"""Labels that say on which data a figure rests, not what it is of."""


def describe_pair(record: RatioRecord) -> str:
    """Name what changed, then what both sides share: ``bfloat16 instead of float32, ResNet-14, batch 8``."""
    return say_pair(record.candidate, record.baseline, record.metric)


def describe_observation(record: Observation) -> str:
    """Name what an observation is of, and where it ran: ``Keras format, on the CPU``."""
    words = [name_of(value) for name, value in sorted(record.labels.items()) if name not in _PROVENANCE]
    if record.case is not None:
        words.append(name_of(record.case.placement))
        words += [engine_name(record.case)] if record.case.engine != "tensorflow" else []
    return ", ".join(words)


def interval(ratio: Estimate) -> str:
    """Point and interval of a ratio: ``1.42× [1.40×, 1.44×]``."""
    assert ratio.low is not None
    assert ratio.high is not None
    return f"{_fine(ratio.value)} [{_fine(ratio.low)}, {_fine(ratio.high)}]"


def _fine(value_ratio: float) -> str:
    """Three decimals near 1, where a verdict turns on the third; three digits elsewhere."""
    return f"{value_ratio:.3f}×" if 0.5 < value_ratio < 2 else format_ratio(value_ratio)


def range_text(low: float, high: float) -> str:
    """Write ``1.30× to 1.84×``, or one of them where they print alike."""
    texts = list(dict.fromkeys((_fine(low), _fine(high))))
    return " to ".join(texts)


_HELD_BACK: Final = {
    "launches-at-two-speeds": "the launches lie in two groups so far apart that a state of the machine explains it",
    "few-launches-near-the-line": "so few launches decide only what a state of the machine (±16 %) could not have made",
    "not-converged": "the ratio still moved when training ended, and four times the epochs could turn the answer",
}


def explanation_of(comparison: Comparison, metric: str, decision: Decision, runs: int = 1) -> str:
    """Explain what was found, at which confidence, and where it lies against the line that was tested."""
    ratio = decision.estimate
    over = f", {runs} runs together" if runs > 1 else ""
    figure = (
        f"{say_metric(metric).capitalize()} is {interval(ratio)} of the baseline's "
        f"({format_percent(ratio.confidence, None)} interval{over})"
    )
    held = _HELD_BACK.get(decision.reason)
    if held is not None:
        return f"{figure}; {held}."
    margin = format_percent(comparison.margin_ratio, None)
    if comparison.rule == "no-difference":
        word = {"supported": "inside", "refuted": "outside"}.get(decision.state, "across the edge of")
        return f"{figure}, {word} the ±{margin} called equal."
    assert comparison.threshold_ratio is not None
    claimed, refuted = f"{comparison.threshold_ratio:g}×", f"{refuted_below(comparison):.4g}×"
    where = {
        "interval-above-threshold": f"wholly at or above the claimed {claimed}",
        "interval-below-threshold": f"wholly below {refuted}, the claimed {claimed} less {margin}",
        "about-the-line": f"wholly between {refuted} and the claimed {claimed}: about the line, and nobody can be told "
        "more",
    }.get(decision.reason, f"across the claimed {claimed} or the {refuted} below which it is refuted")
    return f"{figure}, {where}."


_REASONS: Final = {
    "interval-above-threshold": "the whole interval meets the line",
    "interval-below-threshold": "the whole interval misses the line",
    "about-the-line": "the interval lies between the line and its margin",
    "interval-crosses-threshold": "the interval includes the line",
    "interval-inside-margin": "the whole interval counts as equal",
    "interval-outside-margin": "the whole interval counts as different",
    "interval-crosses-margin": "the interval includes the edge of what counts as equal",
    "launches-at-two-speeds": "the launches ran at two speeds",
    "few-launches-near-the-line": "too few launches so near the line",
    "runs-disagree": "runs of this machine disagree",
    "too-few-replicates": "too few launches or seeds",
    "failed-arm": "one side failed",
    "half-evidence": "the record of one side is missing",
    "loss-not-finite": "one side did not train: its loss was not finite",
    "precision-contradicted": "one side did not compute in the precision it names",
    "not-converged": "training was still improving when it ended",
    "invalid-environment": "the machine was disturbed while measuring",
    "inconsistent-record": "the stored interval does not follow from the stored figures",
    "above-limit": "a value lies above the limit",
    "within-limit": "every value lies within the limit",
    "fits": "it fits in memory",
    "out-of-memory": "it does not fit in memory",
    "quality-differs": "faster, but the result is not as good",
    "quality-unproven": "faster, but nothing shows yet that the result is as good",
    "no-gpu": "no NVIDIA GPU here",
    "other-gpu": "the claim is about other GPUs",
    "too-few-gpus": "too few GPUs here",
    "not-run": "not run here",
    "case-skipped": "what it needs was skipped or failed",
    "superseded-line": "measured only by an older rule",
    "not-testable": "nothing can be measured that would decide it",
    "part-refuted": "one part of the claim fails",
    "every-subject-refutes": "every comparison misses what the claim needs",
    "every-subject-supports": "every comparison meets what the claim needs",
    "depends-on-subject": "some comparisons meet what the claim needs, others miss it",
    "subjects-inconclusive": "its comparisons are undecided",
    "incomplete-evidence": "some of its comparisons were not measured",
    "holm": "chance is not excluded, with so many claims judged together",
}
"""Reason of a verdict, as ``verdicts.json`` holds it → what a reader is told."""


def say_reason(code: str) -> str:
    """Say the reason of a verdict in words: ``interval-crosses-threshold`` → ``the interval includes the line``."""
    return _REASONS.get(code, code.replace("-", " "))


def refuted_below(comparison: Comparison) -> float | None:
    """Return the ratio below which *at least c* is refuted; ``None`` for *no difference*."""
    claimed = comparison.threshold_ratio
    return None if claimed is None else claimed * (1 - comparison.margin_ratio)


def scaling_note(record: RatioRecord) -> Note | None:
    """Scaling efficiency where the candidate has more devices than the baseline."""
    devices = record.candidate.device_count / record.baseline.device_count
    if devices <= 1:
        return None
    text = f"Scaling efficiency is {format_percent(record.ratio.value / devices, 0)} on {devices:g}× the devices."
    return Note(kind="scaling", text=text, links=(record.record_id,))


def evidence_ids(records: Iterable[RatioRecord]) -> tuple[str, ...]:
    """Ids of the paired records and of both arms of each, without duplicates."""
    ids = [(record.record_id, record.baseline_record, record.candidate_record) for record in records]
    return tuple(dict.fromkeys(name for group in ids for name in group))

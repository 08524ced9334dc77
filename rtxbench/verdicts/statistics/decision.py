"""One comparison, one decision: the interval rules of docs/method.md, pure arithmetic on a log-ratio and its error.

The confidence rises as the evidence gets rough: 95 % where the 95 % interval is within ±3 %, over five replicates or
more, and the ratio holds still; 99 % otherwise. *At least c* with margin m: supported when the interval lies at or
above c, refuted when below c(1 − m); an interval between the two is about the line, and nobody can be told more.
*No difference*: supported when the 90 % (rough: 98 %) interval lies inside [1 / (1 + m), 1 + m] (two one-sided tests,
Schuirmann 1987), refuted when outside. Anything else is inconclusive, and leans where its 80 % interval lies wholly on
one side.

A machine may have states that outlast a few launches, and no interval over launches knows of them. So where the number
of launches depended on what they showed, fewer than five decide only what clears its line by more than such a state
makes; and launches in two groups, so far apart that the step between them explains it, decide nothing.

Trainings may end before the two arms have shown what they can reach. Where their ratio still moved, it decides only
what it would decide, too, where that movement takes it in trainings four times as long.
"""

import math
from typing import Final, NamedTuple

from rtxbench.records import Estimate, Leaning, VerdictState
from rtxbench.verdicts.claims import Comparison
from rtxbench.verdicts.statistics.pooling import LogRatio

__all__ = ["ROUGH_HALF_WIDTH", "STATE_LOG_RATIO", "Decision", "decide"]

ROUGH_HALF_WIDTH: Final = 0.03
"""A 95 % interval wider than this on either side is rough evidence, and has to meet 99 %."""
FEW_REPLICATES: Final = 5
"""Fewer say too little of their own spread for 95 %: three of a kind often agree by chance."""
_LEANING_CONFIDENCE: Final = 0.80
STATE_LOG_RATIO: Final = 0.15
"""Largest change of a ratio that a state of the machine can make: 1.16 times."""
_STEP_LEAST: Final = 0.1
_STEP_SHARE: Final = 0.6
"""Launches this far apart, and by this share of their distance from the line, may be of two states."""


class Decision(NamedTuple):
    """State, reason code, the interval it rests on, a p value for Holm's correction, and where it leans if open."""

    state: VerdictState
    reason: str
    estimate: Estimate
    p_value: float
    """Chance of an interval this clear if the truth lay on the line, scaled so that 0.05 is the level asked for."""
    leaning: Leaning | None = None


def decide(ratio: LogRatio, comparison: Comparison, *, doubtful: bool = False) -> Decision:
    """Judge one log-ratio.

    Args:
        ratio: of one run, or of several combined.
        comparison: the rule, its threshold and its margin.
        doubtful: the ratio still moved while it was measured, or the launches were stopped by a look at it.
    """
    decision = _decide_as_it_is(ratio, comparison, doubtful=doubtful)
    if decision.state == "inconclusive" or ratio.unfinished == 0.0:
        return decision
    later = _decide_as_it_is(ratio._replace(value=ratio.value + ratio.unfinished), comparison, doubtful=doubtful)
    return decision if later.state == decision.state else _opened(decision, "not-converged")


def _decide_as_it_is(ratio: LogRatio, comparison: Comparison, *, doubtful: bool) -> Decision:
    rough = doubtful or ratio.replicates < FEW_REPLICATES or ratio.half_width(0.95) > ROUGH_HALF_WIDTH
    if comparison.rule == "at-least":
        assert comparison.threshold_ratio is not None
        claimed, margin = math.log(comparison.threshold_ratio), math.log1p(-comparison.margin_ratio)
        decision = _at_least(ratio, claimed, margin, rough=rough)
        distance = ratio.value - claimed if decision.state == "supported" else claimed + margin - ratio.value
    else:
        limit = math.log1p(comparison.margin_ratio)
        decision = _no_difference(ratio, limit, rough=rough)
        distance = abs(ratio.value) - limit if decision.state == "refuted" else 0.0
    return _held_back(decision, ratio, distance, early=doubtful and ratio.replicates < FEW_REPLICATES)


def _held_back(decision: Decision, ratio: LogRatio, distance: float, *, early: bool) -> Decision:
    """Leave open what a state of the machine could have decided; ``distance`` is that of the ratio from its line."""
    if decision.state == "inconclusive" or distance <= 0.0:
        return decision
    if ratio.step >= max(_STEP_LEAST, _STEP_SHARE * distance):
        return _opened(decision, "launches-at-two-speeds")
    if early and distance < STATE_LOG_RATIO + ratio.half_width(0.99):
        return _opened(decision, "few-launches-near-the-line")
    return decision


def _opened(decision: Decision, reason: str) -> Decision:
    """Leave a decision open that leans to where it had fallen."""
    leaning: Leaning = "likely-yes" if decision.state == "supported" else "likely-no"
    return decision._replace(state="inconclusive", reason=reason, p_value=1.0, leaning=leaning)


def _at_least(ratio: LogRatio, claimed: float, margin: float, *, rough: bool) -> Decision:
    confidence = 0.99 if rough else 0.95
    estimate = ratio.interval(confidence)
    low, high = _bounds(ratio, confidence)
    scale = 2 * 0.05 / (1 - confidence)
    if low >= claimed:
        return Decision("supported", "interval-above-threshold", estimate, scale * _tail(ratio.value - claimed, ratio))
    if high < claimed + margin:
        p_value = scale * _tail(claimed + margin - ratio.value, ratio)
        return Decision("refuted", "interval-below-threshold", estimate, p_value)
    if low >= claimed + margin and high < claimed:
        return Decision("inconclusive", "about-the-line", estimate, 1.0)
    low, high = _bounds(ratio, _LEANING_CONFIDENCE)
    leaning: Leaning | None = "likely-yes" if low >= claimed else "likely-no" if high < claimed else None
    return Decision("inconclusive", "interval-crosses-threshold", estimate, 1.0, leaning)


def _no_difference(ratio: LogRatio, limit: float, *, rough: bool) -> Decision:
    confidence = 0.98 if rough else 0.90
    estimate = ratio.interval(confidence)
    low, high = _bounds(ratio, confidence)
    p_value = 0.1 / (1 - confidence) * _tail(abs(limit - abs(ratio.value)), ratio)
    if -limit <= low and high <= limit:
        return Decision("supported", "interval-inside-margin", estimate, p_value)
    if high < -limit or low > limit:
        return Decision("refuted", "interval-outside-margin", estimate, p_value)
    low, high = _bounds(ratio, _LEANING_CONFIDENCE)
    inside, outside = -limit <= low and high <= limit, high < -limit or low > limit
    leaning: Leaning | None = "likely-yes" if inside else "likely-no" if outside else None
    return Decision("inconclusive", "interval-crosses-margin", estimate, 1.0, leaning)


def _bounds(ratio: LogRatio, confidence: float) -> tuple[float, float]:
    half = ratio.half_width(confidence)
    return ratio.value - half, ratio.value + half


def _tail(distance: float, ratio: LogRatio) -> float:
    """Upper tail of Student's t at ``distance``; replicates without any spread leave no doubt."""
    from scipy.special import stdtr

    if ratio.error == 0.0:
        return 0.0 if distance > 0 else 1.0
    return float(stdtr(ratio.degrees, -distance / ratio.error))

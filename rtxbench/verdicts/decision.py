"""One comparison, one decision: the interval rules of docs/method.md, pure arithmetic on an interval.

*At least c* with margin m: supported when the 95 % interval lies above c(1 − m), refuted when below. *No difference*:
supported when the 90 % interval lies inside [1 / (1 + m), 1 + m] (two one-sided tests, Schuirmann 1987), refuted
when it lies outside. Anything else is inconclusive.
"""

import math
from typing import NamedTuple

from rtxbench.records import Estimate, VerdictState
from rtxbench.stats import student_t
from rtxbench.verdicts.claims import Comparison

__all__ = ["Decision", "decide"]


class Decision(NamedTuple):
    """State, reason code, the interval it rests on, and the p value of the state given (for Holm's correction)."""

    state: VerdictState
    reason: str
    estimate: Estimate
    p_value: float
    """Chance of an interval this clear if the truth lay on the line; 1 where inconclusive. Compare with 0.05."""


def decide(ratio: Estimate, comparison: Comparison) -> Decision:
    """Judge one fit interval.

    Raises:
        ValueError: the estimate has no interval; preconditions come first.
    """
    if ratio.low is None or ratio.high is None:
        raise ValueError("an estimate without an interval cannot be judged")
    error = _log_standard_error(ratio)
    if comparison.rule == "at-least":
        assert comparison.threshold_ratio is not None
        return _at_least(ratio, error, comparison.threshold_ratio * (1 - comparison.margin_ratio))
    return _no_difference(_at_90_percent(ratio, error), error, 1 + comparison.margin_ratio)


def _at_least(ratio: Estimate, error: float, line_ratio: float) -> Decision:
    assert ratio.low is not None
    assert ratio.high is not None
    distance = math.log(ratio.value / line_ratio)
    p_value = min(1.0, 2 * _tail(abs(distance), error, ratio.n))  # two-sided, so that 0.05 is the 95 % interval
    if ratio.low >= line_ratio:
        return Decision("supported", "interval-above-threshold", ratio, p_value)
    if ratio.high < line_ratio:
        return Decision("refuted", "interval-below-threshold", ratio, p_value)
    return Decision("inconclusive", "interval-crosses-threshold", ratio, 1.0)


def _no_difference(ratio: Estimate, error: float, limit_ratio: float) -> Decision:
    assert ratio.low is not None
    assert ratio.high is not None
    distance = math.log(limit_ratio) - abs(math.log(ratio.value))
    p_value = _tail(abs(distance), error, ratio.n)
    if 1 / limit_ratio <= ratio.low and ratio.high <= limit_ratio:
        return Decision("supported", "interval-inside-margin", ratio, p_value)
    if ratio.high < 1 / limit_ratio or ratio.low > limit_ratio:
        return Decision("refuted", "interval-outside-margin", ratio, p_value)
    return Decision("inconclusive", "interval-crosses-margin", ratio, 1.0)


def _log_standard_error(ratio: Estimate) -> float:
    assert ratio.low is not None
    assert ratio.high is not None
    half_width = math.log(ratio.high / ratio.low) / 2
    return half_width / student_t(0.5 + ratio.confidence / 2, ratio.n - 1)


def _at_90_percent(ratio: Estimate, error: float) -> Estimate:
    half_width = student_t(0.95, ratio.n - 1) * error
    return Estimate(
        value=ratio.value,
        low=ratio.value * math.exp(-half_width),
        high=ratio.value * math.exp(half_width),
        n=ratio.n,
        confidence=0.90,
    )


def _tail(distance: float, error: float, n: int) -> float:
    """Upper tail of Student's t at ``distance`` standard errors; replicates without any spread leave no doubt."""
    from scipy.special import stdtr

    if error == 0.0:
        return 0.0 if distance > 0 else 1.0
    return float(stdtr(n - 1, -distance / error))

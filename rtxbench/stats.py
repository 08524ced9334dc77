"""Pure numpy estimators of the measuring protocol. No clock, no file, no state.

The error unit is the process *launch*: within one launch, rounds are only used to make that launch's number
robust. See ``docs/method.md`` for the protocol and the evidence behind each constant.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtxbench.records import Estimate

__all__ = [
    "ADAPTIVE_STOP_INFLATION",
    "launch_estimate",
    "log_ratio_per_round",
    "ratio_estimate",
    "smallest_effect",
    "student_t",
    "theil_sen_slope",
    "trimmed_mean",
    "two_window_steady",
]

ADAPTIVE_STOP_INFLATION: Final = 1.1
"""Stopping when the interval looks narrow makes it too narrow; widen it by this factor (docs/method.md)."""

_MDE95_FACTORS: Final = {3: 5.71, 4: 3.45, 5: 2.63, 8: 1.73, 12: 1.30}
"""Launches J → c_J, where c_J times the launch standard deviation is found with 95 % power."""


def student_t(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution (scipy)."""
    from scipy.special import stdtrit  # 60 ms cheaper to import than scipy.stats

    return float(stdtrit(degrees, probability))


def trimmed_mean(values: ArrayLike, proportion: float = 0.2) -> float:
    """Mean after cutting ``floor(proportion · n)`` values from each end; plain mean below five values.

    Raises:
        ValueError: no values.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered.size == 0:
        raise ValueError("trimmed_mean of no values")
    cut = int(proportion * ordered.size)
    return float(ordered[cut : ordered.size - cut].mean())


def log_ratio_per_round(baseline_s: ArrayLike, candidate_s: ArrayLike) -> NDArray[np.float64]:
    """ln(candidate ÷ baseline) of step time per balanced round (ABBA or BAAB).

    Args:
        baseline_s: step times of the baseline's two blocks, shape (rounds, 2), seconds.
        candidate_s: the candidate's, same shape.

    Returns:
        Shape (rounds,): ½(ln B1 + ln B2) − ½(ln A1 + ln A2); above zero the candidate is slower.
    """
    a = np.log(np.asarray(baseline_s, dtype=float))
    b = np.log(np.asarray(candidate_s, dtype=float))
    return np.asarray(b.mean(axis=1) - a.mean(axis=1))


def launch_estimate(values: Sequence[float], confidence: float = 0.95, *, adaptive: bool = False) -> Estimate:
    """Mean over independent launches with Student's t interval.

    One launch has no interval: its bounds are ``None``, so that no verdict can rest on it.
    """
    data = np.asarray(values, dtype=float)
    n = data.size
    mean = float(data.mean())
    if n < 2:
        return Estimate(value=mean, low=None, high=None, n=n, confidence=confidence)
    half = student_t(0.5 + confidence / 2, n - 1) * float(data.std(ddof=1)) / math.sqrt(n)
    half *= ADAPTIVE_STOP_INFLATION if adaptive else 1.0
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n, confidence=confidence)


def ratio_estimate(log_ratios: Sequence[float], confidence: float = 0.95, *, adaptive: bool = False) -> Estimate:
    """Geometric-mean ratio with interval from log-ratios, one per launch."""
    log = launch_estimate(log_ratios, confidence, adaptive=adaptive)
    return Estimate(
        value=math.exp(log.value),
        low=None if log.low is None else math.exp(log.low),
        high=None if log.high is None else math.exp(log.high),
        n=log.n,
        confidence=confidence,
    )


def smallest_effect(log_ratios: Sequence[float]) -> float | None:
    """MDE95: the relative effect this many launches with this spread find with 95 % power.

    ``None`` below three launches. Between tabulated J the next smaller J's factor is used (conservative).
    """
    n = len(log_ratios)
    known = [j for j in _MDE95_FACTORS if j <= n]
    if not known:
        return None
    factor = _MDE95_FACTORS[max(known)]
    return float(np.expm1(factor * np.std(log_ratios, ddof=1)))


def theil_sen_slope(values: ArrayLike) -> float:
    """Median of the slopes between all pairs, per index step (Sen 1968)."""
    y = np.asarray(values, dtype=float)
    i, j = np.triu_indices(y.size, k=1)
    return float(np.median((y[j] - y[i]) / (j - i)))


def two_window_steady(step_times_s: ArrayLike, window: int, tolerance_ratio: float = 0.01) -> bool:
    """Whether the last two windows of block step times show neither a step nor a ramp.

    Steady when the medians of the last two windows of ``window`` blocks differ by at most ``tolerance_ratio`` and
    the Theil-Sen slope over both, times ``window``, is at most ``tolerance_ratio``; both on logarithms.
    """
    logs = np.log(np.asarray(step_times_s, dtype=float))
    if logs.size < 2 * window:
        return False
    recent = logs[-2 * window :]
    difference = abs(float(np.median(recent[window:]) - np.median(recent[:window])))
    ramp = abs(theil_sen_slope(recent)) * window
    return difference <= tolerance_ratio and ramp <= tolerance_ratio

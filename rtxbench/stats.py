"""Pure numpy estimators of the measuring protocol. No clock, no file, no state.

The error unit is the process *launch*: within one launch, rounds are only used to make that launch's number
robust. See ``docs/method.md`` for the protocol and the evidence behind each constant.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rtxbench.records import Estimate

__all__ = [
    "ADAPTIVE_STOP_INFLATION",
    "clopper_pearson",
    "holm_adjusted",
    "kalibera_jones_rounds",
    "launch_estimate",
    "log_ratio_per_round",
    "lower_bound",
    "order_effect",
    "ordered_ratio_estimate",
    "ratio_estimate",
    "smallest_effect",
    "student_t",
    "theil_sen_slope",
    "theil_sen_slopes",
    "trimmed_mean",
    "two_window_steady",
    "upper_bound",
    "wilson",
]

ORDER_TERM_LAUNCHES: Final = 8
"""Below, the degree of freedom that the order term takes costs more than it gives (docs/method.md)."""
ADAPTIVE_STOP_INFLATION: Final = 1.1
"""Stopping when the interval looks narrow makes it too narrow; widen it by this factor (docs/method.md)."""


@lru_cache(maxsize=256)
def student_t(probability: float, degrees: float) -> float:
    """Quantile of Student's t, one-sided: ``probability`` 0.975 for a two-sided 95 % interval (``scipy``)."""
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


def ordered_ratio_estimate(
    log_ratios: Sequence[float], orders: Sequence[int], confidence: float = 0.95, *, adaptive: bool = False
) -> Estimate:
    """Estimate the ratio freed of the effect of being started first, by least squares on J - 2 degrees of freedom.

    Args:
        log_ratios: one per launch.
        orders: per launch 1 where the candidate was started before the baseline, -1 where after it.
        confidence: of the interval.
        adaptive: whether the number of launches depended on the data.

    Returns:
        The estimate without the term below `ORDER_TERM_LAUNCHES` launches: taking turns then has to do, which leaves no
        bias at an even number.
    """
    effect = order_effect(log_ratios, orders)
    if effect is None:
        return ratio_estimate(log_ratios, confidence, adaptive=adaptive)
    values, sides = np.asarray(log_ratios, dtype=float), np.asarray(orders, dtype=float)
    n, centre = values.size, float(sides.mean())
    residuals = values - effect * sides
    mean = float(residuals.mean())
    spread = math.sqrt(float(((residuals - mean) ** 2).sum()) / (n - 2))
    error = spread * math.sqrt(1 / n + centre**2 / float(((sides - centre) ** 2).sum()))
    half = student_t(0.5 + confidence / 2, n - 2) * error * (ADAPTIVE_STOP_INFLATION if adaptive else 1.0)
    low, high = math.exp(mean - half), math.exp(mean + half)
    return Estimate(value=math.exp(mean), low=low, high=high, n=n, confidence=confidence)


def order_effect(log_ratios: Sequence[float], orders: Sequence[int]) -> float | None:
    """Take half the difference between launches that started one arm first and those that started the other first.

    ``None`` below `ORDER_TERM_LAUNCHES` launches, or where one arm was always first.
    """
    if len(log_ratios) < ORDER_TERM_LAUNCHES or len(orders) != len(log_ratios) or len(set(orders)) < 2:
        return None
    values, sides = np.asarray(log_ratios, dtype=float), np.asarray(orders, dtype=float)
    return float(values[sides > 0].mean() - values[sides < 0].mean()) / 2


def smallest_effect(log_ratios: Sequence[float]) -> float | None:
    """MDE95: the relative effect that this many launches with this spread find with 95 % power at the 5 % level.

    The noncentrality at which 95 % of Student's t lie beyond its two-sided critical value, times the standard error.
    ``None`` below three launches.
    """
    n = len(log_ratios)
    return None if n < 3 else float(np.expm1(_effect_factor(n) * np.std(log_ratios, ddof=1)))


@lru_cache(maxsize=64)
def _effect_factor(launches: int) -> float:
    """Smallest effect in standard deviations of a launch: 4.49, 2.83, 2.20, 1.50, 1.15 at 3, 4, 5, 8, 12 launches."""
    from scipy.special import nctdtrinc

    degrees = launches - 1
    return float(nctdtrinc(degrees, 0.05, student_t(0.975, degrees))) / math.sqrt(launches)


def theil_sen_slope(values: ArrayLike) -> float:
    """Median of the slopes between all pairs, per index step (Sen 1968)."""
    return float(theil_sen_slopes(np.asarray(values, dtype=float)))


def theil_sen_slopes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute `theil_sen_slope` of each series, shape (…, n) → (…)."""
    i, j = np.triu_indices(values.shape[-1], k=1)
    return np.asarray(np.median((values[..., j] - values[..., i]) / (j - i), axis=-1))


def two_window_steady(
    step_times_s: ArrayLike, window: int, tolerance_ratio: float = 0.01, most_ratio: float = 0.05
) -> bool:
    """Return whether the last two windows of block step times show neither a step nor a ramp.

    Steady when the medians of the last two windows of ``window`` blocks differ by no more than the tolerance, and the
    Theil-Sen slope over both, times ``window``, is no more than it; both on logarithms. The tolerance is
    ``tolerance_ratio``; on a machine too noisy to see so small a change it is two standard errors of the difference,
    though never above ``most_ratio``: what cannot be seen there is the paired rounds' to cancel, not a reason to wait.
    """
    logs = np.log(np.asarray(step_times_s, dtype=float))
    if logs.size < 2 * window:
        return False
    before, after = logs[-2 * window : -window], logs[-window:]
    residuals = np.concatenate([before - np.median(before), after - np.median(after)])
    deviation = 1.4826 * float(np.median(np.abs(residuals)))  # the median absolute deviation of a normal, scaled
    error = 1.2533 * deviation * math.sqrt(2 / window)  # of a difference of two medians
    tolerance = min(max(tolerance_ratio, 2 * error), most_ratio)
    difference = abs(float(np.median(after) - np.median(before)))
    ramp = abs(theil_sen_slope(logs[-2 * window :])) * window
    return difference <= tolerance and ramp <= tolerance


def lower_bound(log_ratios: Sequence[float], confidence: float) -> float:
    """Bound the mean over launches from below, one-sided (Student 1908).

    Raises:
        ValueError: fewer than two launches.
    """
    mean, error, degrees = _mean_and_error(log_ratios)
    return mean - student_t(confidence, degrees) * error


def upper_bound(log_ratios: Sequence[float], confidence: float) -> float:
    """Bound the mean over launches from above, one-sided (Student 1908).

    Raises:
        ValueError: fewer than two launches.
    """
    mean, error, degrees = _mean_and_error(log_ratios)
    return mean + student_t(confidence, degrees) * error


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the order given.

    Rejecting where the adjusted value is at most α keeps the chance of any false rejection in the family at α,
    whatever the dependence between the tests.
    """
    count = len(p_values)
    order = sorted(range(count), key=p_values.__getitem__)
    adjusted = [0.0] * count
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def kalibera_jones_rounds(values: ArrayLike, launch_cost_s: float, round_cost_s: float) -> int | None:
    """Choose the rounds per launch that give the narrowest interval for a given time (Kalibera & Jones, ISMM 2013).

    √(launch cost ÷ round cost × variance between rounds ÷ variance between launches), rounded up; the variance
    between launches is freed of what the rounds put into it.

    Args:
        values: log-ratios of a pilot run, shape (launches, rounds), at least 2 × 2.
        launch_cost_s: start-up and warm-up of one launch, seconds.
        round_cost_s: one more round in a running launch, seconds.

    Returns:
        At least 1; ``None`` where launches differ by no more than their rounds explain: then start-up buys
        nothing, and one long launch would do as far as this pilot can tell.

    Raises:
        ValueError: the pilot is smaller.
    """
    data = np.asarray(values, dtype=float)
    if data.ndim != 2 or min(data.shape) < 2:
        raise ValueError(f"the pilot must be at least 2 launches × 2 rounds, got shape {data.shape}")
    between_rounds = float(data.var(axis=1, ddof=1).mean())
    between_launches = float(data.mean(axis=1).var(ddof=1)) - between_rounds / data.shape[1]
    if between_launches <= 0.0:
        return None
    return max(1, math.ceil(math.sqrt(launch_cost_s / round_cost_s * between_rounds / between_launches)))


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion with its exact interval (Clopper & Pearson 1934); never too narrow, and right at 0 of n."""
    from scipy.special import betaincinv  # importing scipy.stats for it takes a second

    tail, failures = (1 - confidence) / 2, trials - successes
    low = betaincinv(successes, failures + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, failures, 1 - tail) if failures else 1.0
    return _proportion(successes, trials, confidence, float(low), float(high))


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion with its score interval (Wilson 1927): close to nominal coverage on average."""
    from scipy.special import ndtri

    z, share = float(ndtri(1 - (1 - confidence) / 2)), successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return _proportion(successes, trials, confidence, max(0.0, middle - half), min(1.0, middle + half))


def _proportion(successes: int, trials: int, confidence: float, low: float, high: float) -> Estimate:
    share = successes / trials
    return Estimate(value=share, low=min(low, share), high=max(high, share), n=trials, confidence=confidence)


def _mean_and_error(log_ratios: Sequence[float]) -> tuple[float, float, int]:
    data = np.asarray(log_ratios, dtype=float)
    if data.size < 2:
        raise ValueError("a bound needs at least two launches")
    return float(data.mean()), float(data.std(ddof=1)) / math.sqrt(data.size), data.size - 1

"""Evidence that grows with every launch and may be looked at after each: an e-process of Student's t.

An e-value of 100 against "not slower" means: were the code not slower, a gate that looks after *every* launch would
ever see 100 in at most one of a hundred cases (Ville 1939). So a gate may stop as soon as it is sure, and a
confirmation on fresh launches is no longer needed.

The e-value is the Bayes factor of a half-Cauchy prior on the effect in units of the launches' own scatter, with the
right Haar prior on that scatter (Jeffreys 1961; Hendriksen, de Heide & Grünwald 2021)::

    e(t) = ∫₀^∞ f(t | ν, δ√n) / f(t | ν, 0) · 2 / (π (1 + δ²)) dδ        f: the noncentral t density

Launches take turns at which arm is started first. That order has an effect of its own (1.07 % ± 0.41 % measured), so
the t statistic carries an order term, with a normal prior of half the scatter: unlike a free coefficient, it costs
no degree of freedom.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.records import Estimate

__all__ = ["Look", "anytime_estimate", "e_bh", "log_e_value", "look"]

_ORDER_VARIANCE: Final = 0.25
"""Prior variance of the order term, in units of the launches' own variance."""
_LEAST_DEVIATION: Final = 5e-4
"""Least scatter of a log-ratio between launches: equal readings of a counter are not infinitely sure."""

_T_GRID: Final = np.concatenate([np.linspace(-8.0, 8.0, 161), np.geomspace(8.2, 1e5, 100)])
_T_NODES: Final = tuple(map(float, _T_GRID))
_EFFECT_NODES, _EFFECT_WEIGHTS = np.polynomial.legendre.leggauss(160)
_SCALE_NODES, _SCALE_WEIGHTS = np.polynomial.legendre.leggauss(80)


class Look(NamedTuple):
    """Evidence of the launches so far about one quantity, as natural logarithms of e-values."""

    estimate: float
    """Log-ratio candidate ÷ baseline with the order of the arms taken out."""
    slower: float
    """Evidence that the candidate is slower (needs more) at all."""
    within: float
    """Evidence that it is slower by less than the margin."""


def look(log_ratios: Sequence[float], margin_ratio: float) -> Look:
    """Weigh the launches so far, given in the order measured.

    Args:
        log_ratios: ln(candidate ÷ baseline), one per launch in the order measured, at least two.
        margin_ratio: the slow-down that must not go through, 0.05 for 5 %.
    """
    mean, error = _mean_and_error(log_ratios)
    count = len(log_ratios)
    slower = log_e_value(mean / error, count)
    return Look(mean, slower, log_e_value((math.log1p(margin_ratio) - mean) / error, count))


def anytime_estimate(log_ratios: Sequence[float], least: float = 20.0) -> Estimate:
    """Return the mean with an interval that holds whenever one looks: its ends have evidence ``least`` against.

    Two-sided 90 % at 20. So the upper end lies below a margin exactly when the evidence for "within the margin" has
    reached ``least``. Below three launches the bounds are ``None``.

    Args:
        log_ratios: one per launch, in the order measured; at least one.
        least: e-value at each end.
    """
    count = len(log_ratios)
    if count < 3:
        return Estimate(value=math.fsum(log_ratios) / count, low=None, high=None, n=count, confidence=1 - 2 / least)
    mean, error = _mean_and_error(log_ratios)
    half = float(np.interp(math.log(least), _table(count), _T_GRID)) * error
    return Estimate(value=mean, low=mean - half, high=mean + half, n=count, confidence=1 - 2 / least)


def log_e_value(t: float, launches: int) -> float:
    """Ln e of a t statistic over that many launches, interpolated in a table of the integral (to 0.1 %)."""
    at = min(max(bisect_right(_T_NODES, t), 1), len(_T_NODES) - 1)
    low, high = _node(at - 1, launches), _node(at, launches)
    share = (t - _T_NODES[at - 1]) / (_T_NODES[at] - _T_NODES[at - 1])
    return low + min(max(share, 0.0), 1.0) * (high - low)


def e_bh(log_e_values: Sequence[float], least: float) -> list[bool]:
    """Tell which of several null hypotheses fall: e-BH (Wang & Ramdas 2022), valid whatever their dependence.

    Args:
        log_e_values: ln e, one per hypothesis.
        least: e-value that one hypothesis alone needs; 100 keeps the false discovery rate within 1 %.
    """
    family = len(log_e_values)
    ordered = sorted(log_e_values, reverse=True)
    passing = [rank for rank in range(1, family + 1) if ordered[rank - 1] >= math.log(family * least / rank)]
    if not passing:
        return [False] * family
    bar = math.log(family * least / passing[-1])
    return [value >= bar for value in log_e_values]


def _mean_and_error(log_ratios: Sequence[float]) -> tuple[float, float]:
    """Mean with the order term taken out, and its standard error."""
    count = len(log_ratios)
    shrink = _ORDER_VARIANCE / (1.0 + count * _ORDER_VARIANCE)
    turns = [1.0 if index % 2 == 0 else -1.0 for index in range(count)]
    precision = count - shrink * (count % 2)
    crossed = math.fsum(turn * value for turn, value in zip(turns, log_ratios, strict=True))
    mean = (math.fsum(log_ratios) - shrink * (count % 2) * crossed) / precision
    left = [value - mean for value in log_ratios]
    ordered = math.fsum(turn * value for turn, value in zip(turns, left, strict=True))
    squares = math.fsum(value * value for value in left) - shrink * ordered * ordered
    deviation = max(math.sqrt(max(squares, 0.0) / (count - 1)), _LEAST_DEVIATION)
    return mean, deviation / math.sqrt(precision)


@lru_cache(maxsize=16384)
def _node(index: int, launches: int) -> float:
    """Ln e at one t of the grid: a gate looks at few of them."""
    odd = launches % 2
    precision = launches - odd * _ORDER_VARIANCE / (1.0 + launches * _ORDER_VARIANCE)
    return _log_e(_T_NODES[index], launches - 1, math.sqrt(precision))


@lru_cache(maxsize=64)
def _table(launches: int) -> NDArray[np.float64]:
    """Ln e on the grid of t."""
    return np.array([_node(index, launches) for index in range(len(_T_NODES))])


def _log_e(t: float, freedom: int, root: float) -> float:
    """Integrate over effect δ = tan φ and, inside it, over u = √χ²: ∫ u^ν exp(-(u - λz)²/2) du, z = t/√(t² + ν)."""
    z_squared = t * t / (t * t + freedom)
    shift = root * np.tan((_EFFECT_NODES + 1.0) * math.pi / 4.0)
    centre = shift * math.copysign(math.sqrt(z_squared), t)
    low = np.maximum(0.0, centre - 9.0)
    high = np.maximum(0.0, centre) + math.sqrt(freedom) + 9.0
    u = low[:, None] + (high - low)[:, None] * (_SCALE_NODES + 1.0) / 2.0
    inner = freedom * np.log(u) - 0.5 * (u - centre[:, None]) ** 2
    inner += np.log(_SCALE_WEIGHTS) + np.log((high - low) / 2.0)[:, None]
    outer = inner - 0.5 * (shift**2 * (freedom / (t * t + freedom)))[:, None]
    outer += np.log(_EFFECT_WEIGHTS / 2.0)[:, None]
    most = float(outer.max())
    null = (freedom - 1) / 2.0 * math.log(2.0) + math.lgamma((freedom + 1) / 2.0)
    return most + math.log(float(np.exp(outer - most).sum())) - null

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

Launches over a pool of equal machines share what is their machine's own: the candidate may gain on one and lose on the
next. The machine is a random effect with the same normal prior of half the scatter, and the mean weighs the launches by
what they then say together: sixteen launches of four machines as much as eight of one that has no effect.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtxbench.records import Estimate

__all__ = ["Look", "Machines", "anytime_estimate", "e_bh", "log_e_value", "look"]

_ORDER_VARIANCE: Final = 0.25
"""Prior variance of the order term, in units of the launches' own variance."""
_MACHINE_VARIANCE: Final = 0.25
"""Prior variance of a machine's effect on the ratio, in the same units."""
_LEAST_DEVIATION: Final = 5e-4
"""Least scatter of a log-ratio between launches: equal readings of a counter are not infinitely sure."""

_T_GRID: Final = np.concatenate([np.linspace(-8.0, 8.0, 161), np.geomspace(8.2, 1e5, 100)])
_T_NODES: Final = tuple(map(float, _T_GRID))
_EFFECT_NODES, _EFFECT_WEIGHTS = np.polynomial.legendre.leggauss(160)
_SCALE_NODES, _SCALE_WEIGHTS = np.polynomial.legendre.leggauss(80)


Machines: TypeAlias = Sequence[str]
"""Machine of each launch of a pool; empty where all are of one, whose effect is no part of the question."""


class Look(NamedTuple):
    """Evidence of the launches so far about one quantity, as natural logarithms of e-values."""

    estimate: float
    """Log-ratio candidate ÷ baseline with the order of the arms taken out."""
    slower: float
    """Evidence that the candidate is slower (needs more) at all."""
    within: float
    """Evidence that it is slower by less than the margin."""


def look(log_ratios: Sequence[float], margin_ratio: float, machines: Machines = ()) -> Look:
    """Weigh the launches so far, given in the order measured.

    Args:
        log_ratios: ln(candidate ÷ baseline), one per launch in the order measured, at least two.
        margin_ratio: the slow-down that must not go through, 0.05 for 5 %.
        machines: of a pool, that of each launch.
    """
    mean, error, precision = _mean_and_error(log_ratios, machines)
    count = len(log_ratios)
    slower = log_e_value(mean / error, count, precision)
    return Look(mean, slower, log_e_value((math.log1p(margin_ratio) - mean) / error, count, precision))


def anytime_estimate(log_ratios: Sequence[float], least: float = 20.0, machines: Machines = ()) -> Estimate:
    """Return the mean with an interval that holds whenever one looks: its ends have evidence ``least`` against.

    Two-sided 90 % at 20. So the upper end lies below a margin exactly when the evidence for "within the margin" has
    reached ``least``. Below three launches the bounds are ``None``.

    Args:
        log_ratios: one per launch, in the order measured; at least one.
        least: e-value at each end.
        machines: of a pool, that of each launch.
    """
    count = len(log_ratios)
    if count < 3:
        return Estimate(value=math.fsum(log_ratios) / count, low=None, high=None, n=count, confidence=1 - 2 / least)
    mean, error, precision = _mean_and_error(log_ratios, machines)
    half = float(np.interp(math.log(least), _table(count, precision), _T_GRID)) * error
    return Estimate(value=mean, low=mean - half, high=mean + half, n=count, confidence=1 - 2 / least)


def log_e_value(t: float, launches: int, precision: float | None = None) -> float:
    """Ln e of a t statistic over that many launches, interpolated in a table of the integral (to 0.1 %).

    Args:
        t: mean ÷ standard error.
        launches: one more than its degrees of freedom.
        precision: independent launches that the mean is worth; with the order term's where ``None``.
    """
    precision = _ordered_precision(launches) if precision is None else precision
    at = min(max(bisect_right(_T_NODES, t), 1), len(_T_NODES) - 1)
    low, high = _node(at - 1, launches, precision), _node(at, launches, precision)
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


def _ordered_precision(launches: int) -> float:
    """Independent launches that a mean with the order term taken out is worth."""
    return launches - launches % 2 * _ORDER_VARIANCE / (1.0 + launches * _ORDER_VARIANCE)


def _mean_and_error(log_ratios: Sequence[float], machines: Machines) -> tuple[float, float, float]:
    """Mean with the order term (and the machines' effects) taken out, its standard error, and its precision."""
    if machines:
        return _pooled_mean(np.asarray(log_ratios, dtype=float), tuple(machines))
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
    return mean, deviation / math.sqrt(precision), precision


def _pooled_mean(values: NDArray[np.float64], machines: tuple[str, ...]) -> tuple[float, float, float]:
    """Generalised least squares with the covariance that order and machines give the launches (Aitken 1935)."""
    inverse = _inverse_covariance(machines)
    precision = float(inverse.sum())
    mean = float(inverse.sum(axis=0) @ values) / precision
    left = values - mean
    deviation = max(math.sqrt(max(float(left @ inverse @ left), 0.0) / (len(values) - 1)), _LEAST_DEVIATION)
    return mean, deviation / math.sqrt(precision), round(precision, 9)


@lru_cache(maxsize=256)
def _inverse_covariance(machines: tuple[str, ...]) -> NDArray[np.float64]:
    """Inverse of the launches' covariance, in units of their own variance."""
    turns = np.where(np.arange(len(machines)) % 2 == 0, 1.0, -1.0)
    same = np.equal.outer(machines, machines)
    covariance = np.eye(len(machines)) + _ORDER_VARIANCE * np.outer(turns, turns) + _MACHINE_VARIANCE * same
    return np.asarray(np.linalg.inv(covariance))


@lru_cache(maxsize=16384)
def _node(index: int, launches: int, precision: float) -> float:
    """Ln e at one t of the grid: a gate looks at few of them."""
    return _log_e(_T_NODES[index], launches - 1, math.sqrt(precision))


@lru_cache(maxsize=64)
def _table(launches: int, precision: float) -> NDArray[np.float64]:
    """Ln e on the grid of t."""
    return np.array([_node(index, launches, precision) for index in range(len(_T_NODES))])


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

"""Throughput over many commits: log-ratios against a pinned reference, and where their level changed.

A point is one gate of a commit against the *same* reference commit, measured in the same session, so that the
machine's state of the day cancels. Points of unlike machines (hardware fingerprint), cases or references are never
put into one series. Change points are found by PELT (Killick, Fearnhead & Eckley 2012) on the mean, penalty 3 ln n.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import UnavailableError
from rtxbench.gate.statistics.decision import LAUNCHES_LEAST, decide
from rtxbench.records import GATE_TOPIC, Estimate, Observation
from rtxbench.results.store import LoadedRun

__all__ = [
    "LEAST_STEP_RATIO",
    "Point",
    "Series",
    "Step",
    "change_points",
    "history_series",
    "levels",
    "unselected_mean",
]

_PENALTY_FACTOR: Final = 3.0
_LEAST_SEGMENT: Final = 3
_LEAST_POINTS: Final = 4
LEAST_STEP_RATIO: Final = 0.025
"""Smallest change of level that is shown: half the gate's margin."""
_NOISE_FLOOR: Final = 0.002
"""Least noise of a point, log scale: equal values would otherwise make every rounding error a step."""


_MAD_OF_DIFFERENCES: Final = 0.6745 * math.sqrt(2.0)
"""Median absolute difference of neighbours of unit normal noise."""


class Point(NamedTuple):
    """One commit against the reference. ``log_ratio`` is of step time: above zero the commit is slower."""

    commit: str
    finished_at: str
    log_ratio: Estimate
    outcome: str
    dirty: bool


class Step(NamedTuple):
    """The level changed between two points."""

    first_point: int
    """Index of the first point of the new level."""
    commit: str
    before: float
    after: float
    """Mean log-ratio of the level before and after."""

    @property
    def change_ratio(self) -> float:
        """Change of step time, 0.05 for 5 % slower."""
        return math.expm1(self.after - self.before)


class Series(NamedTuple):
    """One case on one machine against one reference, oldest point first."""

    machine: str
    case: str
    reference: str
    points: tuple[Point, ...]
    steps: tuple[Step, ...]


def history_series(runs: Iterable[LoadedRun]) -> list[Series]:
    """Return every series among the gates' records, longest first; a gate recorded in two files counts once."""
    grouped: dict[tuple[str, str, str], dict[str, Point]] = {}
    for run in runs:
        for record in run.of_kind(Observation):
            if record.topic == GATE_TOPIC and record.metric == "log_ratio" and record.estimate is not None:
                key = (run.run.environment.machine, record.labels["case"], record.labels["reference"])
                session = record.labels.get("session", record.record_id)
                grouped.setdefault(key, {})[session] = _point(record, record.estimate)
    series = [_series(key, list(points.values())) for key, points in grouped.items()]
    return sorted(series, key=lambda one: (-len(one.points), one.machine, one.case, one.reference))


def change_points(values: Sequence[float], least_ratio: float = LEAST_STEP_RATIO) -> list[int]:
    """Indices at which the level of a series changes by at least ``least_ratio``; none below four points.

    The series is scaled by its noise, the median absolute difference of neighbours ÷ (0.6745 √2), which a few
    steps do not move, so that the penalty means the same on a quiet and on a noisy machine. PELT alone splits 2-6 %
    of flat series (40 points); with the least step of half the gate's margin, fewer than 0.5 %.
    """
    if len(values) < _LEAST_POINTS:
        return []
    try:
        import ruptures
    except ImportError as error:
        raise UnavailableError(
            "finding steps in a history needs ruptures, which has no wheel for this Python.",
            next_step="`pip install ruptures` compiles it; or use Python 3.11 to 3.13.",
        ) from error

    signal = np.asarray(values, dtype=float) / _noise(np.asarray(values, dtype=float))
    search = ruptures.Pelt(model="l2", min_size=_LEAST_SEGMENT, jump=1).fit(signal.reshape(-1, 1))
    ends: list[int] = search.predict(pen=_PENALTY_FACTOR * np.log(len(values)))
    return _large_steps(ends[:-1], values, math.log1p(least_ratio))


def unselected_mean(log_ratios: Sequence[float], margin_ratio: float, orders: int = 64) -> float:
    """Mean log-ratio of a gate's launches, corrected for having stopped when it did.

    Args:
        log_ratios: of every launch, in the order measured.
        margin_ratio: the gate's, 0.05 for 5 %.
        orders: of the launches to try, drawn at random with a fixed seed.
    """
    if len(log_ratios) <= LAUNCHES_LEAST:
        return math.fsum(log_ratios) / len(log_ratios)
    generator = np.random.default_rng(len(log_ratios))
    tried = [list(log_ratios), *(generator.permutation(log_ratios).tolist() for _ in range(orders))]
    lasting = [
        order
        for order in tried
        if all(decide(order[:count], margin_ratio).outcome is None for count in range(LAUNCHES_LEAST, len(order)))
    ]
    return float(np.mean([order[:LAUNCHES_LEAST] for order in lasting or tried]))


def levels(values: Sequence[float], found: Sequence[int]) -> list[float]:
    """Mean of each stretch between change points."""
    return [float(np.mean(values[start:end])) for start, end in itertools.pairwise([0, *found, len(values)])]


def _large_steps(found: list[int], values: Sequence[float], least: float) -> list[int]:
    """Join neighbouring levels, the most alike first, until every step is at least ``least``."""
    while found:
        sizes = [abs(after - before) for before, after in itertools.pairwise(levels(values, found))]
        if min(sizes) >= least:
            break
        found = [index for index, size in zip(found, sizes, strict=True) if size > min(sizes)]
    return found


def _noise(values: NDArray[np.float64]) -> float:
    differences = np.abs(np.diff(values))
    return max(float(np.median(differences)) / _MAD_OF_DIFFERENCES, _NOISE_FLOOR)


def _series(key: tuple[str, str, str], points: list[Point]) -> Series:
    ordered = sorted(points, key=lambda point: point.finished_at)
    values = [point.log_ratio.value for point in ordered]
    found = change_points(values)
    steps = [
        Step(index, ordered[index].commit, before, after)
        for index, (before, after) in zip(found, itertools.pairwise(levels(values, found)), strict=True)
    ]
    return Series(*key, tuple(ordered), tuple(steps))


def _point(record: Observation, estimate: Estimate) -> Point:
    labels = record.labels
    if (margin := labels.get("margin_ratio")) is not None:  # the first edition's gates confirmed on fresh launches
        value = unselected_mean(record.values, float(margin))
        shift = value - estimate.value
        low, high = (None if bound is None else bound + shift for bound in (estimate.low, estimate.high))
        estimate = Estimate(value=value, low=low, high=high, n=estimate.n, confidence=estimate.confidence)
    return Point(labels["commit"], record.finished_at, estimate, labels["outcome"], labels.get("dirty") == "true")

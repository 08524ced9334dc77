"""Arithmetic of samples and time windows: which samples stand for time inside measured windows.

A sample stands for the time since the sample before it: every sensor here is a difference or an average over about
one sampling interval. It counts for a set of windows when at least half of that time lies inside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Series", "Windows", "merge_windows", "overlap_ns", "values_in"]

Windows: TypeAlias = Sequence[tuple[int, int]]
"""(start, end) pairs in ``time.monotonic_ns()`` of the machine that recorded."""


@dataclass(frozen=True)
class Series:
    """One metric of one device. Both arrays have shape (samples,)."""

    times_ns: NDArray[np.int64]
    values: NDArray[np.float64]


def values_in(series: Series, windows_ns: Windows) -> NDArray[np.float64]:
    """Values that stand for time inside the windows, shape (k,), in time order.

    Where every sample covers more outside than inside (windows shorter than half the sampling period), those that
    overlap at all are taken.
    """
    overlap, span = overlap_ns(series.times_ns, windows_ns)
    inside = overlap >= 0.5 * span
    return series.values[inside] if inside.any() else series.values[overlap > 0]


def overlap_ns(times_ns: NDArray[np.int64], windows_ns: Windows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each sample: how much of its time lies in the windows, and how long its time is.

    A sample's time ends with it and began with the one before, at most two usual intervals earlier.

    Returns:
        Two arrays of the shape of ``times_ns``, (samples,), nanoseconds.
    """
    if times_ns.size == 0 or not windows_ns:
        empty = np.zeros(times_ns.size)
        return empty, np.ones(times_ns.size)
    steps = np.diff(times_ns).astype(float)
    usual = float(np.median(steps)) if steps.size else 1e8
    spans = np.minimum(np.concatenate([[usual], steps]), 2 * usual)
    return np.asarray(_covered(times_ns, windows_ns) - _covered(times_ns - spans, windows_ns)), spans


def _covered(times_ns: NDArray[np.int64] | NDArray[np.float64], windows_ns: Windows) -> NDArray[np.float64]:
    """Total window length before each time. Windows are merged first, so overlapping ones do not count twice."""
    merged = merge_windows(windows_ns)
    edges = np.array(merged, dtype=float).ravel()
    lengths = np.cumsum([0.0, *(end - start for start, end in merged)])
    levels = np.repeat(lengths, 2)[1:-1]
    return np.asarray(np.interp(times_ns, edges, levels))


def merge_windows(windows_ns: Windows, gap_ns: int = 0) -> list[tuple[int, int]]:
    """Sorted windows; those that overlap or lie at most ``gap_ns`` apart become one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(windows_ns):
        if merged and start <= merged[-1][1] + gap_ns:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged

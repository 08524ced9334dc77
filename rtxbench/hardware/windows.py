"""Arithmetic of samples and time windows: which samples stand for time inside measured windows.

A sample stands for the time since the sample before it: every sensor here is a difference or an average over about
one sampling interval. It counts for a set of windows when at least half of that time lies inside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AVERAGED_OVER_S",
    "Samples",
    "Windows",
    "merge_windows",
    "metric_values_in",
    "overlap_ns",
    "values_in",
]

Windows: TypeAlias = Sequence[tuple[int, int]]
"""(start, end) pairs in ``time.monotonic_ns()`` of the machine that recorded."""


AVERAGED_OVER_S: Final[Mapping[str, float | None]] = {
    # nvml.h: "sample period may be between 1 second and 1/6 second, depending on the product".
    "gpu_utilization_ratio": 1.0,
    "memory_controller_utilization_ratio": 1.0,
    "power_average_w": 1.0,
    # GPM: between two reads of the recorder.
    "sm_activity_ratio": None,
    "tensor_activity_ratio": None,
    "dram_activity_ratio": None,
}
"""Metric → seconds before a reading that it is an average of (``None``: since the reading before). Arms take turns
within a second, so a reading counts for an arm only where all of that time lies in its blocks."""
_SAME_STRETCH_NS: Final = 20_000_000
"""Blocks of one arm this close together are one stretch: nothing but that arm's own next block lies between."""


@dataclass(frozen=True)
class Samples:
    """One metric of one device. Both arrays have shape (samples,)."""

    times_ns: NDArray[np.int64]
    values: NDArray[np.float64]


def values_in(series: Samples, windows_ns: Windows) -> NDArray[np.float64]:
    """Return the values that stand for time inside the windows, shape (k,), in time order.

    Where every sample covers more outside than inside (windows shorter than half the sampling period), those that
    overlap at all are taken.
    """
    overlap, span = overlap_ns(series.times_ns, windows_ns)
    inside = overlap >= 0.5 * span
    return series.values[inside] if inside.any() else series.values[overlap > 0]


def metric_values_in(metric: str, series: Samples, windows_ns: Windows) -> NDArray[np.float64]:
    """Return the values of a metric that tell of the windows and of nothing else, shape (k,), in time order.

    What is an average over up to a second (`AVERAGED_OVER_S`) counts only where that whole second lies inside one
    stretch of windows; then there may be none, which is an answer. Everything else is as in `values_in`.
    """
    if metric not in AVERAGED_OVER_S or not windows_ns or series.times_ns.size == 0:
        return values_in(series, windows_ns)
    averaged_s = AVERAGED_OVER_S[metric]
    spans = np.diff(series.times_ns, prepend=series.times_ns[0]) if averaged_s is None else averaged_s * 1e9
    begins = series.times_ns - spans
    if averaged_s is None:
        begins[0] = -1  # the first reading's time is not known
    stretches = merge_windows(windows_ns, _SAME_STRETCH_NS)
    inside = np.zeros(series.times_ns.size, dtype=bool)
    for start, end in stretches:
        inside |= (begins >= start) & (series.times_ns <= end)
    return series.values[inside]


def overlap_ns(times_ns: NDArray[np.int64], windows_ns: Windows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure for each sample how much of its time lies in the windows, and how long its time is.

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

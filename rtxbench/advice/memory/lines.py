"""Peak memory as a line in the batch size, through peaks an engine or a compiler reported."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from rtxbench.errors import UsageError

__all__ = ["Line", "line_through"]


class Line(NamedTuple):
    """Peak memory linear in the batch size, from peaks an engine reported at two batch sizes."""

    fixed_bytes: float
    bytes_per_example: float
    how: str

    def need_bytes(self, batch_size: int) -> float:
        """Peak at ``batch_size``."""
        return self.fixed_bytes + self.bytes_per_example * batch_size


def line_through(peaks_bytes: Mapping[int, float], how: str) -> Line:
    """Return the line through the peaks of the smallest and the largest batch size.

    Raises:
        UsageError: fewer than two batch sizes, or a peak that falls as the batch grows.
    """
    if len(peaks_bytes) < 2:
        raise UsageError(
            "memory peaks at two batch sizes are needed.", next_step="Measure the workload at a second batch size."
        )
    small, large = min(peaks_bytes), max(peaks_bytes)
    slope = (peaks_bytes[large] - peaks_bytes[small]) / (large - small)
    if slope < 0 or not math.isfinite(slope):
        raise UsageError(
            f"the peak falls from batch {small} to batch {large}.",
            next_step="Measure again: the allocator's peak was not reset between the cases.",
        )
    return Line(max(0.0, peaks_bytes[small] - slope * small), slope, how)

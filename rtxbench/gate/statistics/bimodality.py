"""Do blocks of unchanged code run at two speeds? A machine with two states makes ratios of states, not of code."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TwoSpeeds", "two_speeds"]

_LEAST_BLOCKS = 12
_LEAST_SHARE = 0.1
_LEAST_GAP = 0.1
_LEAST_EXPLAINED = 0.85
"""Of the variance, by the two groups: 0.64 for normal noise, 0.75 for uniform noise, 1 for two points."""


class TwoSpeeds(NamedTuple):
    """Two groups of blocks."""

    factor: float
    """Slow ÷ fast, as step times."""
    slow_share: float


def two_speeds(log_times: NDArray[np.float64]) -> TwoSpeeds | None:
    """Split block times in two where that explains them (Otsu 1979); ``None`` where one speed does.

    Args:
        log_times: natural logarithms of step times, one per block, in any order.
    """
    ordered = np.sort(log_times)
    count = ordered.size
    total = float(((ordered - ordered.mean()) ** 2).sum())
    if count < _LEAST_BLOCKS or total == 0.0:
        return None
    sizes = np.arange(1, count)
    sums = np.cumsum(ordered)
    fast, slow = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / (count - sizes)
    between = sizes * (count - sizes) / count * (slow - fast) ** 2
    split = int(np.argmax(between))
    share = float(1 - sizes[split] / count)
    gap = float(slow[split] - fast[split])
    if min(share, 1 - share) < _LEAST_SHARE or gap < _LEAST_GAP or between[split] / total < _LEAST_EXPLAINED:
        return None
    return TwoSpeeds(float(np.exp(gap)), share)

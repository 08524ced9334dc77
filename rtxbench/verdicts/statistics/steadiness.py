"""Judge whether a ratio still moves while it is measured: the trend of its rounds, over launches.

An arm that still warms up says nothing against a ratio whose arms move together, which is what interleaving is for.
"""

import math
from typing import Final

import numpy as np

from rtxbench.records import Launch, Measurement
from rtxbench.stats import log_ratio_per_round, theil_sen_slope

__all__ = ["ratio_trend_p_value", "ratio_trends"]

_LEAST_ROUNDS: Final = 3
_LEAST_LAUNCHES: Final = 3
_LEVEL: Final = 0.05


def ratio_trends(baseline: Measurement, candidate: Measurement) -> bool | None:
    """Test the ratio of two interleaved arms for a trend over the rounds of a launch.

    Returns:
        ``None`` where it cannot be told: fewer than three launches in common, or fewer than three rounds in each.
    """
    p_value = ratio_trend_p_value(baseline, candidate)
    return None if p_value is None else p_value < _LEVEL


def ratio_trend_p_value(baseline: Measurement, candidate: Measurement) -> float | None:
    """Two-sided p value of "no trend": Theil-Sen slope of the rounds' log-ratios per launch, then t over launches."""
    from scipy.special import stdtr

    if len(baseline.launches) != len(candidate.launches):
        return None
    pairs = zip(baseline.launches, candidate.launches, strict=True)
    slopes = np.array([slope for a, b in pairs if (slope := _slope(a, b)) is not None])
    if slopes.size < _LEAST_LAUNCHES:
        return None
    error = float(slopes.std(ddof=1)) / math.sqrt(slopes.size)
    if error == 0.0:
        return 1.0 if slopes.mean() == 0.0 else 0.0
    return float(2 * stdtr(slopes.size - 1, -abs(float(slopes.mean())) / error))


def _slope(baseline: Launch, candidate: Launch) -> float | None:
    """Change of ln(candidate ÷ baseline) of step time per round; ``None`` where the launches share too few rounds."""
    times = [_block_times_s(launch) for launch in (baseline, candidate)]
    if times[0].shape != times[1].shape or len(times[0]) < _LEAST_ROUNDS:
        return None
    return theil_sen_slope(log_ratio_per_round(times[0], times[1]))


def _block_times_s(launch: Launch) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Seconds per step of the two blocks of every round, shape (rounds, 2)."""
    blocks = np.array(launch.blocks_ns, dtype=np.float64).reshape(-1, 2)
    seconds = (blocks[:, 1] - blocks[:, 0]) / 1e9 / launch.steps_per_block
    return seconds[: len(seconds) // 2 * 2].reshape(-1, 2)

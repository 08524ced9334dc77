"""Judge whether a ratio still moves while it is measured: the trend of its rounds, over launches.

An arm that still warms up says nothing against a ratio whose arms move together, which is what interleaving is for.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtxbench.records import Launch, Measurement
from rtxbench.stats import theil_sen_slopes

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
    """Test for "no trend", two-sided: Theil-Sen slope of the rounds' log-ratios per launch, then t over launches."""
    from scipy.special import stdtr

    if len(baseline.launches) != len(candidate.launches):
        return None
    slopes = _slopes(baseline.launches, candidate.launches)
    if slopes.size < _LEAST_LAUNCHES:
        return None
    error = float(slopes.std(ddof=1)) / math.sqrt(slopes.size)
    if error == 0.0:
        return 1.0 if slopes.mean() == 0.0 else 0.0
    return float(2 * stdtr(slopes.size - 1, -abs(float(slopes.mean())) / error))


def _slopes(baselines: Sequence[Launch], candidates: Sequence[Launch]) -> NDArray[np.float64]:
    """Change of ln(candidate ÷ baseline) of step time per round, one a launch; those of too few rounds left out.

    Launches of equally many blocks are computed together: results of a hundred thousand records hold as many.
    """
    by_count: dict[int, list[tuple[Launch, Launch]]] = {}
    for pair in zip(baselines, candidates, strict=True):
        count = len(pair[0].blocks_ns)
        if count == len(pair[1].blocks_ns) and count // 2 >= _LEAST_ROUNDS:
            by_count.setdefault(count, []).append(pair)
    slopes = [theil_sen_slopes(_log_steps(pairs, 1) - _log_steps(pairs, 0)) for pairs in by_count.values()]
    return np.concatenate(slopes) if slopes else np.empty(0)


def _log_steps(pairs: Sequence[tuple[Launch, Launch]], arm: int) -> NDArray[np.float64]:
    """Average the log seconds per step of the two blocks of every round, shape (launches, rounds)."""
    blocks = np.array([pair[arm].blocks_ns for pair in pairs], dtype=np.float64)
    steps = np.array([pair[arm].steps_per_block for pair in pairs])
    logs = np.log((blocks[..., 1] - blocks[..., 0]) / 1e9 / steps[:, None])
    return np.asarray(logs[:, : logs.shape[1] // 2 * 2].reshape(len(pairs), -1, 2).mean(axis=2))

"""The trend of a ratio over its rounds: seen where it is there, and not where both arms drift alike."""

import numpy as np
import pytest

from rtxbench.records import Estimate, Launch, Measurement
from rtxbench.verdicts.statistics.steadiness import ratio_trend_p_value, ratio_trends

LAUNCHES, ROUNDS = 5, 8


def arm(log_times: np.ndarray) -> Measurement:
    """Launches whose blocks take exp(log_times) of a second, shape (launches, 2 · rounds)."""
    launches = []
    for row in np.exp(log_times):
        ends = np.cumsum(row * 1e9).astype(int).tolist()
        blocks = tuple(zip([0, *ends[:-1]], ends, strict=True))
        launches.append(
            Launch(steps_per_block=1, blocks_ns=blocks, warmup_ok=False, warmup_s=1.0, build_s=1.0, first_step_s=1.0)
        )
    figure = Estimate(value=1.0, low=0.99, high=1.01, n=5)
    return Measurement(launches=tuple(launches), step_time_s=figure, throughput_per_s=figure, warmup_ok=False)


def noise(seed: int, launches: int = LAUNCHES, rounds: int = ROUNDS) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (launches, 2 * rounds))


def test_arms_that_drift_together_have_a_steady_ratio() -> None:
    """Both arms slow down by a tenth, unsteady by any rule of their own; their ratio moves no more than by chance."""
    ramp = np.linspace(0, 0.1, 2 * ROUNDS)
    calls = [ratio_trends(arm(noise(2 * i) + ramp), arm(noise(2 * i + 1) + ramp)) for i in range(200)]
    assert np.mean([bool(call) for call in calls]) < 0.1


def test_a_ratio_that_moves_is_seen() -> None:
    """One arm speeds up by a tenth while the other holds still."""
    ramp = np.linspace(0.1, 0, 2 * ROUNDS)
    assert ratio_trends(arm(noise(1)), arm(noise(2) + ramp)) is True


def test_a_steady_ratio_is_called_trending_in_one_of_twenty() -> None:
    """The level is kept: 5 % of steady ratios, within what 400 trials can tell."""
    calls = [ratio_trends(arm(noise(2 * i)), arm(noise(2 * i + 1))) for i in range(400)]
    assert np.mean([bool(call) for call in calls]) == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize(("launches", "rounds"), [(2, 8), (5, 2)])
def test_too_few_launches_or_rounds_cannot_tell(launches: int, rounds: int) -> None:
    """No answer rather than a guess; nor where the arms came through different launches."""
    few = arm(noise(1, launches, rounds)), arm(noise(2, launches, rounds))
    assert ratio_trends(*few) is None
    assert ratio_trend_p_value(arm(noise(1)), arm(noise(2, launches=4))) is None

"""Two speeds are found where there are two, and not in plain noise."""

import numpy as np
import pytest

from rtxbench.gate.statistics.bimodality import two_speeds

GENERATOR = np.random.default_rng(3)


def test_two_slow_launches_of_five_are_named() -> None:
    """An arm six times slower for two whole launches of five: factor and share are right."""
    times = np.concatenate([GENERATOR.normal(0.0, 0.03, 72), GENERATOR.normal(np.log(6.0), 0.03, 48)])
    found = two_speeds(times)
    assert found is not None
    assert found.factor == pytest.approx(6.0, rel=0.05)
    assert found.slow_share == pytest.approx(0.4)


@pytest.mark.parametrize("noise", [GENERATOR.normal(0, 0.1, 300), GENERATOR.uniform(0, 0.5, 300), np.zeros(50)])
def test_one_speed_is_not_split(noise: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> None:
    """Normal noise, uniform noise and no noise have one speed; so has a single burst among many blocks."""
    assert two_speeds(noise) is None
    assert two_speeds(np.append(np.zeros(60), 2.0)) is None

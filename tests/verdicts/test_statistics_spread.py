"""The spread between machines is found again where it was put in, and its interval covers it as often as it says."""

import math

import numpy as np
import pytest

from rtxbench.verdicts.statistics.pooling import LogRatio
from rtxbench.verdicts.statistics.spread import outlier_score, spread_of


def drawn(rng: np.random.Generator, machines: int, between: float, within: float, launches: int = 5) -> list[LogRatio]:
    """Machines of one kind: each its own level, some launches around it."""
    logs = []
    for _ in range(machines):
        values = rng.normal(0, between) + rng.normal(0, within, launches)
        error = float(values.std(ddof=1)) / math.sqrt(launches)
        logs.append(LogRatio(float(values.mean()), error, launches - 1.0, launches))
    return logs


def test_a_known_answer() -> None:
    """Exact figures at 0, 3 and 6 % have a standard deviation of 3 % between and none within."""
    spread = spread_of([LogRatio(value, 0.0, 4.0, 5) for value in (0.0, 0.03, 0.06)])
    assert spread.between == pytest.approx(0.03)
    assert spread.within == 0
    assert spread.between_low < 0.03 < spread.between_high


@pytest.mark.parametrize("between", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("machines", [3, 10])
def test_the_interval_covers_the_truth(between: float, machines: int) -> None:
    """In 1,000 draws the 95 % interval holds the spread that was put in at least 93 % of the time."""
    rng = np.random.default_rng(7)
    found = [spread_of(drawn(rng, machines, between, 0.02)) for _ in range(1000)]
    assert sum(one.between_low <= between <= one.between_high for one in found) >= 930
    assert np.mean([one.within**2 for one in found]) == pytest.approx(0.02**2, rel=0.1)


def test_a_machine_like_the_others_is_rarely_called_unusual() -> None:
    """Of 2,000 machines drawn like their nine peers, about 5 % fall below the 5 % point."""
    from rtxbench.stats import student_t

    rng = np.random.default_rng(8)
    limit = -student_t(0.95, 8.0)
    slow = 0
    for _ in range(2000):
        own, *others = drawn(rng, 10, 0.02, 0.01)
        slow += outlier_score(own, others) < limit
    assert 0.02 < slow / 2000 < 0.07


def test_a_throttled_machine_stands_out() -> None:
    """A machine 15 % slower than nine that differ by 2 % lies far below them."""
    rng = np.random.default_rng(9)
    own, *others = drawn(rng, 10, 0.02, 0.01)
    assert outlier_score(own._replace(value=own.value - 0.15), others) < -4

"""Part the spread of one figure over equal machines into that between the machines and that within each.

One-way random effects of unequal precision: the interval of the standard deviation between machines is that of Thomas
and Hultquist (1978), "Interval estimation for the unbalanced case of the one-way random effects model".
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from rtxbench.stats import student_t
from rtxbench.verdicts.statistics.pooling import LogRatio

__all__ = ["LEAST_MACHINES", "Spread", "log_throughput", "outlier_score", "spread_of"]

LEAST_MACHINES: Final = 3
"""Fewer machines say nothing of a spread between them."""


class Spread(NamedTuple):
    """Standard deviations in log units: 0.03 is 3 %."""

    between: float
    """Between machines, the uncertainty of each machine's own figure taken out."""
    between_low: float
    between_high: float
    """Interval of ``between``, 95 %."""
    within: float
    """Between launches on one machine."""
    machines: int


def log_throughput(
    per_s: float, low: float | None, high: float | None, confidence: float | None, launches: int | None
) -> LogRatio | None:
    """Take ln of a throughput and its standard error out of its interval over launches; ``None`` without one."""
    if not low or not high or not confidence or not launches or launches < 2 or not 0 < low <= high < math.inf:
        return None
    error = math.log(high / low) / 2 / student_t(0.5 + confidence / 2, launches - 1.0)
    return LogRatio(math.log(per_s), error, launches - 1.0, launches)


def spread_of(logs: Sequence[LogRatio]) -> Spread:
    """Estimate the spread from one logarithm a machine.

    Args:
        logs: ln of each machine's figure, with its standard error; at least `LEAST_MACHINES`.
    """
    from scipy.special import gammaincinv  # the quantile of χ²; importing scipy.stats takes a second

    count = len(logs)
    assert count >= LEAST_MACHINES
    mean = sum(one.value for one in logs) / count
    total = sum((one.value - mean) ** 2 for one in logs)
    own = sum(one.error**2 for one in logs) / count
    within = sum(one.error**2 * one.replicates for one in logs) / count
    low, high = (_deviation(total / (2 * float(gammaincinv((count - 1) / 2, p))) - own) for p in (0.975, 0.025))
    return Spread(_deviation(total / (count - 1) - own), low, high, math.sqrt(within), count)


def _deviation(variance: float) -> float:
    """Take the root of a variance; one that a subtraction left below zero is none."""
    return math.sqrt(max(0.0, variance))


def outlier_score(one: LogRatio, others: Sequence[LogRatio]) -> float:
    """Tell how many standard deviations a machine lies from the mean of the others; below zero it is slower.

    The deviation is that of a further machine drawn from where the others come from, measured as well as this one was.
    Student's t of ``len(others) - 1`` degrees of freedom where the machines are alike.
    """
    mean = sum(other.value for other in others) / len(others)
    variance = sum((other.value - mean) ** 2 for other in others) / (len(others) - 1)
    deviation = math.sqrt(variance * (1 + 1 / len(others)) + one.error**2)
    return (one.value - mean) / deviation if deviation > 0 else 0.0

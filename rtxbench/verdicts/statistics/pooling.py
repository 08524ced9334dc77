"""From the replicates of one run, or of several, to one log-ratio with its standard error and degrees of freedom.

Several runs of one comparison are combined, never is the latest preferred: random effects with the interval of Hartung
and Knapp (2001), never narrower than that of a common ratio (Röver, Knapp & Friede 2015).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rtxbench.records import Estimate, RatioRecord
from rtxbench.stats import ratio_estimate, student_t

__all__ = ["LogRatio", "combine_runs", "log_ratio_of", "widening"]


class LogRatio(NamedTuple):
    """A mean of ln(candidate ÷ baseline) and how well it is known."""

    value: float
    error: float
    """Standard error of the mean."""
    degrees: float
    """Degrees of freedom behind ``error``."""
    replicates: int
    """Launches or seeds it rests on."""
    step: float = 0.0
    """Largest step between neighbouring launches of one run, log units: what a state of the machine may have made."""
    unfinished: float = 0.0
    """Movement to be expected in longer trainings, log units."""

    def interval(self, confidence: float) -> Estimate:
        """Return the ratio with its two-sided interval."""
        half = student_t(0.5 + confidence / 2, self.degrees) * self.error
        low, high = math.exp(self.value - half), math.exp(self.value + half)
        return Estimate(value=math.exp(self.value), low=low, high=high, n=self.replicates, confidence=confidence)

    def half_width(self, confidence: float) -> float:
        """Half the width of that interval, in log units: 0.03 is ±3 %."""
        return student_t(0.5 + confidence / 2, self.degrees) * self.error


def log_ratio_of(record: RatioRecord) -> LogRatio:
    """Average one run's replicates, at least two.

    An interval that was widened because the run stopped when it looked narrow stays as much wider.
    """
    data = np.asarray(record.log_ratios, dtype=float)
    error = float(data.std(ddof=1)) / math.sqrt(data.size) * widening(record)
    step = float(np.diff(np.sort(data)).max()) if record.replicate == "launch" else 0.0
    unfinished = record.unfinished_log_ratio or 0.0
    return LogRatio(float(data.mean()), error, data.size - 1.0, data.size, step, unfinished)


def widening(record: RatioRecord) -> float:
    """By which factor the stored interval is wider than its replicates give: above 1 after an adaptive stop."""
    stored, own = record.ratio, ratio_estimate(record.log_ratios, record.ratio.confidence)
    if None in (stored.low, stored.high, own.low, own.high) or own.low == own.high:
        return 1.0
    widths = [math.log(e.high / e.low) for e in (stored, own)]  # type: ignore[operator]
    return max(1.0, widths[0] / widths[1])


def combine_runs(runs: Sequence[LogRatio]) -> LogRatio:
    """Combine the log-ratios of several runs into one; a single one stays as it is.

    Where the runs differ by no more than their own errors explain, all replicates speak together. Otherwise the ratio
    changes from run to run, and only the runs count: the degrees of freedom are their number less one.
    """
    if len(runs) == 1:
        return runs[0]
    values = np.array([run.value for run in runs])
    errors = np.array([max(run.error, 1e-9) for run in runs])
    weights = errors**-2
    excess = float(weights @ (values - weights @ values / weights.sum()) ** 2) - (len(runs) - 1)
    between = max(0.0, excess / float(weights.sum() - (weights**2).sum() / weights.sum()))  # DerSimonian & Laird 1986
    weights = 1 / (errors**2 + between)
    mean = float(weights @ values / weights.sum())
    spread = float(weights @ (values - mean) ** 2) / (len(runs) - 1)
    error = math.sqrt(max(1.0, spread) / float(weights.sum()))
    degrees = len(runs) - 1.0 if between > 0 else sum(run.degrees for run in runs)
    unfinished = float(weights @ np.array([run.unfinished for run in runs]) / weights.sum())
    replicates = sum(run.replicates for run in runs)
    return LogRatio(mean, error, degrees, replicates, max(run.step for run in runs), unfinished)

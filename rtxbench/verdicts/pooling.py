"""From the replicates of one run, or of several, to one log-ratio with its standard error and degrees of freedom.

*Moderated variances* (Smyth 2004): three to five launches say little of their own spread, and all comparisons of one
machine say much of it together. The spread of each is drawn towards theirs by as much as they resemble each other.

*Several runs of one comparison* are combined, never is the latest preferred: random effects with the interval of
Hartung and Knapp (2001), never narrower than that of a common ratio (Röver, Knapp & Friede 2015).
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from rtxbench.records import Estimate, RatioRecord
from rtxbench.stats import ratio_estimate, student_t

__all__ = ["LogRatio", "VariancePrior", "combine_runs", "fit_prior", "log_ratio_of"]

_LEAST_GROUPS: Final = 5
"""A prior from fewer comparisons would say more of them than of the machine."""
_MOST_PRIOR_DEGREES: Final = 20.0
"""Spreads that all look alike would give an infinite prior, and no comparison a spread of its own."""


class LogRatio(NamedTuple):
    """A mean of ln(candidate ÷ baseline) and how well it is known."""

    value: float
    error: float
    """Standard error of the mean."""
    degrees: float
    """Degrees of freedom behind ``error``."""
    replicates: int
    """Launches or seeds it rests on."""

    def interval(self, confidence: float) -> Estimate:
        """The ratio with its two-sided interval."""
        half = student_t(0.5 + confidence / 2, self.degrees) * self.error
        low, high = math.exp(self.value - half), math.exp(self.value + half)
        return Estimate(value=math.exp(self.value), low=low, high=high, n=self.replicates, confidence=confidence)

    def half_width(self, confidence: float) -> float:
        """Half the width of that interval, in log units: 0.03 is ±3 %."""
        return student_t(0.5 + confidence / 2, self.degrees) * self.error


class VariancePrior(NamedTuple):
    """What a machine's comparisons say of the variance between launches."""

    variance: float
    degrees: float
    """As many degrees of freedom as this knowledge is worth."""
    groups: int
    """Comparisons it was fitted to."""


def fit_prior(records: Sequence[RatioRecord]) -> VariancePrior | None:
    """Fit the scaled inverse chi-square prior of the launches' variance by moments of its logarithm (Smyth 2004).

    Returns:
        ``None`` from fewer than five comparisons measured over launches.
    """
    samples = [r.log_ratios for r in records if r.replicate == "launch" and len(r.log_ratios) > 2]
    variances = np.array([np.var(sample, ddof=1) for sample in samples])
    degrees = np.array([len(sample) - 1.0 for sample in samples])
    known = variances > 0
    if known.sum() < _LEAST_GROUPS:
        return None
    return _fit(variances[known], degrees[known])


def _fit(variances: np.ndarray, degrees: np.ndarray) -> VariancePrior:
    from scipy.special import polygamma, psi

    logs = np.log(variances) - psi(degrees / 2) + np.log(degrees / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, degrees / 2).mean())
    prior = _MOST_PRIOR_DEGREES if excess <= 0 else min(2 * _trigamma_inverse(excess), _MOST_PRIOR_DEGREES)
    variance = math.exp(float(logs.mean()) + float(psi(prior / 2)) - math.log(prior / 2))
    return VariancePrior(variance, prior, len(variances))


def _trigamma_inverse(value: float) -> float:
    """Solve trigamma(x) = value by Newton's method on 1 / trigamma, as Smyth's appendix does."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step / x < 1e-8:
            break
    return x


def log_ratio_of(record: RatioRecord, prior: VariancePrior | None = None) -> LogRatio:
    """The mean over one run's replicates.

    Args:
        record: with at least two replicates. An interval that was widened because the run stopped when it looked
            narrow stays as much wider.
        prior: of the machine; applied to launches, not to seeds, which differ for other reasons.
    """
    data = np.asarray(record.log_ratios, dtype=float)
    own = float(data.var(ddof=1))
    degrees: float = data.size - 1
    variance = own
    if prior is not None and record.replicate == "launch":
        variance = (prior.degrees * prior.variance + degrees * own) / (prior.degrees + degrees)
        degrees += prior.degrees
    error = math.sqrt(variance / data.size) * _widened(record)
    return LogRatio(float(data.mean()), error, degrees, data.size)


def _widened(record: RatioRecord) -> float:
    stored, own = record.ratio, ratio_estimate(record.log_ratios, record.ratio.confidence)
    if None in (stored.low, stored.high, own.low, own.high) or own.low == own.high:
        return 1.0
    widths = [math.log(e.high / e.low) for e in (stored, own)]  # type: ignore[operator]
    return max(1.0, widths[0] / widths[1])


def combine_runs(runs: Sequence[LogRatio]) -> LogRatio:
    """One log-ratio from those of several runs; the one itself where there is one.

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
    return LogRatio(mean, error, degrees, sum(run.replicates for run in runs))

"""Launches into a log-ratio, launches of many comparisons into a prior, runs into one: each against a simulation."""

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from rtxbench.records import Case, RatioRecord
from rtxbench.stats import ratio_estimate, student_t
from rtxbench.verdicts.pooling import LogRatio, VariancePrior, combine_runs, fit_prior, log_ratio_of
from tests.judged_runs import SPREAD, paired

BASE = Case(workload="mlp", batch_size=32)
OTHER = Case(workload="mlp", batch_size=32, precision="mixed_bfloat16")


def record(spread: tuple[float, ...] = SPREAD, **changes: object) -> RatioRecord:
    found = paired(BASE, OTHER, 1.2, spread=spread, **changes)[-1]  # type: ignore[arg-type]
    assert isinstance(found, RatioRecord)
    return found


def test_without_a_prior_the_interval_is_the_stored_one() -> None:
    """Student's t over the launches, as the record holds it."""
    found = log_ratio_of(record()).interval(0.95)
    stored = record().ratio
    assert (found.value, found.low, found.high) == pytest.approx((stored.value, stored.low, stored.high))


def test_an_adaptive_stop_stays_as_much_wider() -> None:
    """A record widened because it stopped when it looked narrow keeps its factor of 1.1."""
    widened = replace(record(), ratio=ratio_estimate(record().log_ratios, adaptive=True))
    assert log_ratio_of(widened).error == pytest.approx(1.1 * log_ratio_of(record()).error)


def prior_of(spreads: NDArray[np.float64]) -> VariancePrior:
    found = fit_prior([record(tuple(row)) for row in spreads.tolist()])
    assert found is not None
    return found


def test_the_prior_is_found_again() -> None:
    """Groups drawn with prior degrees 5 and standard deviation 2.75 % give about these back."""
    generator = np.random.default_rng(1)
    variances = 5 * 0.0275**2 / generator.chisquare(5, 600)
    prior = prior_of(generator.normal(0, np.sqrt(variances)[:, None], (600, 5)))
    assert prior.degrees == pytest.approx(5, rel=0.35)
    assert prior.variance**0.5 == pytest.approx(0.0275, rel=0.1)


def test_moderated_intervals_are_narrower_and_hold_the_truth() -> None:
    """At three launches: half the width in the mean, and still the truth in 95 of 100, also among the narrow ones."""
    generator = np.random.default_rng(2)
    groups = 1500
    sds = np.sqrt(5 * 0.0275**2 / generator.chisquare(5, groups))
    samples = generator.normal(0, sds[:, None], (groups, 3))
    prior = prior_of(samples[:200])
    moderated = [log_ratio_of(record(tuple(row)), prior) for row in samples.tolist()]
    plain = [log_ratio_of(record(tuple(row))) for row in samples.tolist()]
    truth = np.log(1.2)
    held = np.array([abs(m.value - truth) <= m.half_width(0.95) for m in moderated])
    widths = np.array([m.half_width(0.95) for m in moderated])
    assert held.mean() == pytest.approx(0.95, abs=0.015)
    assert held[widths < np.median(widths)].mean() > 0.92
    assert widths.mean() < 0.7 * np.mean([p.half_width(0.95) for p in plain])


def test_few_groups_give_no_prior_and_seeds_take_none() -> None:
    """Four comparisons say more of themselves than of the machine; seeds differ for other reasons than launches."""
    assert fit_prior([record()] * 4) is None
    prior = VariancePrior(0.01, 5.0, 9)
    assert log_ratio_of(record(replicate="seed"), prior) == log_ratio_of(record(replicate="seed"))
    assert log_ratio_of(record(), prior).error > log_ratio_of(record()).error


def simulated_runs(runs: int, between_sd: float, experiments: int, seed: int) -> tuple[float, float]:
    """Coverage and mean half-width of several runs of five launches combined."""
    generator = np.random.default_rng(seed)
    held, widths = 0, 0.0
    for _ in range(experiments):
        shifts = generator.normal(0, between_sd, runs)
        data = generator.normal(shifts[:, None], 0.028, (runs, 5))
        means, errors = data.mean(axis=1), data.std(axis=1, ddof=1) / 5**0.5
        parts = [LogRatio(float(m), float(e), 4.0, 5) for m, e in zip(means, errors, strict=True)]
        together = combine_runs(parts)
        half = together.half_width(0.95)
        held += abs(together.value) <= half
        widths += half
    return held / experiments, widths / experiments


@pytest.mark.parametrize(("runs", "between_sd", "least"), [(2, 0.0, 0.93), (3, 0.0, 0.93), (5, 0.02, 0.92)])
def test_runs_combined_hold_the_truth(runs: int, between_sd: float, least: float) -> None:
    """With and without a session effect the combined 95 % interval covers what it says, within two points."""
    share, _ = simulated_runs(runs, between_sd, 2000, seed=runs)
    assert share >= least


def test_runs_that_differ_beyond_their_errors_count_as_runs() -> None:
    """Two precise runs 10 % apart leave one degree of freedom, however many launches they had."""
    parts = [LogRatio(value, 0.002, 4.0, 5) for value in (0.0, 0.1)]
    together = combine_runs(parts)
    assert together.degrees == 1.0
    assert together.half_width(0.95) > 0.1
    alike = combine_runs([LogRatio(0.0, 0.002, 4.0, 5)] * 2)
    assert alike.half_width(0.95) == pytest.approx(student_t(0.975, 8) * 0.002 / 2**0.5)
    assert alike.replicates == 10

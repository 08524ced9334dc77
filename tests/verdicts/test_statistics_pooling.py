"""Launches into a log-ratio and runs into one, held against simulations."""

import numpy as np
import pytest
from msgspec.structs import replace

from rtxbench.records import Case, RatioRecord
from rtxbench.stats import ratio_estimate, student_t
from rtxbench.verdicts.statistics.pooling import LogRatio, combine_runs, log_ratio_of
from tests.judged_runs import SPREAD, paired

BASE = Case(workload="mlp", batch_size=32)
OTHER = Case(workload="mlp", batch_size=32, precision="mixed_bfloat16")


def record(spread: tuple[float, ...] = SPREAD, **changes: object) -> RatioRecord:
    found = paired(BASE, OTHER, 1.2, spread=spread, **changes)[-1]  # type: ignore[arg-type]
    assert isinstance(found, RatioRecord)
    return found


def test_the_interval_is_the_stored_one() -> None:
    """Student's t over the launches, as the record holds it."""
    found = log_ratio_of(record()).interval(0.95)
    stored = record().ratio
    assert (found.value, found.low, found.high) == pytest.approx((stored.value, stored.low, stored.high))


def test_an_adaptive_stop_stays_as_much_wider() -> None:
    """A record widened because it stopped when it looked narrow keeps its factor of 1.1."""
    widened = replace(record(), ratio=ratio_estimate(record().log_ratios, adaptive=True))
    assert log_ratio_of(widened).error == pytest.approx(1.1 * log_ratio_of(record()).error)


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

"""Series of gates against a pinned reference, and where their level changes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.gate.series import Series, change_points, history_series
from rtxbench.records import SCHEMA_VERSION, Cpu, Environment, Estimate, Observation, Run
from rtxbench.results.store import LoadedRun

CPU = Cpu(name="Test CPU", physical_cores=2, logical_cores=2, memory_bytes=8 * 2**30)


def run_of(machine: str, *records: Observation) -> LoadedRun:
    """A loaded run of one machine."""
    header = Run(
        schema_version=SCHEMA_VERSION,
        run_id=f"run-{machine}",
        started_at="2026-01-01T00:00:00+00:00",
        monotonic_ns=0,
        realtime_ns=0,
        environment=Environment(machine=machine, cpu=CPU),
        command=("rtxbench", "gate"),
        profile="gate",
        rtxbench_version="0.1.0",
    )
    return LoadedRun(header, records, Path(f"{machine}.jsonl"), truncated=False)


def point(number: int, log_ratio: float, **labels: str) -> Observation:
    """The gate of commit ``number``."""
    plain = {
        "case": "train:case",
        "reference": "r" * 40,
        "commit": f"{number:040d}",
        "outcome": "pass",
        "dirty": "false",
    }
    return Observation(
        record_id=f"record-{number}-{labels}",
        run_id="run",
        topic="gate",
        metric="log_ratio",
        values=(log_ratio,),
        replicate="launch",
        finished_at=f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00+00:00",
        estimate=Estimate(value=log_ratio, low=log_ratio - 0.01, high=log_ratio + 0.01, n=5),
        labels={**plain, "session": f"session-{number}", **labels},
    )


def only_series(*runs: LoadedRun) -> Series:
    """The one series of these runs."""
    (series,) = history_series(runs)
    return series


def test_a_five_per_cent_step_is_found_at_its_commit() -> None:
    """Twenty commits of 1 % noise, then 5 % slower: one step, at that commit, of about that size."""
    generator = np.random.default_rng(1)
    values = generator.normal(0.0, 0.01, 40) + np.repeat([0.0, np.log(1.05)], 20)
    series = only_series(run_of("one", *(point(number, float(value)) for number, value in enumerate(values))))
    (step,) = series.steps
    assert abs(step.first_point - 20) <= 1
    assert step.commit == series.points[step.first_point].commit
    assert step.change_ratio == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("noise", [0.005, 0.010, 0.015])
def test_five_per_cent_is_found_within_three_commits(noise: float) -> None:
    """At 0.5 to 1.5 % noise a point, a 5 % step is found at its commit ± 3 in at least 98 of 100 series."""
    generator = np.random.default_rng(3)
    step = np.repeat([0.0, np.log(1.05)], 20)
    series = [change_points((generator.normal(0.0, noise, 40) + step).tolist()) for _ in range(100)]
    assert sum(any(abs(index - 20) <= 3 for index in found) for found in series) >= 98


def test_flat_noise_seldom_has_steps() -> None:
    """Of 200 flat series of 40 commits, at most 2 % show a change point."""
    generator = np.random.default_rng(2)
    alarms = sum(bool(change_points(generator.normal(0.0, 0.01, 40).tolist())) for _ in range(200))
    assert alarms <= 4


def test_identical_values_have_no_step() -> None:
    """A series without any noise is not torn apart by rounding errors."""
    assert change_points([0.001] * 30) == []


@given(st.lists(st.floats(-0.1, 0.1), max_size=3))
def test_short_series_have_no_step(values: list[float]) -> None:
    """Below four points nothing is said."""
    assert change_points(values) == []


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=25))
def test_change_points_lie_inside_the_series(values: list[float]) -> None:
    """Whatever the values, the indices are inside and ascending."""
    found = change_points(values)
    assert found == sorted(set(found))
    assert all(0 < index < len(values) for index in found)


def test_series_are_never_mixed() -> None:
    """Another machine, case or reference is another series."""
    runs = [
        run_of("one", point(1, 0.0), point(2, 0.0, case="train:other"), point(3, 0.0, reference="s" * 40)),
        run_of("two", point(4, 0.0)),
    ]
    assert len(history_series(runs)) == 4


def test_one_gate_in_two_files_counts_once() -> None:
    """The journal of a gate and the history line it added are the same point."""
    series = only_series(run_of("one", point(1, 0.01)), run_of("one", point(1, 0.01)))
    assert len(series.points) == 1


def test_points_come_oldest_first() -> None:
    """Files may be read in any order."""
    series = only_series(run_of("one", point(3, 0.0), point(1, 0.0), point(2, 0.0)))
    assert [p.commit[-1] for p in series.points] == ["1", "2", "3"]

"""The self-test's arithmetic: schedule, rates, replay, the stored baseline beside it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rtxbench.errors import UsageError
from rtxbench.gate import selftest
from rtxbench.gate.records import NOTHING, Planting
from rtxbench.gate.replay import selftest_rows
from rtxbench.gate.statistics.noise import REGIMES, paired_log_ratios, simulate_blocks
from rtxbench.records import GATE_SELFTEST_TOPIC, Estimate, Observation


def records(planted: float, launches: int, outcomes: tuple[str, ...] = (), seed: int = 1) -> list[Observation]:
    """A self-test's records, its launches simulated in the hostile regime."""
    logs = simulate_blocks(REGIMES[3], (launches, 1, 16), planted, np.random.default_rng(seed))
    ratios = paired_log_ratios(logs)[:, 0]
    times = np.exp(logs[:, 0])
    found = [
        observation(planted, number, "step_time_s", times[number].ravel().tolist(), float(ratios[number]), {})
        for number in range(launches)
    ]
    for number, outcome in enumerate(outcomes):
        labels = {"outcome": outcome, "launches": "3"}
        found.append(observation(planted, launches + number, "log_ratio", [0.0], 0.0, labels))
    return found


def observation(
    planted: float, number: int, metric: str, values: list[float], log_ratio: float, labels: dict[str, str]
) -> Observation:
    """One record of a self-test."""
    return Observation(
        record_id=f"{planted}-{metric}-{number}",
        run_id="run",
        topic=GATE_SELFTEST_TOPIC,
        metric=metric,
        values=tuple(values),
        replicate="block",
        finished_at=f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}+00:00",
        estimate=Estimate(value=log_ratio, low=None, high=None, n=1),
        labels={"planted_ratio": repr(planted), "rounds": "16", **labels},
    )


def test_rates_of_gates_really_run() -> None:
    """Nine regressions of ten and one inconclusive, with the exact interval."""
    (row,) = selftest_rows(records(0.05, 20, ("regression",) * 9 + ("inconclusive",)), replayed=20)
    assert row.regression is not None
    assert (row.gates, row.regression.value, row.inconclusive) == (10, 0.9, 1)
    assert row.regression.low == pytest.approx(0.555, abs=1e-3)


def test_replayed_gates_on_simulated_launches() -> None:
    """Of 300 replayed gates none alarms on unchanged code and at least 95 % find 5 %; the stored baseline alarms."""
    clean, slow = selftest_rows([*records(0.0, 80), *records(0.05, 80, seed=2)], replayed=300)
    assert clean.replayed_regression is not None
    assert slow.replayed_regression is not None
    assert clean.stored_baseline is not None
    assert clean.replayed_regression.value == 0.0
    assert slow.replayed_regression.value >= 0.95
    assert slow.replayed_regression.low is not None
    assert slow.replayed_regression.n < slow.launches / 3 + 1
    assert clean.stored_baseline.value > 0.05


def test_few_planted_launches_fall_back_to_shifted_ones() -> None:
    """With five planted launches, gates are replayed on A/A launches moved by the planted share, and it says so."""
    clean, slow = selftest_rows([*records(0.0, 60), *records(0.10, 5)], replayed=100)
    assert clean.replayed_from == "planted launches"
    assert slow.replayed_from == "A/A launches, shifted"
    assert slow.launches == 60
    assert slow.replayed_regression is not None
    assert slow.replayed_regression.value == 1.0


def test_too_few_launches_to_replay() -> None:
    """Fifteen launches cannot feed a whole gate: nothing is replayed rather than something made up."""
    (row,) = selftest_rows(records(0.0, 15), replayed=100)
    assert (row.replayed_gates, row.replayed_regression) == (0, None)


def test_schedule_mixes_levels_and_leaves_out_what_is_done() -> None:
    """Levels are spread over time; finished gates are not run again."""
    slow = Planting("step time", 0.05)
    jobs = selftest.schedule({NOTHING: 4, slow: 2}, Counter({NOTHING: 2}))
    assert Counter(jobs) == {NOTHING: 2, slow: 2}
    assert jobs[:2] in ([NOTHING, slow], [slow, NOTHING])
    assert selftest.schedule({NOTHING: 4}, Counter({NOTHING: 9})) == []


def test_replay_needs_a_selftest(tmp_path: Path) -> None:
    """A folder without one is a usage error, not an empty table."""
    with pytest.raises(UsageError, match="no self-test"):
        selftest.replay_files([tmp_path], 10)

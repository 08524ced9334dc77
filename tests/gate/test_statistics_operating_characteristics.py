"""The statistics keep their promise in every noise regime (simulation, seeded)."""

import numpy as np
import pytest

from rtxbench import stats
from rtxbench.gate.statistics import noise
from rtxbench.gate.statistics import operating_characteristics as operating


@pytest.mark.parametrize("launches", [5, 8])
def test_interval_coverage_is_nominal_in_every_regime(launches: int) -> None:
    """The 95 % interval holds the truth in 93.5–96.5 % of experiments."""
    for row in operating.coverage_table(experiments=4000, launch_counts=(launches,)):
        assert 0.935 <= row.share.value <= 0.965, row


def test_within_run_intervals_would_not_cover() -> None:
    """The launch must be the error unit: an interval over the rounds of one launch misses far more often."""
    regime = next(r for r in noise.REGIMES if r.name == "quiet")
    logs = noise.simulate_blocks(regime, (2000, 1, 16), 0.0, np.random.default_rng(1))[:, 0]
    rounds = logs[..., 1, :].mean(axis=-1) - logs[..., 0, :].mean(axis=-1)
    assert operating.coverage(rounds, 0.0).value < 0.7


def test_vectorised_pairing_equals_the_protocol() -> None:
    """The simulator's per-launch number is the one `rtxbench.stats` computes from block times."""
    logs = noise.simulate_blocks(noise.REGIMES[3], (3, 2, 16), 0.05, np.random.default_rng(2))
    fast = noise.paired_log_ratios(logs)
    for gate in range(3):
        for launch in range(2):
            times = np.exp(logs[gate, launch])
            rounds = stats.log_ratio_per_round(times[:, 0, :], times[:, 1, :])
            assert fast[gate, launch] == pytest.approx(stats.trimmed_mean(rounds))


def test_gate_never_alarms_and_finds_the_margin() -> None:
    """Per regime: no alarm in 300 unchanged gates, and 5 % slow-downs found in at least 95 % of 300."""
    for row in operating.gate_table(gates=300, slowdowns=(0.0, 0.05)):
        if row.slowdown_ratio == 0.0:
            assert row.regression.value == 0.0, row
        else:
            assert row.regression.value >= 0.95, row


def test_a_stored_baseline_cries_wolf_on_a_shared_machine() -> None:
    """In the hostile regime a 5 % limit on the stored minimum alarms on unchanged code and misses half at 5 %."""
    clean, slow = (
        operating.gate_rates(noise.REGIMES[3], slowdown, 400, np.random.default_rng(7)) for slowdown in (0.0, 0.05)
    )
    assert clean.stored_baseline_alarm.value > 0.1
    assert slow.stored_baseline_alarm.value < 0.8


def test_compare_fail_rule() -> None:
    """``min:5%`` alarms above 5 % of the stored minimum and not below."""
    assert not operating.compare_min_alarm(1.0, 1.04)
    assert operating.compare_min_alarm(1.0, 1.06)

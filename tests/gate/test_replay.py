"""The rule's promises by simulation, beside the first edition's, and a history free of the stop's selection."""

from pathlib import Path

import numpy as np
import pytest

from rtxbench.gate import selftest
from rtxbench.gate.series import unselected_mean
from rtxbench.gate.statistics.decision import replay
from rtxbench.gate.statistics.noise import LAUNCH_REGIMES, simulate_log_ratios
from rtxbench.gate.statistics.operating_characteristics import former_replay, rule_table


def test_half_the_launches_of_the_first_edition() -> None:
    """No false alarm, every 5 % slow-down found, in at most 7 launches and fewer than before, up to 2 % per process."""
    rows = {(row.regime, row.slowdown_ratio): row for row in rule_table(200, slowdowns=(0.0, 0.05))}
    for name in ("1 % per process", "2 % per process"):
        clean, slow = rows[name, 0.0], rows[name, 0.05]
        assert clean.present.regression == 0.0
        assert slow.present.regression >= max(0.99, slow.former.regression - 0.005)
        assert slow.present.launches_mean <= 7 < slow.former.launches_mean
    rough = rows["2 % per process", 0.05]
    assert rough.slow_start.regression > rough.former.regression
    assert rough.slow_start.passed < rough.former.passed


def test_false_alarms_are_those_of_the_first_edition_or_fewer() -> None:
    """In every regime, also those that break the e-value's promise, within 0.5 points (and the simulation's error)."""
    for row in rule_table(1000, slowdowns=(0.0,)):
        for rate in (row.present, row.slow_start):
            assert rate.regression <= row.former.regression + 0.005 + 2 * (row.former.regression / 1000) ** 0.5


def test_the_former_rule_is_the_one_it_is_compared_with() -> None:
    """Quiet launches passed at the third; 10 % took three and five more to confirm; noise ended at twelve."""
    quiet = [0.001, -0.001, 0.0] * 6
    assert former_replay(quiet) == ("pass", 3)
    assert former_replay([0.1 + value for value in quiet]) == ("regression", 8)
    assert former_replay([200 * value for value in quiet]) == ("inconclusive", 12)


def test_persisting_modes_persist() -> None:
    """Neighbouring launches of the persisting regime are alike, those of the i.i.d. one are not."""
    lag = {}
    for regime in LAUNCH_REGIMES[2:5:2]:
        values = simulate_log_ratios(regime, (400, 17), 0.0, np.random.default_rng(1))
        lag[regime.persistence] = float(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1])
    assert abs(lag[0.0]) < 0.1
    assert lag[0.8] > 0.5


def test_a_point_of_history_is_not_selected_by_its_gate_s_stop() -> None:
    """At a true 2 % gates stop on launches that look fast and pass: their mean is too low, the corrected one is not."""
    truth, generator = 0.02, np.random.default_rng(2)
    plain, corrected = [], []
    for row in generator.normal(truth, 0.0141, (300, 16)).tolist():
        _decision, used = replay(row)
        plain.append(float(np.mean(row[:used])))
        corrected.append(unselected_mean(row[:used], 0.05, orders=24))
    assert float(np.mean(corrected)) - float(np.mean(plain)) > 0.0004
    assert abs(float(np.mean(corrected)) - truth) < 0.0012


def test_two_self_tests_do_not_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says that it waits and for what; the lock goes with its holder."""
    import filelock

    said: list[str] = []
    path = tmp_path / "machine" / "selftest.lock"
    with selftest._alone(path, said.append):
        plain = filelock.FileLock.acquire

        def refuse(self: filelock.FileLock, *words: object, **named: object) -> object:
            if named.get("blocking") is False:
                return plain(self, *words, **named)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
        with pytest.raises(KeyboardInterrupt), selftest._alone(path, said.append):
            pass
    assert "another self-test" in said[0]
    monkeypatch.undo()
    with selftest._alone(path, said.append):
        assert len(said) == 1

"""The verdict rule under noise as found in real records, hard regimes included, beside the first edition's rule."""

import pytest

from rtxbench.verdicts.statistics.simulation import EDITIONS, VERDICT_REGIMES, VerdictRate, verdict_table

VERDICTS = 1500
TABLE = {
    (supporting.regime, supporting.rule): (supporting, refuting, {rate.truth_ratio: rate for rate in at_truths})
    for supporting, refuting, at_truths in verdict_table(VERDICTS, truths=(0.9, 1.0, 1.5))
}
FIRST, SECOND, *_ = EDITIONS
REGIMES = [regime.name for regime in VERDICT_REGIMES]
HALF_A_POINT = 0.005


def errors(regime: str, rule: str) -> tuple[float, float]:
    supporting, refuting, _ = TABLE[regime, rule]
    return supporting.supported.value, refuting.refuted.value


@pytest.mark.parametrize("regime", REGIMES)
def test_false_verdicts_are_no_more_frequent_than_the_first_editions(regime: str) -> None:
    """Within half a point and the simulation's own error, on the rule's own lines, in mild and in hard regimes."""
    for now, before in zip(errors(regime, SECOND), errors(regime, FIRST), strict=True):
        sampling = 2 * (2 * before * (1 - before) / VERDICTS) ** 0.5
        assert now <= before + HALF_A_POINT + sampling


@pytest.mark.parametrize("regime", REGIMES)
def test_equal_arms_support_at_least_one_point_one_no_more_often(regime: str) -> None:
    """A true ratio of 1, the A/A case: supported as rarely as before, and not at all but for persisting modes."""
    now, before = (TABLE[regime, rule][2][1.0].supported.value for rule in (SECOND, FIRST))
    assert now <= before + 0.02
    assert now <= 0.005 or regime == "persisting"


def right(rate: VerdictRate) -> float:
    return rate.supported.value if rate.truth_ratio > 1 else rate.refuted.value


@pytest.mark.parametrize("regime", ["records", "rough", "bimodal"])
@pytest.mark.parametrize("truth", [0.9, 1.5])
def test_what_is_clear_is_decided(regime: str, truth: float) -> None:
    """Far from the line rough evidence decides several times as often as with a cap on the width."""
    now, before = (right(TABLE[regime, rule][2][truth]) for rule in (SECOND, FIRST))
    assert now > min(2 * before, 0.94)


@pytest.mark.parametrize("regime", REGIMES)
def test_stopping_when_decided_costs_no_false_verdicts(regime: str) -> None:
    """From three to eight launches: within half a point of the first edition's, also where a mode persists."""
    for now, before in zip(errors(regime, "3 to 8 launches, until decided"), errors(regime, FIRST), strict=True):
        assert now <= before + HALF_A_POINT + 2 * (2 * before * (1 - before) / VERDICTS) ** 0.5


def test_launches_that_are_independent_keep_the_level_though_looked_at_six_times() -> None:
    """From three to eight launches until decided: 99 % at every look keeps false verdicts under 2.5 % on each side."""
    for regime in ("smooth", "records", "rough"):
        assert max(errors(regime, "3 to 8 launches, until decided")) < 0.025

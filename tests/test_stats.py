"""Tests, bounds and repetition counts of `rtxbench.stats`: known answers and properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench import stats

LOG_RATIOS = st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=20).filter(lambda v: float(np.std(v)) > 1e-6)
P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


def test_student_t_known_quantiles() -> None:
    """The quantiles are those of any printed table."""
    assert stats.student_t(0.975, 4) == pytest.approx(2.776, abs=1e-3)
    assert stats.student_t(0.999, 2) == pytest.approx(22.327, abs=1e-2)


def test_bounds_known_answer() -> None:
    """Mean 3, sd 1.5811, n 5: one-sided 95 % bounds are 3 ∓ 2.1318 · 0.70711."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert stats.lower_bound(values, 0.95) == pytest.approx(1.49256, abs=1e-4)
    assert stats.upper_bound(values, 0.95) == pytest.approx(4.50744, abs=1e-4)


@given(LOG_RATIOS, st.floats(0.6, 0.999))
def test_bounds_are_the_ends_of_the_two_sided_interval(values: list[float], confidence: float) -> None:
    """A one-sided bound at c is the end of the two-sided interval at 2c − 1."""
    both = stats.launch_estimate(values, 2 * confidence - 1)
    assert stats.lower_bound(values, confidence) == pytest.approx(both.low, abs=1e-9)
    assert stats.upper_bound(values, confidence) == pytest.approx(both.high, abs=1e-9)


def test_a_bound_needs_two_launches() -> None:
    """One launch has no error, so it has no bound."""
    with pytest.raises(ValueError, match="two launches"):
        stats.lower_bound([0.1], 0.95)


def test_holm_known_answer() -> None:
    """Holm's adjusted values of .01 .04 .03 .005 are .03 .06 .06 .02 (R: p.adjust)."""
    assert stats.holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(P_VALUES)
def test_holm_lies_between_raw_and_bonferroni(p_values: list[float]) -> None:
    """Adjusted values keep the order, are never below the raw value and never above Bonferroni's."""
    adjusted = stats.holm_adjusted(p_values)
    count = len(p_values)
    assert all(p <= q <= min(1.0, count * p) + 1e-12 for p, q in zip(p_values, adjusted, strict=True))
    ordered = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


def test_clopper_pearson_known_answers() -> None:
    """0 of 300: upper bound 1.22 %; 9 of 10: 55.5 % to 99.7 %."""
    none = stats.clopper_pearson(0, 300)
    assert (none.low, none.high) == (0.0, pytest.approx(0.01222, abs=1e-4))
    most = stats.clopper_pearson(9, 10)
    assert (most.low, most.high) == (pytest.approx(0.5550, abs=1e-3), pytest.approx(0.9975, abs=1e-3))


def test_wilson_known_answer() -> None:
    """8 of 10: 49.0 % to 94.3 % (Wilson)."""
    estimate = stats.wilson(8, 10)
    assert (estimate.low, estimate.high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))


@given(st.integers(1, 400), st.data())
def test_proportion_intervals_hold_the_point(trials: int, data: st.DataObject) -> None:
    """Both intervals lie in [0, 1] and hold the observed share, all and none included."""
    successes = data.draw(st.integers(0, trials))
    for estimate in (stats.clopper_pearson(successes, trials), stats.wilson(successes, trials)):
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0


def test_smallest_effect_is_found_with_the_stated_power() -> None:
    """An effect of so many standard deviations is significant in 95 % of experiments: no fewer, and hardly more."""
    generator = np.random.default_rng(5)
    for launches in (3, 4, 5, 6, 8, 12):
        unit = generator.normal(0.0, 1.0, launches)
        factor = math.log1p(stats.smallest_effect(unit / unit.std(ddof=1)) or 0.0)
        samples = generator.normal(factor, 1.0, (20_000, launches))
        half = stats.student_t(0.975, launches - 1) * samples.std(axis=1, ddof=1) / math.sqrt(launches)
        assert np.mean(samples.mean(axis=1) - half > 0) == pytest.approx(0.95, abs=0.006)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.floats(-3, 3))
def test_trimmed_mean_moves_with_the_data(values: list[float], shift: float) -> None:
    """Shifting every value shifts the trimmed mean, and it stays within the data."""
    centre = stats.trimmed_mean(values)
    assert min(values) - 1e-9 <= centre <= max(values) + 1e-9
    assert stats.trimmed_mean([v + shift for v in values]) == pytest.approx(centre + shift, abs=1e-9)


def test_trimmed_mean_ignores_a_fifth_of_outliers() -> None:
    """One wild value among five does not move it."""
    assert stats.trimmed_mean([1.0, 1.0, 1.0, 1.0, 1000.0]) == 1.0


@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=20))
def test_log_ratio_is_antisymmetric(pairs: list[tuple[float, float]]) -> None:
    """Exchanging the arms changes the sign and nothing else; the same arm against itself is exactly zero."""
    a = np.asarray(pairs)
    b = a[::-1] * 1.3
    assert stats.log_ratio_per_round(a, b) == pytest.approx(-stats.log_ratio_per_round(b, a))
    assert not stats.log_ratio_per_round(a, a).any()


def test_two_window_rule_sees_steps_and_ramps() -> None:
    """Flat noise is steady; a 3 % step and a slow ramp are not; too few blocks are not."""
    generator = np.random.default_rng(6)
    flat = np.exp(generator.normal(0, 0.004, 40))
    step = flat * np.repeat([1.0, 1.03], 20)
    ramp = flat * np.exp(np.linspace(0.04, 0, 40))
    assert stats.two_window_steady(flat, 20)
    assert not stats.two_window_steady(step, 20)
    assert not stats.two_window_steady(ramp, 20)
    assert not stats.two_window_steady(flat[:39], 20)


def test_kalibera_jones_known_answer() -> None:
    """Launch 100 s, round 1 s, variances 4 : 1 between rounds and launches: √(100 · 4) = 20 rounds."""
    generator = np.random.default_rng(3)
    pilot = generator.normal(0, 1, (4000, 1)) + generator.normal(0, 2, (4000, 30))
    assert stats.kalibera_jones_rounds(pilot, 100.0, 1.0) == pytest.approx(20, abs=1)


def test_kalibera_jones_is_optimal_by_search() -> None:
    """No other round count gives a smaller variance of the mean for the same total time."""
    between_rounds, between_launches, launch_s, round_s = 9.0, 1.0, 30.0, 0.5

    def variance_per_second(rounds: int) -> float:
        return (between_launches + between_rounds / rounds) * (launch_s + rounds * round_s)

    best = min(range(1, 500), key=variance_per_second)
    generator = np.random.default_rng(4)
    pilot = generator.normal(0, 1, (6000, 1)) + generator.normal(0, 3, (6000, 40))
    found = stats.kalibera_jones_rounds(pilot, launch_s, round_s)
    assert found is not None
    assert abs(found - best) <= 2


def test_kalibera_jones_without_launch_variance() -> None:
    """Where launches do not differ beyond their rounds, no finite count is best."""
    rounds = np.tile([1.0, -1.0], (3, 8))
    assert stats.kalibera_jones_rounds(rounds, 10.0, 1.0) is None


def test_kalibera_jones_refuses_a_flat_pilot() -> None:
    """A pilot without two levels says nothing about either."""
    with pytest.raises(ValueError, match="2 launches"):
        stats.kalibera_jones_rounds([[1.0, 2.0]], 1.0, 1.0)


def test_the_order_term_finds_a_planted_effect_and_narrows_the_interval() -> None:
    """The first is 1 % slower in every launch: the term finds it, and the interval loses that part of its width."""
    rng = np.random.default_rng(0)
    orders = [1, -1] * 4
    values = [0.2 - 0.01 * side + noise for side, noise in zip(orders, rng.normal(0, 0.002, 8), strict=True)]
    assert stats.order_effect(values, orders) == pytest.approx(-0.01, abs=0.002)
    plain, freed = stats.ratio_estimate(values), stats.ordered_ratio_estimate(values, orders)
    assert freed.value == pytest.approx(plain.value)
    assert math.log(freed.high / freed.low) < 0.5 * math.log(plain.high / plain.low)
    assert freed.low < math.exp(0.2) < freed.high


def test_the_order_term_waits_until_it_pays() -> None:
    """Below eight launches its degree of freedom would cost more than it gives: the estimate is the plain one."""
    values, orders = [0.1, 0.12, 0.11, 0.13], [1, -1, 1, -1]
    assert stats.order_effect(values, orders) is None
    assert stats.ordered_ratio_estimate(values, orders) == stats.ratio_estimate(values)


def test_the_order_terms_interval_covers_95_percent() -> None:
    """Eight launches with an effect of place: 95 % of 4,000 intervals hold the truth, within 1.5 points."""
    rng = np.random.default_rng(1)
    orders = [1, -1] * 4
    held = 0
    for _ in range(4000):
        values = (0.05 + 0.01 * np.array(orders) + rng.normal(0, 0.015, 8)).tolist()
        found = stats.ordered_ratio_estimate(values, orders)
        held += found.low <= math.exp(0.05) <= found.high
    assert abs(held / 4000 - 0.95) <= 0.015

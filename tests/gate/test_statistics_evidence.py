"""The e-process: it equals the integral that defines it, and holds at whatever launch one looks."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from rtxbench.gate.statistics.decision import DEFAULT_MARGINS
from rtxbench.gate.statistics.evidence import anytime_estimate, e_bh, log_e_value, look
from rtxbench.gate.statistics.operating_characteristics import pool_table


@pytest.mark.parametrize(("t", "launches"), [(-2.0, 4), (0.0, 4), (3.0, 6), (6.0, 4)])
def test_the_table_is_the_integral(t: float, launches: int) -> None:
    """Ln e equals the half-Cauchy mixture of noncentral t densities, integrated by another library."""

    def integrand(effect: float) -> float:
        density = stats.nct.pdf(t, launches - 1, effect * math.sqrt(launches)) if effect > 1e-9 else None
        null = stats.t.pdf(t, launches - 1)
        return float((null if density is None else density) / null * 2 / math.pi / (1 + effect**2))

    value, _error = integrate.quad(integrand, 0.0, 30.0, limit=200)
    assert log_e_value(t, launches) == pytest.approx(math.log(value), abs=0.03)


def test_unchanged_code_reaches_evidence_100_in_at_most_one_of_a_hundred_gates() -> None:
    """Looked at after each of 16 launches, the promise holds for the whole gate (1,500 simulated, order effect too)."""
    generator = np.random.default_rng(5)
    turns = np.where(np.arange(16) % 2 == 0, 0.005, -0.005)
    launches = (generator.normal(0.0, 0.014, (1500, 16)) + turns).tolist()
    alarms = sum(any(look(row[:n], 0.05).slower >= math.log(100) for n in range(3, 17)) for row in launches)
    assert alarms / len(launches) <= 0.01


def test_the_order_of_the_arms_leaves_the_estimate() -> None:
    """An odd launch tilts the plain mean by a fifth of an order effect of 1 %; with the order term it tilts less."""
    launches = [0.005, -0.005, 0.005, -0.005, 0.005]
    plain = sum(launches) / 5
    assert abs(look(launches, DEFAULT_MARGINS["step time"]).estimate) < 0.6 * plain


def test_the_interval_holds_at_the_launch_where_it_looks_worst() -> None:
    """Whichever launch one stops at, the 90 % interval holds the truth in at least 90 % of gates."""
    generator = np.random.default_rng(6)
    held = 0
    for row in generator.normal(0.02, 0.014, (300, 12)).tolist():
        bounds = [anytime_estimate(row[:n]) for n in range(3, 13)]
        held += all(one.low is not None and one.high is not None and one.low <= 0.02 <= one.high for one in bounds)
    assert held / 300 >= 0.9


def test_e_bh_shares_the_bar_among_those_that_pass() -> None:
    """One of four needs four times the evidence; four that agree need no more than one alone."""
    assert e_bh([math.log(200), 0.0, 0.0, 0.0], 100) == [False] * 4
    assert e_bh([math.log(401), 0.0, 0.0, 0.0], 100) == [True, False, False, False]
    assert e_bh([math.log(101)] * 4, 100) == [True] * 4
    assert e_bh([], 100) == []


def test_equal_counters_are_not_infinitely_sure() -> None:
    """Three readings that agree to the byte give a finite interval."""
    shown = anytime_estimate((0.01, 0.01, 0.01))
    assert shown.low is not None
    assert shown.high is not None
    assert shown.high - shown.low > 1e-4


def test_machines_of_a_pool_weigh_less_than_as_many_launches_of_one() -> None:
    """Eight launches over two machines are worth four: 8 ÷ (1 + 4 · 0.25), so that the interval is wider."""
    launches = [0.01, 0.012, 0.009, 0.011, 0.01, 0.012, 0.009, 0.011]
    alone, pooled = look(launches, 0.05), look(launches, 0.05, ["a", "a", "b", "b"] * 2)
    assert pooled.estimate == pytest.approx(alone.estimate)
    assert pooled.slower < alone.slower
    one = anytime_estimate(launches)
    both = anytime_estimate(launches, machines=["a", "a", "b", "b"] * 2)
    assert both.high is not None
    assert one.high is not None
    assert both.high > one.high


def test_a_pool_s_machines_raise_no_false_alarm() -> None:
    """Machines whose effect is as large as a launch's scatter: at most one alarm in a hundred, and 5 % is found."""
    rows = pool_table(300, pools=(4,), deviations=(0.01,))
    unchanged, slower = (row.random_effect for row in rows)
    assert unchanged.regression <= 0.01
    assert slower.regression >= 0.95

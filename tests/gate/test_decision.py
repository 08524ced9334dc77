"""The gate's decision is pure: every outcome follows from log-ratios alone."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.gate import decision as gate

QUIET = (-0.001, 0.001)
LAUNCHES = st.lists(st.floats(-0.3, 0.3), min_size=17, max_size=17)


def around(log_ratio: float, count: int, spread: float = 0.002) -> tuple[float, ...]:
    """Launches that alternate about a mean."""
    return tuple(log_ratio + spread * sign for sign, _ in zip(itertools.cycle((-1, 0, 1)), range(count), strict=False))


def test_an_unchanged_commit_passes_at_the_first_look() -> None:
    """Three quiet launches about zero are enough to pass."""
    decision = gate.decide(gate.CaseState(screened=around(0.0, 3)))
    assert (decision.outcome, decision.reason) == ("pass", "upper-bound-below-margin")


def test_nothing_is_decided_before_three_launches() -> None:
    """Two launches, however clear, only ask for a third."""
    decision = gate.decide(gate.CaseState(screened=around(0.5, 2)))
    assert decision == gate.Decision("screen", 1, None, "more-launches-needed")


def test_a_bad_screen_fails_nobody_by_itself() -> None:
    """A clear 10 % slow-down in the screen asks for five fresh launches."""
    decision = gate.decide(gate.CaseState(screened=around(0.1, 3)))
    assert (decision.stage, decision.launches_wanted, decision.outcome) == ("confirm", 5, None)


def test_confirmed_slowdown_is_a_regression() -> None:
    """The suspicion and five fresh launches that agree are a regression."""
    decision = gate.decide(gate.CaseState(screened=around(0.1, 3), confirmed=around(0.1, 5)))
    assert (decision.outcome, decision.reason) == ("regression", "confirmed-on-fresh-launches")


def test_unconfirmed_suspicion_passes_when_the_fresh_launches_are_clean() -> None:
    """Fresh launches about zero clear a suspected commit."""
    decision = gate.decide(gate.CaseState(screened=around(0.1, 3), confirmed=around(0.0, 5)))
    assert (decision.outcome, decision.reason) == ("pass", "not-confirmed-on-fresh-launches")


def test_unconfirmed_and_unclear_is_inconclusive() -> None:
    """Fresh launches too noisy to say either way give no verdict."""
    decision = gate.decide(gate.CaseState(screened=around(0.1, 3), confirmed=around(0.03, 5, spread=0.1)))
    assert (decision.outcome, decision.reason) == ("inconclusive", "suspected-but-not-confirmed")


def test_noise_beyond_the_margin_is_inconclusive_after_twelve() -> None:
    """Twelve launches that scatter by 20 % neither pass nor fail."""
    decision = gate.decide(gate.CaseState(screened=around(0.0, 12, spread=0.2)))
    assert (decision.outcome, decision.reason) == ("inconclusive", "noise-too-large-for-margin")


def test_a_faster_candidate_passes() -> None:
    """The gate is one-sided: an improvement is never a regression."""
    assert gate.replay(around(-0.3, 17))[0].outcome == "pass"


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.10, 0.20])
def test_thresholds_scale_with_the_margin(margin: float) -> None:
    """A slow-down of a fifth of the margin passes, one of the margin itself fails, at every margin."""
    spread = margin / 200
    assert gate.replay(around(math.log1p(margin / 5), 17, spread), margin)[0].outcome == "pass"
    assert gate.replay(around(math.log1p(margin), 17, spread), margin)[0].outcome == "regression"


def test_more_cases_ask_for_more_evidence() -> None:
    """A confirmation that stands alone need not stand in a family of forty."""
    state = gate.CaseState(screened=around(0.1, 3), confirmed=(0.02, 0.04, 0.01, 0.07, 0.0))
    assert gate.decide(state, family=1).outcome == "regression"
    assert gate.decide(state, family=40).outcome == "inconclusive"


@given(LAUNCHES)
def test_every_gate_ends_within_seventeen_launches(log_ratios: list[float]) -> None:
    """Whatever is measured, twelve launches and five fresh ones always suffice."""
    decision, used = gate.replay(log_ratios)
    assert decision.stage == "done"
    assert decision.outcome in gate.EXIT_CODES
    assert used <= 17


@given(LAUNCHES)
def test_a_regression_always_has_fresh_evidence(log_ratios: list[float]) -> None:
    """No regression without a confirmation whose mean is at least half the margin."""
    decision, used = gate.replay(log_ratios)
    if decision.outcome == "regression":
        fresh = log_ratios[used - 5 : used]
        assert sum(fresh) / 5 >= math.log1p(0.025) - 1e-12


def test_replay_says_when_launches_run_out() -> None:
    """Too few recorded launches are an error, not a verdict."""
    with pytest.raises(ValueError, match="wants 5 more launches, 0 are left"):
        gate.replay(around(0.1, 3))


def test_several_cases_make_one_outcome() -> None:
    """The worst case speaks for all; an empty list passes nothing worse than itself."""
    assert gate.combined_outcome(["pass", "inconclusive", "regression"]) == "regression"
    assert gate.combined_outcome(["pass", "inconclusive"]) == "inconclusive"
    assert gate.combined_outcome(["pass"]) == "pass"


def test_exit_codes_are_the_documented_ones() -> None:
    """0 pass, 1 regression, 6 inconclusive; 2 to 5 belong to errors."""
    assert gate.EXIT_CODES == {"pass": 0, "regression": 1, "inconclusive": 6}


def test_the_documented_constants_are_the_codes() -> None:
    """docs/method.md states the looks, levels, launches and exit codes that the gate really has."""
    page = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")
    looks = ", ".join(str(look.launches) for look in gate.LOOKS)
    alphas = ", ".join(f"{look.alpha:.3f}" for look in gate.LOOKS)
    assert f"α = {alphas} at J = {looks}" in page
    assert f"confirm on {gate.CONFIRM_LAUNCHES} fresh launches" in page
    assert f"m is {gate.DEFAULT_MARGIN_RATIO:.0%}".replace("%", " %") in page
    for outcome, code in gate.EXIT_CODES.items():
        assert f"{outcome}  (exit {code})" in page

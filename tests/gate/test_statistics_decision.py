"""The gate's decision is pure: every outcome follows from log-ratios alone."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtxbench.gate.statistics import decision as gate

LAUNCHES = st.lists(st.floats(-0.3, 0.3), min_size=16, max_size=16)


def around(log_ratio: float, count: int = 16, spread: float = 0.002) -> tuple[float, ...]:
    """Launches that alternate about a mean."""
    return tuple(log_ratio + spread * sign for sign, _ in zip(itertools.cycle((-1, 0, 1)), range(count), strict=False))


def test_an_unchanged_commit_passes_at_the_first_look() -> None:
    """Three quiet launches about zero are enough to pass."""
    decision = gate.decide(around(0.0, 3))
    assert (decision.outcome, decision.reason) == ("pass", "margin-excluded")


def test_nothing_is_decided_before_three_launches() -> None:
    """Two launches, however clear, only ask for a third."""
    assert gate.decide(around(0.5, 2)).outcome is None
    assert gate.decide(()).outcome is None


def test_a_clear_slow_down_needs_no_confirmation() -> None:
    """The first edition took at least eight launches; of what no state of the machine explains three suffice."""
    for log_ratio, launches in ((0.1, gate.LAUNCHES_TO_FAIL), (0.3, 3)):
        decision, used = gate.replay(around(log_ratio))
        assert (decision.outcome, decision.reason) == ("regression", "evidence-of-slow-down")
        assert used == launches


def test_launches_at_two_speeds_do_not_fail() -> None:
    """Unchanged code that is first in one state and then in a slower one ends open, with the cure as its reason."""
    two_states = (0.0, 0.001, *around(0.15, 14))
    decision, used = gate.replay(two_states)
    assert (decision.outcome, decision.reason, used) == ("inconclusive", "launches-at-two-speeds", 16)
    assert gate.replay([0.5 + value for value in two_states])[0].outcome == "regression"


def test_noise_beyond_the_margin_is_inconclusive_at_the_end() -> None:
    """Sixteen launches that scatter by 20 % neither pass nor fail."""
    decision, used = gate.replay(around(0.0, spread=0.2))
    assert (decision.outcome, decision.reason, used) == ("inconclusive", "noise-too-large-for-margin", 16)


def test_a_faster_candidate_passes() -> None:
    """The gate is one-sided: an improvement is never a regression."""
    assert gate.replay(around(-0.3))[0].outcome == "pass"


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.10, 0.20])
def test_thresholds_scale_with_the_margin(margin: float) -> None:
    """A slow-down of a fifth of the margin passes, one of the margin itself fails, at every margin."""
    spread = margin / 200
    assert gate.replay(around(math.log1p(margin / 5), spread=spread), margin)[0].outcome == "pass"
    assert gate.replay(around(math.log1p(margin), spread=spread), margin)[0].outcome == "regression"


def cases(count: int, slow: tuple[float, ...]) -> dict[str, gate.CaseDecision]:
    """The decisions of a family in which one case is slow and the others are not measured further."""
    values = {f"case {number}": {"step time": around(0.0, 4)} for number in range(count - 1)} | {
        "slow": {"step time": slow}
    }
    return gate.decide_cases(values, {key: {"step time": 0.05} for key in values})


def test_more_cases_ask_for_more_evidence_and_never_pass_what_they_cannot_fail() -> None:
    """A slow-down that fails alone stays open in a family of forty; the first edition let such a case pass."""
    slow = (0.028, 0.045, 0.024, 0.052, 0.03, 0.038)
    assert gate.decide(slow).outcome == "regression"
    assert cases(1, slow)["slow"].outcome == "regression"
    assert cases(40, slow)["slow"].outcome is None


def test_every_quantity_must_pass_and_one_that_grows_fails() -> None:
    """Step time passes at once; five per cent more memory fails the case, and an open first step keeps it open."""
    margins = {"a": dict(gate.DEFAULT_MARGINS)}
    quiet = {"step time": around(0.0, 4)}

    def decided(**more: tuple[float, ...]) -> gate.CaseDecision:
        others = {name.replace("_", " "): values for name, values in more.items()}
        return gate.decide_cases({"a": quiet | others}, margins)["a"]

    memory = decided(peak_memory=around(math.log(1.05), 4, 1e-4))
    assert memory.outcome == "regression"
    assert memory.quantities["peak memory"].outcome == "regression"
    assert memory.quantities["step time"].outcome == "pass"
    assert decided(peak_memory=around(math.log(1.01), 4, 1e-4)).outcome == "pass"
    assert decided(first_step=(0.5, -0.5, 0.2, 0.0)).outcome is None


@settings(deadline=None)
@given(LAUNCHES)
def test_every_gate_ends_within_sixteen_launches(log_ratios: list[float]) -> None:
    """Whatever is measured, sixteen launches suffice, and a regression is at least 0.6 of the margin."""
    decision, used = gate.replay(log_ratios)
    assert decision.outcome in gate.EXIT_CODES
    assert gate.LAUNCHES_LEAST <= used <= gate.LAUNCHES_MOST
    look = decision.quantities["step time"].look
    assert look is not None
    if decision.outcome == "regression":
        assert look.estimate >= math.log1p(0.05 * gate.SLOW_SHARE)
        assert used >= gate.LAUNCHES_TO_FAIL or look.estimate >= gate.MODE_LOG_RATIO


def test_replay_says_when_launches_run_out() -> None:
    """Too few recorded launches are an error, not a verdict."""
    with pytest.raises(ValueError, match="undecided after all 4"):
        gate.replay((0.1, -0.2, 0.1, 0.0))


def test_several_cases_make_one_outcome() -> None:
    """The worst case speaks for all; an empty list passes nothing worse than itself."""
    assert gate.combined_outcome(["pass", "inconclusive", "regression"]) == "regression"
    assert gate.combined_outcome(["pass", "inconclusive"]) == "inconclusive"
    assert gate.combined_outcome(["pass"]) == "pass"


def test_exit_codes_are_the_documented_ones() -> None:
    """0 pass, 1 regression, 6 inconclusive; 2 to 5 belong to errors."""
    assert gate.EXIT_CODES == {"pass": 0, "regression": 1, "inconclusive": 6}


def test_the_documented_constants_are_the_codes() -> None:
    """docs/method.md states the evidence, launches, margins and exit codes that the gate really has."""
    page = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")
    assert f"e(slower) ≥ {gate.FAIL_EVIDENCE:.0f}" in page
    assert f"e(within the margin) ≥ {gate.PASS_EVIDENCE:.0f}" in page
    assert f"from launch {gate.LAUNCHES_LEAST} to launch {gate.LAUNCHES_MOST}" in page
    for name, margin in gate.DEFAULT_MARGINS.items():
        assert f"{name} {margin:.0%}".replace("%", " %") in page
    for outcome, code in gate.EXIT_CODES.items():
        assert f"{outcome}  (exit {code})" in page

"""The session around the decision: turns, budget, invalid launches. The measuring itself is faked here."""

import itertools
from collections.abc import Callable

import pytest

from rtxbench.errors import MeasurementError
from rtxbench.gate.session import CaseResult, GateLaunch, Settings, run_session
from rtxbench.records import Flag, Launch


def blocks(step_ns: int) -> Launch:
    """Two rounds of two blocks of ten steps."""
    windows = tuple((start, start + 10 * step_ns) for start in range(0, 4 * 10**9, 10**9))
    return Launch(
        steps_per_block=10,
        blocks_ns=windows,
        warmup_ok=True,
        warmup_s=0.1,
        build_s=0.1,
        first_step_s=0.1,
        solo_ratio=1.0,
    )


def measured(log_ratio: float) -> Callable[[str, int], tuple[float, Launch, Launch]]:
    """Launches about a mean, as the real thing returns them."""
    spread = itertools.cycle((-0.001, 0.0, 0.001))
    return lambda _case, _number: (log_ratio + next(spread), blocks(1000), blocks(1000))


def outcomes(results: list[CaseResult]) -> list[tuple[str, str]]:
    """(outcome, reason) of each case."""
    return [(result.outcome, result.reason) for result in results]


def test_cases_take_turns() -> None:
    """Launch by launch, so that a drift of the machine meets all cases alike."""
    seen: list[str] = []
    settings = Settings(cases=("a:f", "b:f"))
    results = run_session(settings, measured(0.0), lambda launch, _decision: seen.append(launch.case))
    assert seen == ["a:f", "b:f"] * 3
    assert outcomes(results) == [("pass", "upper-bound-below-margin")] * 2


def test_a_regression_takes_a_screen_and_five_fresh_launches() -> None:
    """Three launches raise the suspicion, five others confirm it."""
    (result,) = run_session(Settings(cases=("a:f",)), measured(0.1))
    assert result.outcome == "regression"
    assert [launch.stage for launch in result.launches] == ["screen"] * 3 + ["confirm"] * 5
    assert (len(result.state.screened), len(result.state.confirmed)) == (3, 5)


def test_budget_counts_the_next_launch() -> None:
    """A launch that would not fit is not started: at 100 s each, 250 s are two launches."""
    clock = itertools.count(0.0, 50.0)
    (result,) = run_session(Settings(cases=("a:f",), budget_s=250.0), measured(0.0), clock=lambda: next(clock))
    assert (result.outcome, result.reason) == ("inconclusive", "budget-spent")
    assert 1 <= len(result.launches) <= 2


def test_an_invalid_launch_is_measured_again() -> None:
    """Two invalid attempts are followed by a valid one; the flags of the valid one are kept."""
    verdicts = iter(["invalid", "invalid", "warn"] + ["warn"] * 9)

    def watch(_launch: GateLaunch) -> tuple[Flag, ...]:
        severity = next(verdicts)
        return (Flag(code="gpu-lost", severity="invalid" if severity == "invalid" else "warn", detail="x"),)

    (result,) = run_session(Settings(cases=("a:f",)), measured(0.0), watch=watch)
    assert len(result.launches) == 3
    assert {flag.severity for launch in result.launches for flag in launch.flags} == {"warn"}


def test_an_environment_that_stays_invalid_is_an_error() -> None:
    """Three invalid attempts end the gate with the reason."""
    invalid = (Flag(code="gpu-lost", severity="invalid", detail="the GPU fell off the bus"),)
    with pytest.raises(MeasurementError, match="invalid three times: the GPU fell off the bus"):
        run_session(Settings(cases=("a:f",)), measured(0.0), watch=lambda _launch: invalid)

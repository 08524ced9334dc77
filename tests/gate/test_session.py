"""The session around the decision: turns, budget, invalid launches. The measuring itself is faked here."""

import itertools
from collections.abc import Callable

import msgspec
import pytest

from rtxbench.errors import MeasurementError
from rtxbench.gate.session import CaseResult, GateLaunch, ProcessPair, Settings, run_session
from rtxbench.gate.statistics.decision import LAUNCHES_TO_FAIL
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
        first_step_s=0.01,
        solo_ratio=1.0,
    )


def measured(log_ratio: float) -> Callable[[str, int], list[ProcessPair]]:
    """Launches about a mean, as the real thing returns them."""
    spread = itertools.cycle((-0.001, 0.0, 0.001))
    return lambda _case, _number: [ProcessPair(log_ratio + next(spread), blocks(1000), blocks(1000))]


def outcomes(results: list[CaseResult]) -> list[tuple[str, str]]:
    """(outcome, reason) of each case."""
    return [(result.outcome, result.reason) for result in results]


def test_cases_take_turns() -> None:
    """Launch by launch, so that a drift of the machine meets all cases alike."""
    seen: list[str] = []
    settings = Settings(cases=("a:f", "b:f"))
    results = run_session(settings, measured(0.0), lambda launch, _decision: seen.append(launch.case))
    assert seen == ["a:f", "b:f"] * 3
    assert outcomes(results) == [("pass", "margin-excluded")] * 2


def test_a_regression_ends_as_soon_as_the_evidence_suffices() -> None:
    """Thirty per cent in quiet launches takes three or four; ten, which a state could explain, the least to fail."""
    for log_ratio, least, most in ((0.3, 3, 4), (0.1, LAUNCHES_TO_FAIL, LAUNCHES_TO_FAIL)):
        (result,) = run_session(Settings(cases=("a:f",)), measured(log_ratio))
        assert result.outcome == "regression"
        assert least <= len(result.launches) <= most


def test_a_launch_is_what_its_pairs_of_processes_agree_on() -> None:
    """One pair in six that ran in another state of the machine does not move the launch."""
    pairs = tuple(ProcessPair(value, blocks(1000), blocks(1000)) for value in (0.01, 0.0, -0.01, 0.0, 0.01, 1.0))
    assert GateLaunch("a:f", 1, pairs).log_ratio == pytest.approx(0.005)


def grown(**changes: float) -> Callable[[str, int], list[ProcessPair]]:
    """Launches of equal speed whose candidate has other figures than the baseline's 64 MiB and 0.2 s."""
    plain = {"peak_memory_bytes": 64 * 2**20, "first_step_s": 0.2}

    def figures(number: int, factors: dict[str, float]) -> Launch:
        tilt = 1.0 + 1e-3 * (number % 3)
        scaled = {name: value * factors.get(name, 1.0) * tilt for name, value in plain.items()}
        return msgspec.structs.replace(
            blocks(1000), peak_memory_bytes=int(scaled["peak_memory_bytes"]), first_step_s=scaled["first_step_s"]
        )

    spread = itertools.cycle((-0.001, 0.0, 0.001))
    return lambda _case, number: [ProcessPair(next(spread), figures(number, {}), figures(number, changes))]


@pytest.mark.parametrize(
    ("changes", "outcome", "culprit"),
    [
        ({}, "pass", None),
        ({"peak_memory_bytes": 1.05}, "regression", "peak memory"),
        ({"peak_memory_bytes": 1.01}, "pass", None),
        ({"first_step_s": 1.5}, "regression", "first step"),
        ({"first_step_s": 1.1}, "pass", None),
        ({"peak_memory_bytes": 0.5, "first_step_s": 0.5}, "pass", None),
    ],
)
def test_memory_and_first_step_are_gated_beside_step_time(
    changes: dict[str, float], outcome: str, culprit: str | None
) -> None:
    """Five per cent more memory or half as much again of compiling fails a commit whose step is as fast as ever."""
    (result,) = run_session(Settings(cases=("a:f",)), grown(**changes))
    assert result.outcome == outcome
    failing = [name for name, one in result.decision.quantities.items() if one.outcome == "regression"]
    assert failing == ([culprit] if culprit else [])


def test_a_case_may_have_margins_of_its_own() -> None:
    """Ten per cent more memory passes in the case that may grow and fails in the other."""
    settings = Settings(cases=("a:f", "b:f"), case_margins={"b:f": {"peak memory": 0.3}})
    results = run_session(settings, grown(peak_memory_bytes=1.1))
    assert [result.outcome for result in results] == ["regression", "pass"]


def test_small_figures_are_the_interpreter_s_own() -> None:
    """A first step of 10 ms and no memory to speak of are not gated: their noise would make every gate inconclusive."""
    (result,) = run_session(Settings(cases=("a:f",)), measured(0.0))
    assert set(result.log_ratios) == {"step time"}


def test_one_slow_first_step_among_many_is_no_reason_to_gate_it() -> None:
    """Of five pairs with a first step of 10 ms one that took 80 ms does not make it the step's own; three do."""

    def pairs(slow: int) -> tuple[ProcessPair, ...]:
        late = msgspec.structs.replace(blocks(1000), first_step_s=0.08)
        return tuple(ProcessPair(0.0, blocks(1000), late if turn < slow else blocks(1000)) for turn in range(5))

    assert GateLaunch("a:f", 1, pairs(1)).gated == {"step time"}
    assert GateLaunch("a:f", 1, pairs(3)).gated == {"step time", "first step"}


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

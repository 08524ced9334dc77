"""One gate session: launches of both arms, one after another, until every case is decided or the budget is spent."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.gate.decision import CaseState, Decision, GateOutcome, Stage, decide
from rtxbench.gate.worker import FOREIGN_ROOT
from rtxbench.lookup import named
from rtxbench.measure.arms import Arm
from rtxbench.measure.paired import measure_pairing
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.records import Case, Flag, Launch
from rtxbench.workers.process import WorkerSpec

__all__ = [
    "GATE_PROFILES",
    "ArmSource",
    "CaseResult",
    "GateLaunch",
    "Settings",
    "gate_profile",
    "measure_launch",
    "run_session",
    "step_times_s",
]

_WORKER_FILE: Final = Path(__file__).with_name("worker.py")


def _profile(name: str, rounds: int, block_s: float, warm_up: WarmUpRule) -> Profile:
    return Profile(
        name=f"gate-{name}",
        launches_min=1,
        launches_max=1,  # the gate's decision asks for launches one by one
        rounds=rounds,
        block_s=block_s,
        warm_up=warm_up,
        group_budget_s=float("inf"),
    )


GATE_PROFILES: Final[dict[str, Profile]] = {
    # The protocol's own lengths. A GPU's clocks and temperature need windows of 5 s to settle.
    "standard": _profile("standard", 16, 0.25, WarmUpRule(window_blocks=20, block_s=0.05, cap_s=6.0)),
    "gpu": _profile("gpu", 16, 0.25, WarmUpRule(window_blocks=20, block_s=0.25, cap_s=60.0)),
    # A fifth of the time for a wider interval: more launches end inconclusive, none more in a false alarm.
    "quick": _profile("quick", 8, 0.1, WarmUpRule(window_blocks=10, block_s=0.02, cap_s=2.0)),
    # Proves the path in tests; its blocks are too short for any claim.
    "smoke": _profile("smoke", 4, 0.02, WarmUpRule(window_blocks=3, block_s=0.005, cap_s=0.3)),
}
"""Lengths of one launch by name; the decision's constants are the same in all of them."""


def gate_profile(name: str) -> Profile:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    return named(GATE_PROFILES, name, "gate profile")


class ArmSource(NamedTuple):
    """Where one arm's code and interpreter are."""

    python: str
    root: Path
    search_path: tuple[Path, ...]


class Settings(NamedTuple):
    """What is gated and how strictly."""

    cases: tuple[str, ...]
    """``module:function`` each."""
    margin_ratio: float = 0.05
    budget_s: float = 600.0
    profile: Profile = GATE_PROFILES["standard"]
    planted_ratio: float = 0.0
    """Slow-down planted in the candidate by step duplication; for `rtxbench selftest gate`."""


class GateLaunch(NamedTuple):
    """One finished launch of one case."""

    case: str
    stage: Stage
    number: int
    """From 1, within the case."""
    log_ratio: float
    """ln(candidate ÷ baseline) of step time; above zero the candidate is slower."""
    baseline: Launch
    candidate: Launch
    flags: tuple[Flag, ...] = ()


class CaseResult(NamedTuple):
    """What became of one case."""

    case: str
    outcome: GateOutcome
    reason: str
    state: CaseState
    launches: tuple[GateLaunch, ...]


LaunchDone = Callable[[GateLaunch, Decision], None]
Watch = Callable[[GateLaunch], tuple[Flag, ...]]
MeasureLaunch = Callable[[str, int], tuple[float, Launch, Launch]]


def step_times_s(launch: Launch) -> NDArray[np.float64]:
    """Seconds per step of each block, shape (rounds, 2)."""
    blocks_ns = np.asarray(launch.blocks_ns, dtype=np.float64)
    return np.asarray((blocks_ns[:, 1] - blocks_ns[:, 0]).reshape(-1, 2) / 1e9 / launch.steps_per_block)


def measure_launch(
    baseline: ArmSource, candidate: ArmSource, settings: Settings, case: str, number: int
) -> tuple[float, Launch, Launch]:
    """Measure one case once, in fresh workers of both arms.

    Returns:
        The launch's log-ratio of step time, the baseline's blocks and the candidate's.

    Raises:
        MeasurementError: an arm does not start, import, answer or return a callable; the message names the arm.
        KeyboardInterrupt: Ctrl-C; both workers have ended.
    """
    arms = [
        _arm("baseline", baseline, candidate, case, settings),
        _arm("candidate", candidate, baseline, case, settings),
    ]
    pairing = measure_pairing(arms, settings.profile, seed=number)
    if pairing.interrupted:
        raise KeyboardInterrupt
    for result in pairing.results:
        if result.failure is not None:
            raise _named(result.failure, result.arm.key, f"{case}, launch {number}")
    first, second = (result.launches[0] for result in pairing.results)
    return pairing.log_ratios["candidate"][0], first, second


def run_session(
    settings: Settings,
    measure: MeasureLaunch,
    launch_done: LaunchDone = lambda _launch, _decision: None,
    watch: Watch = lambda _launch: (),
    clock: Callable[[], float] = time.monotonic,
) -> list[CaseResult]:
    """Measure the cases in turn, a launch each, until all are decided.

    Args:
        settings: cases, margin, budget.
        measure: (case, launch number) → log-ratio and both launches.
        launch_done: told of each finished launch and what follows from it.
        watch: the environment's flags of a launch; an invalid one is measured again, twice at most.
        clock: seconds.

    Raises:
        MeasurementError: an arm failed, or the environment stayed invalid.
    """
    began_s = clock()
    states = dict.fromkeys(settings.cases, CaseState())
    launches: dict[str, list[GateLaunch]] = {case: [] for case in settings.cases}
    results: dict[str, CaseResult] = {}
    longest_s = 0.0
    while pending := [case for case in settings.cases if case not in results]:
        for case in pending:
            decision = decide(states[case], settings.margin_ratio, len(settings.cases))
            out_of_time = clock() - began_s + longest_s > settings.budget_s
            if decision.outcome is not None or out_of_time:
                results[case] = _result(case, decision, states[case], launches[case])
                continue
            started_s = clock()
            launch = _valid_launch(case, decision.stage, len(launches[case]) + 1, measure, watch)
            longest_s = max(longest_s, clock() - started_s)
            launches[case].append(launch)
            states[case] = states[case].extended(decision.stage, (launch.log_ratio,))
            launch_done(launch, decide(states[case], settings.margin_ratio, len(settings.cases)))
    return [results[case] for case in settings.cases]


def _arm(role: str, source: ArmSource, other: ArmSource, case: str, settings: Settings) -> Arm:
    environment = {
        # Only the arm's own tree: the caller's PYTHONPATH could put the other arm's code in its place.
        "PYTHONPATH": os.pathsep.join(map(str, source.search_path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        FOREIGN_ROOT: "" if source.root == other.root else str(other.root),
        # Both arms hold the device at the same time, so neither may take all of its memory.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    return Arm(
        case=Case(workload=case, batch_size=1, engine="python"),
        spec=WorkerSpec("python", source.python, environment, source.root, ("-u", str(_WORKER_FILE))),
        name=role,
        isolated=True,
        planted_slowdown_ratio=settings.planted_ratio if role == "candidate" else 0.0,
        steps_unit=round(1 / settings.planted_ratio) if settings.planted_ratio else 1,
    )


def _valid_launch(case: str, stage: Stage, number: int, measure: MeasureLaunch, watch: Watch) -> GateLaunch:
    """A launch whose environment was valid, tried three times."""
    flags: tuple[Flag, ...] = ()
    for _attempt in range(3):
        log_ratio, baseline, candidate = measure(case, number)
        launch = GateLaunch(case, stage, number, log_ratio, baseline, candidate)
        flags = watch(launch)
        if not any(flag.severity == "invalid" for flag in flags):
            return launch._replace(flags=flags)
    reasons = "; ".join(flag.detail for flag in flags if flag.severity == "invalid")
    raise MeasurementError(
        f"{case}: launch {number} was invalid three times: {reasons}.",
        next_step="Free the machine of what disturbs it, then gate again.",
    )


def _result(case: str, decision: Decision, state: CaseState, launches: Sequence[GateLaunch]) -> CaseResult:
    if decision.outcome is None:
        return CaseResult(case, "inconclusive", "budget-spent", state, tuple(launches))
    return CaseResult(case, decision.outcome, decision.reason, state, tuple(launches))


def _named(error: RtxbenchError, role: str, where: str) -> RtxbenchError:
    absent = role == "baseline" and ("ModuleNotFoundError" in error.message or "has no attribute" in error.message)
    cure = "A new case can be gated once the baseline has it too; leave it out until then." if absent else ""
    return type(error)(f"{role}: {where}: {error.message}", next_step=cure or error.next_step)

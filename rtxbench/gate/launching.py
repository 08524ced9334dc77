"""One launch of one case: fresh workers, each in its arm's own Python and tree, then paired blocks."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import RtxbenchError
from rtxbench.gate.session import LaunchPair
from rtxbench.gate.worker import FOREIGN_ROOT, SEARCH_PATH
from rtxbench.lookup import named
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.paired.loop import measure_pairing
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.records import Case
from rtxbench.workers.process import WorkerSpec

__all__ = ["GATE_PROFILES", "ArmSource", "gate_profile", "measure_launch"]

_WORKER_FILE: Final = Path(__file__).with_name("worker.py")
_LAYOUTS: Final = 4096
"""Bytes by which a process's stack is shifted at random: a page."""

_MARK: Final = "RTXBENCH_GATE_LAUNCH"
"""Variable by which the processes of one launch are known, also those that left their process group."""


def _profile(name: str, rounds: int, block_s: float, warm_up: WarmUpRule, timed_s: float) -> Profile:
    return Profile(
        name=f"gate-{name}",
        launches_min=1,
        launches_max=1,  # the gate's decision asks for launches one by one
        rounds=rounds,
        block_s=block_s,
        timed_budget_s=timed_s,
        warm_up=warm_up,
        group_budget_s=float("inf"),
        solo_blocks=2,
    )


GATE_PROFILES: Final[dict[str, Profile]] = {
    # A ratio needs no absolute steady state: a short warm-up, then rounds that cancel what still drifts. Of a step of
    # a millisecond this is 12 × 4 blocks of 0.1 s after at most a second an arm; of a long one at least three rounds.
    "standard": _profile("standard", 12, 0.1, WarmUpRule(window_blocks=5, block_s=0.05, cap_s=1.0), 12.0),
    # A GPU's clocks and temperature take seconds to settle, and its blocks must outlast the launch queue.
    "gpu": _profile("gpu", 16, 0.25, WarmUpRule(window_blocks=10, block_s=0.25, cap_s=15.0), 40.0),
    # A third of the time for a wider interval: more launches end inconclusive, none more in a false alarm.
    "quick": _profile("quick", 8, 0.05, WarmUpRule(window_blocks=5, block_s=0.02, cap_s=0.5), 6.0),
    # Proves the path in tests; its blocks are too short for any claim.
    "smoke": _profile("smoke", 4, 0.02, WarmUpRule(window_blocks=3, block_s=0.005, cap_s=0.3), 2.0),
}
"""Lengths of one launch by name; the decision's constants are the same in all of them."""


def gate_profile(name: str) -> Profile:
    """Return the row of that name.

    Raises:
        UsageError: there is none.
    """
    return named(GATE_PROFILES, name, "gate profile")


class ArmSource(NamedTuple):
    """The code and the interpreter of one arm."""

    python: str
    root: Path
    search_path: tuple[Path, ...]


def measure_launch(
    baseline: ArmSource,
    candidate: ArmSource,
    profile: Profile,
    case: str,
    number: int,
    planted_ratio: float = 0.0,
) -> LaunchPair:
    """Measure one case once, in fresh workers of both arms.

    Args:
        baseline: its code and interpreter.
        candidate: likewise.
        profile: a row of `GATE_PROFILES`.
        case: ``module:function``.
        number: of the launch; the arms take turns at being started first.
        planted_ratio: slow-down planted in the candidate by step duplication, for `rtxbench selftest gate`.

    Raises:
        MeasurementError: an arm does not start, import, answer or return a callable; the message names the arm.
        KeyboardInterrupt: Ctrl-C; both workers have ended.
    """
    mark = secrets.token_hex(8)
    arms = [
        _arm("baseline", baseline, candidate, case, planted_ratio, mark),
        _arm("candidate", candidate, baseline, case, planted_ratio, mark),
    ]
    try:
        pairing = measure_pairing(arms, profile, seed=number)
    finally:
        _end_daemons(mark)
    if pairing.interrupted:
        raise KeyboardInterrupt
    for result in pairing.results:
        if result.failure is not None:
            raise _named(result.failure, result.arm.key, f"{case}, launch {number}")
    first, second = (result.launches[0] for result in pairing.results)
    return LaunchPair(pairing.log_ratios["candidate"][0], first, second)


def _arm(role: str, source: ArmSource, other: ArmSource, case: str, planted_ratio: float, mark: str) -> Arm:
    environment = {
        # Only the arm's own tree: the caller's PYTHONPATH could put the other arm's code in its place.
        SEARCH_PATH: os.pathsep.join(map(str, source.search_path)),
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Where stack and heap lie decides what collides in the caches (Mytkowicz 2009): drawn anew for each process, so
        # that a lucky layout ends with its launch.
        "RTXBENCH_LAYOUT": "x" * secrets.randbelow(_LAYOUTS),
        _MARK: mark,
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
        planted_slowdown_ratio=planted_ratio if role == "candidate" else 0.0,
        steps_unit=round(1 / planted_ratio) if planted_ratio else 1,
    )


def _end_daemons(mark: str) -> None:
    """End what a step left running outside its worker's process group: it would disturb every later launch."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.uids().real == os.getuid() and process.environ().get(_MARK) == mark:
                process.kill()


def _named(error: RtxbenchError, role: str, where: str) -> RtxbenchError:
    absent = role == "baseline" and ("ModuleNotFoundError" in error.message or "has no attribute" in error.message)
    cure = "A new case can be gated once the baseline has it too; leave it out until then." if absent else ""
    return type(error)(f"{role}: {where}: {error.message}", next_step=cure or error.next_step)

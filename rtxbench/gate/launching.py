"""One launch of one case: fresh workers, each in its arm's own Python and tree, then paired blocks.

Two processes of the same program differ by more than their blocks do (of a NumPy step on a shared machine by 3 %,
against 0.7 % within a process), so a launch does not measure one pair of processes for long but as many pairs as fit
into its time, a few rounds each. A step that starts slowly gets one pair, and rounds for as long as starting took.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import RtxbenchError
from rtxbench.gate.records import NOTHING, Planting
from rtxbench.gate.session import ProcessPair
from rtxbench.gate.worker import FOREIGN_ROOT, PLANTED, SEARCH_PATH
from rtxbench.lookup import named
from rtxbench.measure.paired.arms import Arm, start_workers
from rtxbench.measure.paired.loop import measure_pairing
from rtxbench.measure.profiles import Profile, ShortWarmUp, WarmUpRule
from rtxbench.records import Case
from rtxbench.workers.process import WorkerSpec

__all__ = ["GATE_PROFILES", "PAIRS_MOST", "ArmSource", "gate_profile", "measure_launch"]

_WORKER_FILE: Final = Path(__file__).with_name("worker.py")
_LAYOUTS: Final = 4096
"""Bytes by which a process's stack is shifted at random: a page."""

_MARK: Final = "RTXBENCH_GATE_LAUNCH"
"""Variable by which the processes of one launch are known, also those that left their process group."""


PAIRS_MOST: Final = 6
"""Pairs of processes in a launch. Even: the arms take turns at being started first."""


def _profile(
    name: str, *, rounds: int, block_s: float, warm_up: WarmUpRule | ShortWarmUp, timed_s: float, launch_s: float = 0.0
) -> Profile:
    """Lay out a launch that takes ``launch_s`` if its step starts quickly; 0 keeps it to one pair of processes."""
    return Profile(
        name=f"gate-{name}",
        launches_min=1,
        launches_max=PAIRS_MOST if launch_s else 1,  # of the paired protocol: here a launch is one pair of processes
        rounds=rounds,
        block_s=block_s,
        timed_budget_s=timed_s,
        timed_share=0.5,
        warm_up=warm_up,
        group_budget_s=launch_s or float("inf"),
        half_width_goal_ratio=0.0,
        solo_blocks=2,
    )


GATE_PROFILES: Final[dict[str, Profile]] = {
    # A ratio needs no absolute steady state: a short warm-up, then rounds that cancel what still drifts. Of a step of
    # a millisecond a launch is five or six pairs of processes with 3 × 4 blocks of 0.05 s each.
    "standard": _profile(
        "standard", rounds=3, block_s=0.05, warm_up=ShortWarmUp(seconds=0.1, block_s=0.03), timed_s=12.0, launch_s=6.5
    ),
    # A GPU's clocks and temperature take seconds to settle, and its blocks must outlast the launch queue.
    "gpu": _profile(
        "gpu", rounds=16, block_s=0.25, warm_up=WarmUpRule(window_blocks=10, block_s=0.25, cap_s=15.0), timed_s=40.0
    ),
    # Half of the time for a wider interval: more launches end inconclusive, none more in a false alarm.
    "quick": _profile(
        "quick", rounds=3, block_s=0.03, warm_up=ShortWarmUp(seconds=0.05, block_s=0.02), timed_s=6.0, launch_s=3.0
    ),
    # Proves the path in tests; its blocks are too short for any claim.
    "smoke": _profile("smoke", rounds=4, block_s=0.02, warm_up=ShortWarmUp(seconds=0.03, block_s=0.01), timed_s=2.0),
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
    planted: Planting = NOTHING,
) -> list[ProcessPair]:
    """Measure one case once, in as many pairs of fresh workers as the profile's time allows.

    Args:
        baseline: its code and interpreter.
        candidate: likewise.
        profile: a row of `GATE_PROFILES`.
        case: ``module:function``.
        number: of the launch; from pair to pair the arms take turns at being started first.
        planted: in the candidate.

    Raises:
        MeasurementError: an arm does not start, import, answer or return a callable; the message names the arm.
        KeyboardInterrupt: Ctrl-C; both workers have ended.
    """
    mark = secrets.token_hex(8)
    arms = [
        _arm("baseline", baseline, candidate, case, planted, mark),
        _arm("candidate", candidate, baseline, case, planted, mark),
    ]
    try:
        # An odd stride: where a launch is a single pair, the next launch starts the other arm first.
        pairing = measure_pairing(arms, profile, seed=number * (PAIRS_MOST + 1), start=start_workers)
    finally:
        _end_daemons(mark)
    if pairing.interrupted:
        raise KeyboardInterrupt
    for result in pairing.results:
        if result.failure is not None:
            raise _named(result.failure, result.arm.key, f"{case}, launch {number}")
    baselines, candidates = (result.launches for result in pairing.results)
    rows = zip(pairing.log_ratios["candidate"], baselines, candidates, strict=True)
    return [ProcessPair(*row) for row in rows]


def _arm(role: str, source: ArmSource, other: ArmSource, case: str, planted: Planting, mark: str) -> Arm:
    slow_down = planted.ratio if planted.quantity == "step time" else 0.0
    environment = {
        # Only the arm's own tree: the caller's PYTHONPATH could put the other arm's code in its place.
        SEARCH_PATH: os.pathsep.join(map(str, source.search_path)),
        "PYTHONPATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Where stack and heap lie decides what collides in the caches (Mytkowicz 2009): drawn anew for each process, so
        # that a lucky layout ends with its launch.
        "RTXBENCH_LAYOUT": "x" * secrets.randbelow(_LAYOUTS),
        _MARK: mark,
        PLANTED: f"{planted.quantity}={planted.ratio}" if role == "candidate" else "",
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
        planted_slowdown_ratio=slow_down if role == "candidate" else 0.0,
        steps_unit=round(1 / slow_down) if slow_down else 1,
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

"""``rtxbench selftest gate``: does this machine's gate cry wolf, and what does it find?

Whole gates are run on code compared with itself: unplanted (A/A), and with a slow-down planted by step duplication
(the candidate runs k(1 + δ) steps and reports k: exact under any noise, no change of code), with memory held at the
peak, or with a first step that waits. Every launch and every outcome is appended to ``<machine>/gate-selftest.jsonl``,
so that an interrupted self-test goes on where it stopped.
"""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import rtxbench
from rtxbench.errors import UsageError
from rtxbench.gate.launching import GATE_PROFILES, ArmSource, measure_launch
from rtxbench.gate.records import NOTHING, Planting, case_observations, launch_observation, open_journal, planted_in
from rtxbench.gate.replay import SelftestRow, selftest_rows
from rtxbench.gate.session import Settings, run_session
from rtxbench.hardware.environment import describe
from rtxbench.measure.profiles import Profile
from rtxbench.records import GATE_SELFTEST_TOPIC, Observation
from rtxbench.results.store import LoadedRun, RunWriter, disk_errors, load_results, load_run
from rtxbench.units import format_duration

__all__ = ["DEFAULT_PLAN", "SelftestRequest", "replay_files", "run_selftest", "schedule"]

DEFAULT_PLAN: Final[dict[Planting, int]] = {
    NOTHING: 40,
    Planting("step time", 0.05): 20,
    Planting("peak memory", 0.05): 3,
    Planting("first step", 0.5): 3,
}
"""Planted slow-down → gates to run."""
_CASES: Final = {"first step": "rtxbench.gate.steps:numpy_whitening"}
_CASE: Final = "rtxbench.gate.steps:numpy_mlp"
"""Case gated unless another is named; its first step is too short to be gated."""
_EDITION: Final = "process-pairs"
"""Of the decision rule: gates of another rule or another length of launch do not count as done."""


class SelftestRequest(NamedTuple):
    """The self-test that was asked for."""

    plan: dict[Planting, int]
    case: str | None = None
    """``module:function``; ``None``: steps of rtxbench's own."""
    root: Path = Path(rtxbench.__file__).parent.parent
    """Folder the case is imported from."""
    results_dir: Path = Path("results")
    profile: Profile = GATE_PROFILES["standard"]
    replayed: int = 1000


def run_selftest(request: SelftestRequest, say: Callable[[str], None]) -> tuple[list[SelftestRow], Path]:
    """Run the gates that are still missing, then sum up everything on record.

    Returns:
        One row per planted slow-down, and the results file.

    Raises:
        MeasurementError: the case cannot be measured, or the disk is full; what is on record stays.
    """
    case = (request.case or _CASE).rpartition(":")[2]
    name = f"gate-selftest-{case}-{request.profile.name}-{_EDITION}".replace("_", "-")
    environment = describe()
    with (
        _alone(request.results_dir / environment.machine / f"{name}.lock", say),
        open_journal(request.results_dir, environment, "gate-selftest", name=name) as journal,
    ):
        done = Counter(planted_in(line) for line in _gates(journal.path))
        jobs = schedule(request.plan, done)
        began_s = time.monotonic()
        for number, planted in enumerate(jobs):
            outcome = _one_gate(request, planted, done[planted] + 1, journal)
            done[planted] += 1
            spent_s = time.monotonic() - began_s
            left_s = spent_s / (number + 1) * (len(jobs) - number - 1)
            say(
                f"gate {number + 1} of {len(jobs)}  planted {planted.text}  → {outcome}"
                f"  ({format_duration(spent_s)} so far, about {format_duration(left_s)} to go)"
            )
        path = journal.path
    return selftest_rows(load_run(path).of_kind(Observation), request.replayed), path


@contextlib.contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the file's lock: two self-tests at once would measure each other and number their gates alike."""
    from filelock import FileLock, Timeout

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            say(f"another self-test holds {path}; waiting until it ends (Ctrl-C gives up).")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def replay_files(paths: Sequence[Path], replayed: int) -> list[SelftestRow]:
    """Sum up self-tests that were measured before, of one machine.

    Raises:
        UsageError: no self-test is among them, or those of several machines.
        RecordError: a file is malformed.
    """
    runs = [run for run in load_results(paths) if _of_selftest(run)]
    machines = {run.run.environment.machine for run in runs}
    if len(machines) != 1:
        found = f"self-tests of {len(machines)} machines" if machines else "no self-test"
        raise UsageError(
            f"{found} in {', '.join(map(str, paths))}.", next_step="Pass the gate-selftest file of one machine."
        )
    return selftest_rows([record for run in runs for record in _of_selftest(run)], replayed)


def _of_selftest(run: LoadedRun) -> list[Observation]:
    return [record for record in run.of_kind(Observation) if record.topic == GATE_SELFTEST_TOPIC]


def schedule(plan: dict[Planting, int], done: Counter[Planting]) -> list[Planting]:
    """Return the gates still to run, levels spread evenly so that none meets only the machine's quiet hour.

    Args:
        plan: what is planted → gates wanted.
        done: what is planted → gates already in the records.

    Returns:
        What to plant in each gate to run, in order.
    """
    missing = {level: max(0, wanted - done[level]) for level, wanted in plan.items()}
    places = [((i + 0.5) / count, level) for level, count in missing.items() for i in range(count)]
    return [level for _place, level in sorted(places)]


def _one_gate(request: SelftestRequest, planted: Planting, number: int, journal: RunWriter) -> str:
    arm = ArmSource(sys.executable, request.root, (request.root,))
    settings = Settings((request.case or _CASES.get(planted.quantity, _CASE),), budget_s=float("inf"))
    labels = {"planted_ratio": repr(planted.ratio), "planted_quantity": planted.quantity, "gate": str(number)}
    (result,) = run_session(
        settings,
        lambda case, launch: measure_launch(arm, arm, request.profile, case, launch, planted),
        lambda launch, _decision: journal.append(launch_observation(journal.run, launch, GATE_SELFTEST_TOPIC, labels)),
    )
    for line in case_observations(journal.run, result, labels, GATE_SELFTEST_TOPIC):
        journal.append(line)
    return f"{result.outcome} after {len(result.launches)} launches"


def _gates(path: Path) -> list[Observation]:
    return [record for record in _of_selftest(load_run(path)) if record.metric == "log_ratio"]

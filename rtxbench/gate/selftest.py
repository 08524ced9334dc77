"""``rtxbench selftest gate``: does this machine's gate cry wolf, and what does it find?

Whole gates are run on code compared with itself: unplanted (A/A), and with a slow-down planted by step duplication
(the candidate runs k(1 + δ) steps and reports k: exact under any noise, no change of code). Every launch and every
outcome is appended to ``<machine>/gate-selftest.jsonl``, so that an interrupted self-test goes on where it stopped.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rtxbench
from rtxbench.errors import UsageError
from rtxbench.gate.records import case_observation, launch_observation, open_journal
from rtxbench.gate.replay import SelftestRow, selftest_rows
from rtxbench.gate.session import GATE_PROFILES, ArmSource, Settings, measure_launch, run_session
from rtxbench.hardware.environment import describe
from rtxbench.measure.profiles import Profile
from rtxbench.records import GATE_SELFTEST_TOPIC, Estimate, Observation
from rtxbench.store import LoadedRun, RunWriter, load_results, load_run
from rtxbench.units import format_duration, format_percent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["DEFAULT_PLAN", "SelftestRequest", "render_rows", "replay_files", "run_selftest", "schedule"]

DEFAULT_PLAN: dict[float, int] = {0.0: 20, 0.02: 5, 0.05: 10, 0.10: 5}
"""Planted slow-down → gates to run."""


class SelftestRequest(NamedTuple):
    """What to run."""

    plan: dict[float, int]
    case: str = "rtxbench.gate.steps:numpy_mlp"
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
    name = f"gate-selftest-{request.case.rpartition(':')[2]}-{request.profile.name}".replace("_", "-")
    with open_journal(request.results_dir, describe(), "gate-selftest", name=name) as journal:
        done = Counter(float(line.labels["planted_ratio"]) for line in _gates(journal.path))
        jobs = schedule(request.plan, done)
        began_s = time.monotonic()
        for number, planted in enumerate(jobs):
            outcome = _one_gate(request, planted, done[planted] + 1, journal)
            done[planted] += 1
            spent_s = time.monotonic() - began_s
            left_s = spent_s / (number + 1) * (len(jobs) - number - 1)
            say(
                f"gate {number + 1} of {len(jobs)}  planted {format_percent(planted, 0)}  → {outcome}"
                f"  ({format_duration(spent_s)} so far, about {format_duration(left_s)} to go)"
            )
        path = journal.path
    return selftest_rows(load_run(path).of_kind(Observation), request.replayed), path


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


def schedule(plan: dict[float, int], done: Counter[float]) -> list[float]:
    """The gates still to run, levels spread evenly over time so that none meets only the machine's quiet hour.

    Args:
        plan: planted slow-down (0.05 for 5 %) → gates wanted.
        done: planted slow-down → gates already in the records.

    Returns:
        The planted slow-down of each gate to run, in order.
    """
    missing = {level: max(0, wanted - done[level]) for level, wanted in plan.items()}
    places = [((i + 0.5) / count, level) for level, count in missing.items() for i in range(count)]
    return [level for _place, level in sorted(places)]


def _one_gate(request: SelftestRequest, planted: float, number: int, journal: RunWriter) -> str:
    arm = ArmSource(sys.executable, request.root, (request.root,))
    settings = Settings((request.case,), budget_s=float("inf"), profile=request.profile, planted_ratio=planted)
    labels = {"planted_ratio": repr(planted), "gate": str(number)}
    (result,) = run_session(
        settings,
        lambda case, launch: measure_launch(arm, arm, settings, case, launch),
        lambda launch, _decision: journal.append(launch_observation(journal.run, launch, GATE_SELFTEST_TOPIC, labels)),
    )
    line = case_observation(journal.run, result, labels, GATE_SELFTEST_TOPIC)
    assert line is not None
    journal.append(line)
    return f"{result.outcome} after {len(result.launches)} launches"


def _gates(path: Path) -> list[Observation]:
    return [record for record in _of_selftest(load_run(path)) if record.metric == "log_ratio"]


def render_rows(rows: Sequence[SelftestRow]) -> "Table":
    """The self-test's result for a terminal (rich)."""
    from rich.table import Table

    table = Table(title="gate self-test: share called a regression (95 % interval)", title_justify="left")
    for heading in ("planted", "gates run", "regression", "launches", "replayed", "regression", "stored min:5%"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            format_percent(row.planted_ratio, 0) if row.planted_ratio else "none",
            str(row.gates),
            share_text(row.regression),
            "–" if row.launches_mean is None else f"{row.launches_mean:.1f}",
            f"{row.replayed_gates:,}",
            share_text(row.replayed_regression),
            share_text(row.stored_baseline),
        )
    return table


def share_text(share: Estimate | None) -> str:
    """The share, and its interval on a line of its own."""
    if share is None or share.low is None or share.high is None:
        return "–"
    return f"{format_percent(share.value)}\n{100 * share.low:.1f}–{100 * share.high:.1f}"

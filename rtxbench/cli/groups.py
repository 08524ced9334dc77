"""Parts that runs of either kind share: the groups left to measure, their measuring, whether anything came of it."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.measure.groups import Group
from rtxbench.measure.profiles import Profile
from rtxbench.measure.progress import Board
from rtxbench.measure.session import GroupOutcome, Session
from rtxbench.records import TRIAL_FINISHED, Case, CaseRecord, Environment, Observation
from rtxbench.results.store import LoadedRun, load_readable, load_run

__all__ = [
    "finished_cases",
    "finished_trials",
    "measure_groups",
    "open_groups",
    "raise_if_nothing_came",
]


def open_groups(groups: Sequence[Group], results_dir: Path, environment: Environment, profile: Profile) -> list[Group]:
    """Leave out the groups that earlier runs of this machine, profile and commit have finished."""
    done = finished_cases(results_dir, environment, profile)
    return [group for group in groups if not done.issuperset(_wanted(group))]


def measure_groups(session: Session, groups: Sequence[Group], *, quiet: bool) -> dict[str, GroupOutcome]:
    """Measure groups in turn before the eyes of whoever waits.

    Raises:
        KeyboardInterrupt: after the finished launches were stored.
    """
    board = None if quiet else Board([group.name for group in groups if group.cases])
    with board or nullcontext():
        told = board.launch_done if board else lambda run, standing, left_s: None
        outcomes = session.measure([(group, None) for group in groups], told)
    if any(outcome.interrupted for outcome in outcomes.values()):
        raise KeyboardInterrupt
    return outcomes


def raise_if_nothing_came(path: Path) -> None:
    """A run without a single figure must not look like a success to whoever called it."""
    records = load_run(path).records if path.exists() else ()
    cases = [record for record in records if isinstance(record, CaseRecord)]
    if any(case.measurement for case in cases) or any(isinstance(r, Observation) and r.values for r in records):
        return
    reasons = "; ".join(dict.fromkeys(case.reason for case in cases if case.reason)) or "no case came to an end"
    if cases and all(case.status == "skipped" for case in cases):
        raise UnavailableError(
            f"this machine can measure none of it: {reasons}",
            next_step="`rtxbench plan` shows what it can measure, `rtxbench doctor` what is missing.",
        )
    raise MeasurementError(
        f"nothing was measured: {reasons}", next_step=f"`rtxbench doctor` names what is missing; records: {path}."
    )


def _wanted(group: Group) -> set[tuple[str, Case]]:
    return {(group.name, case) for case in (*group.cases, *(case for case, _ in group.skipped))}


def finished_cases(results_dir: Path, environment: Environment, profile: Profile) -> set[tuple[str, Case]]:
    """(group, case) of every record that an interrupt did not cut short."""
    earlier = _earlier(results_dir, environment, profile)
    records = [record for loaded in earlier for record in loaded.of_kind(CaseRecord)]
    least = profile.launches_min
    return {(r.group, r.case) for r in records if r.status == "skipped" or _launches(r) >= least}


def _launches(record: CaseRecord) -> int:
    """Count the launches a case came through; one that failed or died is measured again."""
    return len(record.measurement.launches) if record.measurement is not None and record.status == "measured" else 0


def finished_trials(results_dir: Path, environment: Environment, profile: Profile) -> set[str]:
    """Claims whose trial an earlier run brought to its end."""
    earlier = _earlier(results_dir, environment, profile)
    marks = (record for loaded in earlier for record in loaded.records if isinstance(record, Observation))
    return {mark.topic for mark in marks if mark.metric == TRIAL_FINISHED}


def _earlier(results_dir: Path, environment: Environment, profile: Profile) -> list[LoadedRun]:
    """Runs of this machine, profile and commit."""
    folder = results_dir / environment.machine
    if not folder.is_dir():
        return []
    return [
        loaded
        for loaded in load_readable([folder])[0]  # a bad file is the report's to complain of
        if loaded.run.profile == profile.name and loaded.run.environment.commit == environment.commit
    ]

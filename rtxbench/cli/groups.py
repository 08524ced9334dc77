"""Parts that runs of either kind share: the groups left to measure, their measuring, whether anything came of it."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.measure.groups import Group
from rtxbench.measure.profiles import Profile
from rtxbench.measure.progress import Board
from rtxbench.measure.session import GroupOutcome, Question, Session
from rtxbench.records import TRIAL_FINISHED, Case, CaseRecord, Environment, Observation, RatioRecord
from rtxbench.results.store import LoadedRun, load_readable, load_run, set_apart

__all__ = [
    "earlier_runs",
    "finished_cases",
    "finished_trials",
    "measure_groups",
    "open_groups",
    "raise_if_nothing_came",
]


def open_groups(
    groups: Sequence[Group],
    results_dir: Path,
    environment: Environment,
    profile: Profile,
    question: Question = lambda ratios: None,
) -> list[Group]:
    """Leave out the groups that earlier runs of this machine, profile and commit have finished, and decided."""
    done = finished_cases(results_dir, environment, profile, question)
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
    """Raise where a run has not a single figure: it must not look like a success to whoever called it."""
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


def finished_cases(
    results_dir: Path,
    environment: Environment,
    profile: Profile,
    question: Question = lambda ratios: None,
) -> set[tuple[str, Case]]:
    """Return (group, case) of every record that an interrupt did not cut short and whose group's question is not open.

    A group that had its most launches is finished though it is open: the next profile, not this one, decides it.
    """
    finished = set()
    for loaded in earlier_runs(results_dir, environment, profile):
        ratios = loaded.of_kind(RatioRecord)
        for record in loaded.of_kind(CaseRecord):
            standing = question([ratio for ratio in ratios if ratio.group == record.group])
            is_open = standing is not None and not standing.decided
            wanted = profile.launches_max if is_open else profile.launches_min
            if record.status == "skipped" or _launches(record) >= wanted:
                finished.add((record.group, record.case))
    return finished


def _launches(record: CaseRecord) -> int:
    """Count the launches a case came through; one that failed or died is measured again."""
    return len(record.measurement.launches) if record.measurement is not None and record.status == "measured" else 0


def finished_trials(results_dir: Path, environment: Environment, profile: Profile) -> set[str]:
    """Claims whose trial an earlier run brought to its end."""
    earlier = earlier_runs(results_dir, environment, profile)
    marks = (record for loaded in earlier for record in loaded.records if isinstance(record, Observation))
    return {mark.topic for mark in marks if mark.metric == TRIAL_FINISHED}


def earlier_runs(results_dir: Path, environment: Environment, profile: Profile) -> list[LoadedRun]:
    """Runs of this machine, profile and commit."""
    folder = results_dir / environment.machine
    if not folder.is_dir():
        return []
    return [
        loaded
        for loaded in set_apart(load_readable([folder])[0])  # a bad file is the report's to complain of
        if loaded.run.profile == profile.name
        and (loaded.run.environment.machine, loaded.run.environment.commit) == (environment.machine, environment.commit)
    ]

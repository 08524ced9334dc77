"""Carry out ``rtxbench run``: measure a plan's groups in turn, show progress, store records, say what comes next."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import MeasurementError, UnavailableError, UsageError
from rtxbench.hardware.environment import describe
from rtxbench.hardware.machine_lock import measuring_alone
from rtxbench.lookup import named
from rtxbench.measure.first_steps import step_records
from rtxbench.measure.groups import Group, Request, on_engine
from rtxbench.measure.profiles import Profile
from rtxbench.measure.progress import Board, Waiting
from rtxbench.measure.session import GroupOutcome, Session
from rtxbench.measure.table import headline, summary_lines
from rtxbench.planning.engine_gpus import usable_gpus
from rtxbench.planning.own_model import CLAIM, plan_own_model, target_of
from rtxbench.planning.suite import ALL_ENGINES, plan, trials_of
from rtxbench.records import TRIAL_FINISHED, Case, CaseRecord, Environment, Observation
from rtxbench.report.sections.answers.your_model import finding_lines
from rtxbench.results.store import LoadedRun, load_readable, load_run
from rtxbench.trials.progress import TrialProgress
from rtxbench.trials.table import measure_trial
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.stopping import Questions
from rtxbench.workloads.own import SOURCE_VARIABLE, source_digest

__all__ = ["closing_lines", "run_plan"]


def run_plan(
    request: Request,
    profile: Profile,
    results_dir: Path,
    command: Sequence[str],
    *,
    resume: bool,
    quiet: bool,
    wait: bool = True,
) -> Path:
    """Measure every group of the plan and return the results file.

    Args:
        request: what to measure.
        profile: for how long.
        results_dir: usually ``results``.
        command: the command line, for the record.
        resume: leave out groups that an earlier run of this machine, profile, engine and commit has finished.
        quiet: show no progress.
        wait: wait for another measurement on this machine to end; else refuse.

    Raises:
        MeasurementError: nothing was left to measure, or nothing could be measured.
        UnavailableError: this machine can measure none of it, no engine that was asked for can use its GPUs, or it is
            taken and ``wait`` is false.
        KeyboardInterrupt: after the finished launches were stored.
    """
    if request.model is not None:
        return _run_own_model(request, profile, results_dir, command, quiet=quiet, wait=wait)
    engines = tuple(COMPILERS) if request.engine == ALL_ENGINES else (request.engine,)
    environment, refused = usable_gpus(describe(), engines)
    groups = plan(request, environment, refused)
    if resume:
        done = _finished_cases(results_dir, environment, profile)
        groups = [group for group in groups if not done.issuperset(_wanted(group))]
    engine = next(name for name in engines if name not in refused)  # a trial runs on one engine
    trials = list(trials_of(request))
    if request.workloads and not request.claims:
        trials = []  # a trial has its own model; who names workloads asks for their throughput
    if resume:
        trials = [claim for claim in trials if claim not in _finished_trials(results_dir, environment, profile)]
    if not groups and not trials and not resume:
        raise UsageError(
            "no claim that was asked for can be measured on these workloads.",
            next_step="Leave out --workload, or give a claim of your own a [[claim.plan]].",
        )
    if not groups and not trials:
        raise MeasurementError("every group is measured already.", next_step="Run without --resume to measure again.")
    with measuring_alone(lambda text: sys.stderr.write(f"rtxbench: {text}\n"), wait=wait):
        return _run(on_engine(engine, request), profile, results_dir, command, environment, groups, trials, quiet=quiet)


def _run(
    request: Request,
    profile: Profile,
    results_dir: Path,
    command: Sequence[str],
    environment: Environment,
    groups: Sequence[Group],
    trials: Sequence[str],
    *,
    quiet: bool,
) -> Path:
    question = Questions(load_claims(request.claims_file), environment)
    with Session(results_dir, profile, tuple(command), environment=environment, question=question) as session:
        _measure(session, groups, quiet=quiet)
        for claim in trials:
            with TrialProgress(claim, None if quiet else sys.stderr) as progress:
                measure_trial(claim, session, request.engine, progress.step)
        if session.can_explain:
            with nullcontext() if quiet else Waiting("gathering what explains the figures"):
                session.explain()
    _raise_if_nothing_came(session.path)
    return session.path


def _raise_if_nothing_came(path: Path) -> None:
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


def _run_own_model(
    request: Request, profile: Profile, results_dir: Path, command: Sequence[str], *, quiet: bool, wait: bool
) -> Path:
    """Measure a user's own model by the suite's protocol and return the results file."""
    if request.claims or request.workloads or request.claims_file:
        raise UsageError(
            "--model measures your own model, --claim, --workload and --file the suite's.",
            next_step="Give one of them.",
        )
    target = target_of(request.model or "", request.engine or None, request.batch_size)
    named(COMPILERS, target.engine, "engine")
    os.environ[SOURCE_VARIABLE] = target.source  # every worker inherits it, whoever starts it
    environment, _refused = usable_gpus(describe(), (target.engine,))
    groups = plan_own_model(target, environment)
    labels = {"file": target.path.name, "source_sha256": source_digest(target.path)}
    with (
        measuring_alone(lambda text: sys.stderr.write(f"rtxbench: {text}\n"), wait=wait),
        Session(results_dir, profile, tuple(command), environment=environment) as session,
    ):
        outcomes = _measure(session, groups, quiet=quiet)
        records = [record for outcome in outcomes.values() for record in outcome.cases.values()]
        measured = dict.fromkeys(record.case for record in records if record.status == "measured")
        with nullcontext() if quiet else Waiting("comparing the losses of the first steps"):
            for case in measured:
                for record in step_records(session.run_id, CLAIM, case, labels):
                    session.append(record)
        if session.can_explain:
            with nullcontext() if quiet else Waiting("gathering what explains the figures"):
                session.explain()
    _raise_if_nothing_came(session.path)
    return session.path


def closing_lines(path: Path) -> list[str]:
    """List what a run prints at its end: a line per case, what was found of the user's own model, and what comes next.

    Raises:
        RecordError: the results file cannot be read.
    """
    found = finding_lines(path)
    return [
        *summary_lines(path),
        *(["", *found] if found else []),
        "",
        f"records: {path}",
        "next:    rtxbench report --open",
        headline(path),
    ]


def _measure(session: Session, groups: Sequence[Group], *, quiet: bool) -> dict[str, GroupOutcome]:
    board = None if quiet else Board([group.name for group in groups if group.cases])
    with board or nullcontext():
        told = board.launch_done if board else lambda run, standing, left_s: None
        outcomes = session.measure([(group, None) for group in groups], told)
    if any(outcome.interrupted for outcome in outcomes.values()):
        raise KeyboardInterrupt
    return outcomes


def _wanted(group: Group) -> set[tuple[str, Case]]:
    return {(group.name, case) for case in (*group.cases, *(case for case, _ in group.skipped))}


def _finished_cases(results_dir: Path, environment: Environment, profile: Profile) -> set[tuple[str, Case]]:
    """(group, case) of every record that an interrupt did not cut short."""
    earlier = _earlier(results_dir, environment, profile)
    records = [record for loaded in earlier for record in loaded.of_kind(CaseRecord)]
    least = profile.launches_min
    return {(r.group, r.case) for r in records if r.status == "skipped" or _launches(r) >= least}


def _launches(record: CaseRecord) -> int:
    """Count the launches a case came through; one that failed or died is measured again."""
    return len(record.measurement.launches) if record.measurement is not None and record.status == "measured" else 0


def _finished_trials(results_dir: Path, environment: Environment, profile: Profile) -> set[str]:
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

"""Carry out ``rtxbench run``: measure a plan's groups in turn, show progress, store records, say what comes next."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rtxbench.cli.groups import finished_trials, measure_groups, open_groups, raise_if_nothing_came
from rtxbench.cli.nodes import run_on_nodes
from rtxbench.cli.own_model import run_own_model
from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import MeasurementError, UsageError
from rtxbench.hardware.environment import describe
from rtxbench.hardware.machine_lock import measuring_alone
from rtxbench.measure.groups import Group, Request, on_engine
from rtxbench.measure.profiles import Profile
from rtxbench.measure.progress import TrialProgress, Waiting
from rtxbench.measure.session import Session
from rtxbench.measure.table import headline, summary_lines
from rtxbench.planning.engine_gpus import usable_gpus
from rtxbench.planning.suite import ALL_ENGINES, plan, trials_of
from rtxbench.records import Environment
from rtxbench.report.sections.answers.your_model import finding_lines
from rtxbench.trials.table import measure_trial
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.stopping import Questions

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
) -> Path | None:
    """Measure every group of the plan and return the results file; ``None`` on a node that only lends a rank.

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
        UnavailableError: this machine can measure none of it, or it is taken and ``wait`` is false.
        KeyboardInterrupt: after the finished launches were stored.
    """
    if request.nodes:
        return run_on_nodes(request, profile, results_dir, command, quiet=quiet, wait=wait)
    if request.model is not None or request.search:
        return run_own_model(request, profile, results_dir, command, resume=resume, quiet=quiet, wait=wait)
    engines = tuple(COMPILERS) if request.engine == ALL_ENGINES else (request.engine,)
    environment, refused = usable_gpus(describe(), engines)
    groups = plan(request, environment, refused)
    if resume:
        question = Questions(load_claims(request.claims_file), environment)
        groups = open_groups(groups, results_dir, environment, profile, question)
    engine = next(name for name in engines if name not in refused)  # a trial runs on one engine
    # A trial has its own model; who names workloads asks for their throughput.
    trials = [] if request.workloads and not request.claims else list(trials_of(request))
    if resume:
        trials = [claim for claim in trials if claim not in finished_trials(results_dir, environment, profile)]
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
        measure_groups(session, groups, quiet=quiet)
        for claim in trials:
            with TrialProgress(claim, None if quiet else sys.stderr) as progress:
                measure_trial(claim, session, request.engine, progress.step)
        if session.can_explain:
            with nullcontext() if quiet else Waiting("gathering what explains the figures"):
                session.explain()
    raise_if_nothing_came(session.path)
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

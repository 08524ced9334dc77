"""Carry out ``rtxbench run --model``: the suite's protocol on a user's own model, and what only that is asked."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from rtxbench.cli.groups import earlier_runs, measure_groups, open_groups, raise_if_nothing_came
from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import MeasurementError, UsageError
from rtxbench.hardware.environment import describe
from rtxbench.hardware.machine_lock import measuring_alone
from rtxbench.lookup import named
from rtxbench.measure.groups import Request
from rtxbench.measure.profiles import Profile
from rtxbench.measure.progress import Countdown, Waiting
from rtxbench.measure.session import GroupOutcome, Session
from rtxbench.own.extras import batch_records, step_records
from rtxbench.own.plan import Target, plain_case, plan_own_model, target_of
from rtxbench.own.search import Search, confirmation, earlier_of
from rtxbench.planning.engine_gpus import usable_gpus
from rtxbench.records import Case, Environment, Observation
from rtxbench.results.store import LoadedRun
from rtxbench.workloads.own import SOURCE_VARIABLE
from rtxbench.workloads.own_source import source_labels

__all__ = ["run_own_model"]


def run_own_model(
    request: Request,
    profile: Profile,
    results_dir: Path,
    command: Sequence[str],
    *,
    resume: bool,
    quiet: bool,
    wait: bool,
) -> Path:
    """Measure a user's own model and return the results file; the parameters are those of `run_plan`.

    Raises:
        UsageError: no such model, or options that only the suite has.
        MeasurementError: nothing was left to measure, or nothing could be measured.
        KeyboardInterrupt: after the finished launches were stored.
    """
    target = _target(request)
    os.environ[SOURCE_VARIABLE] = target.source  # every worker inherits it, whoever starts it
    environment, _refused = usable_gpus(describe(), (target.engine,))
    groups = plan_own_model(target, environment, request.compilers, request.logical_devices)
    if resume and not request.search:
        groups = open_groups(groups, results_dir, environment, profile)
        if not groups:
            raise MeasurementError(
                "every group of this model is measured already.", next_step="Run without --resume to measure again."
            )
    earlier = earlier_runs(results_dir, environment, profile) if resume else []
    labels = source_labels(target.path)
    with (
        measuring_alone(lambda text: sys.stderr.write(f"rtxbench: {text}\n"), wait=wait),
        Session(results_dir, profile, tuple(command), environment=environment) as session,
    ):
        if request.search:
            _search(session, target, labels, earlier, request.compilers, quiet=quiet)
        else:
            outcomes = measure_groups(session, groups, quiet=quiet)
            for record in _extras(session, outcomes, profile, environment, labels, quiet=quiet):
                session.append(record)
        if session.can_explain:
            with nullcontext() if quiet else Waiting("gathering what explains the figures"):
                session.explain()
    raise_if_nothing_came(session.path)
    return session.path


def _search(
    session: Session,
    target: Target,
    labels: Mapping[str, str],
    earlier: Sequence[LoadedRun],
    compilers: Sequence[str],
    *,
    quiet: bool,
) -> None:
    """Search the fastest setting, then measure it on fresh launches."""
    plain = plain_case(target, session.environment)
    told = (lambda what, made, to_come: None) if quiet else Countdown("search").told
    search = Search(session, plain, labels, target.keras, earlier_of(earlier, plain), compilers, told)
    found = search.run(session.environment)
    if found is not None:
        measure_groups(session, [confirmation(plain, *found)], quiet=quiet)


def _target(request: Request) -> Target:
    if request.model is None:
        raise UsageError(
            "--search finds the fastest setting of a model of your own.", next_step="Name it: --model train.py:build."
        )
    if request.claims or request.workloads or request.claims_file:
        raise UsageError(
            "--model measures your own model, --claim, --workload and --file the suite's.",
            next_step="Give one of them.",
        )
    target = target_of(request.model, request.engine or None, request.batch_size)
    named(COMPILERS, target.engine, "engine")
    return target


def _extras(
    session: Session,
    outcomes: Mapping[str, GroupOutcome],
    profile: Profile,
    environment: Environment,
    labels: Mapping[str, str],
    *,
    quiet: bool,
) -> Iterator[Observation]:
    """Yield the first steps of every case that was measured, then the largest batch of each precision."""
    records = [record for outcome in outcomes.values() for record in outcome.cases.values()]
    measured = list(dict.fromkeys(record.case for record in records if record.status == "measured"))
    with nullcontext() if quiet else Waiting("comparing the losses of the first steps"):
        for case in measured:
            yield from step_records(session.run_id, case, labels)
    with nullcontext() if quiet else Waiting("searching the largest batch of each precision"):
        yield from batch_records(session.run_id, _one_per_precision(measured), profile, environment, labels)


def _one_per_precision(cases: Sequence[Case]) -> list[Case]:
    """Take the first measured case of each precision: on one device, compiled as is usual."""
    return list({case.precision: case for case in reversed(cases) if case.device_count == 1}.values())[::-1]

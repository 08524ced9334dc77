"""The plan: which groups of cases a request measures on a machine, derived from the rows of ``bench/claims.toml``.

`plan` is what ``bench/`` parametrises over and ``rtxbench run`` walks through. Only what a comparison of the claim
accepts is planned, so nothing is measured that cannot speak. A case that this machine cannot run, or can run only
pathologically, stays in the plan with its reason, so that a report can say why there is no figure.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import UsageError
from rtxbench.lookup import named, suggestion
from rtxbench.measure.groups import FORMS, PROFILE_NAMES, Group, Request, on_engine, split_runnable
from rtxbench.measure.profiles import profile_named
from rtxbench.placement import PLACEMENTS
from rtxbench.planning.arrange import arranged
from rtxbench.planning.designs import DESIGNS, Task, logical_check
from rtxbench.planning.imagined import machine_of
from rtxbench.planning.memory import USABLE_SHARE, resident_bytes
from rtxbench.records import Case, Environment
from rtxbench.verdicts.claims import Claim, load_claims, load_surveys
from rtxbench.verdicts.matching import comparable, lacks
from rtxbench.verdicts.plan_rows import PlanRow, Survey
from rtxbench.verdicts.selectors import selects
from rtxbench.workloads import WORKLOADS, Workload, workload_named

__all__ = ["ALL_ENGINES", "check", "plan", "trials_of"]

ALL_ENGINES: Final = "all"
_NO_GPU: Final = "no NVIDIA GPU on this machine; run the same command on one that has it."


def plan(request: Request, environment: Environment, refused: Mapping[str, str] | None = None) -> list[Group]:
    """List every group of the requested claims on this machine, arranged so that each fits on its GPU.

    Args:
        request: what to measure.
        environment: where.
        refused: engine → why it cannot use the GPUs; its cases on them are set aside with that reason.

    Raises:
        UsageError: an unknown claim, workload, engine or profile.
    """
    check(request)
    every = _plan_for_all if request.engine == ALL_ENGINES else _plan_for_one
    return arranged(every(request, environment), machine_of(environment), profile_named(request.profile), refused)


def _plan_for_one(request: Request, environment: Environment) -> list[Group]:
    return [
        group
        for subject in _subjects(request)
        for row in subject.plan
        for workload in _workloads(row, request, environment)
        for group in _groups(subject, row, workload, request, environment)
    ]


def trials_of(request: Request) -> dict[str, str]:
    """Map the requested claims that a trial measures to the metric that pytest-benchmark's table shows of it."""
    return {subject.id: row.shown for subject in _subjects(request) for row in subject.plan if "trial" in row.designs}


def check(request: Request) -> None:
    """Refuse names that do not exist.

    Raises:
        UsageError: an unknown claim, workload, engine or profile; the message offers what exists.
    """
    named(dict.fromkeys((*COMPILERS, ALL_ENGINES)), request.engine, "engine")
    measured = {subject.id: subject for subject in _all(request) if subject.plan}
    for claim in request.claims:
        if claim not in measured:  # it may well be known: not every claim can be measured
            raise UsageError(f"nothing is measured for claim {claim!r}.", next_step=suggestion(measured, claim))
    for workload in request.workloads:
        workload_named(workload)
    named(dict.fromkeys(PROFILE_NAMES), request.profile, "profile")
    named(dict.fromkeys(FORMS), request.form, "form")


def _all(request: Request) -> list[Claim | Survey]:
    if request.claims_file is not None:
        return [*load_claims(request.claims_file)]
    return [*load_surveys(), *load_claims()]


def _subjects(request: Request) -> list[Claim | Survey]:
    return [subject for subject in _all(request) if not request.claims or subject.id in request.claims]


def _plan_for_all(request: Request, environment: Environment) -> list[Group]:
    """Plan once per engine. Group names are unique within a run: the reference engine's are plain."""
    reference, *others = COMPILERS
    groups = _plan_for_one(on_engine(reference, request), environment)
    surveys = {subject.id for subject in _all(request) if isinstance(subject, Survey)}  # compare engines already
    for engine in others:
        own = _plan_for_one(on_engine(engine, request), environment)
        groups += [dataclasses.replace(g, name=f"{g.name}@{engine}") for g in own if g.claim not in surveys]
    return groups


def _workloads(row: PlanRow, request: Request, environment: Environment) -> Sequence[str]:
    if request.workloads and "variants" in row.designs:
        listed = {name for kind in ("cpu", "gpu") for name in row.workloads.of(PROFILE_NAMES[-1], kind)}
        return [name for name in request.workloads if selects("workload", tuple(listed), name)]
    if request.workloads:
        return request.workloads
    kind = "gpu" if environment.gpus else "cpu"
    found = (_named_by(selector, environment) for selector in row.workloads.of(request.profile, kind))
    return list(dict.fromkeys(name for names in found for name in names))


def _named_by(selector: str, environment: Environment) -> list[str]:
    """Resolve a selector to workloads. Those that stand in for bigger ones are taken only by their full name."""
    if selector in WORKLOADS:
        return [selector]
    head, _, pattern = selector.partition(":")
    if head == "largest":
        memory_bytes = (environment.gpus[0].memory_bytes or 0) if environment.gpus else 0
        fitting = [
            row
            for row in WORKLOADS.values()
            if selects("workload", (pattern,), row.name) and _two_fit(row, memory_bytes)
        ]
        return [max(fitting, key=lambda row: row.least_memory_bytes).name] if fitting else []
    return [n for n, row in WORKLOADS.items() if selects("workload", (selector,), n) and not row.scaled_down_from]


def _two_fit(row: Workload, memory_bytes: int) -> bool:
    """Tell whether a comparison of a workload fits: a baseline and a candidate are resident together."""
    case = Case(workload=row.name, batch_size=row.batch_sizes["gpu"], placement="gpu")
    needed = resident_bytes([case, case])
    if memory_bytes == 0 or needed is None:
        return row.least_memory_bytes <= memory_bytes
    return needed <= USABLE_SHARE * memory_bytes


def _groups(
    subject: Claim | Survey, row: PlanRow, workload: str, request: Request, environment: Environment
) -> Iterator[Group]:
    comparisons = subject.comparisons if isinstance(subject, Claim) else ()
    speed = tuple(part for part in comparisons if part.metric == "throughput")
    task = Task(subject.id, row, speed, workload, request, environment)
    taken: set[str] = set()
    for design in row.designs:
        for group in DESIGNS[design](task) if design in DESIGNS else ():
            heard = group if isinstance(subject, Survey) else _heard(group, task)
            if heard.candidates or heard.skipped:
                name = heard.name if heard.name not in taken else f"{heard.name}-{design}"
                taken.add(name)
                possible = _possible(dataclasses.replace(heard, name=name), subject, environment)
                yield possible
        if design == "devices" and request.logical_devices > 1 and any("batch_size" in part.varies for part in speed):
            yield logical_check(task)


def _heard(group: Group, task: Task) -> Group:
    """Leave out the candidates that no comparison of the claim accepts beside the group's baseline."""
    assert group.baseline is not None
    kept = [
        case for case in group.candidates if any(comparable(group.baseline, case, part) for part in task.comparisons)
    ]
    return dataclasses.replace(group, candidates=tuple(kept))


def _possible(group: Group, subject: Claim | Survey, environment: Environment) -> Group:
    """Set aside what this machine cannot run, each case with the reason."""
    if group.baseline is None:
        return group
    reason = _why_not(group, subject, environment)
    if reason is not None:
        return dataclasses.replace(
            group, baseline=None, candidates=(), skipped=(*group.skipped, *((case, reason) for case in group.cases))
        )
    run: list[Case] = []
    skipped = list(group.skipped)
    for case in group.candidates:
        row = PLACEMENTS[case.placement]
        if not row.runs_on(case.engine):
            skipped.append((case, f"engine {case.engine} has no placement {case.placement}; {_try(row.engines)}."))
            continue
        able, unable = split_runnable([case], environment, row.device_kind)
        run += able
        skipped += unable
    baseline = group.baseline if run else None
    return dataclasses.replace(group, baseline=baseline, candidates=tuple(run), skipped=tuple(skipped))


def _try(engines: Sequence[str]) -> str:
    return f"run it with --engine {' or '.join(engines)}"


def _why_not(group: Group, subject: Claim | Survey, environment: Environment) -> str | None:
    count = len(environment.gpus)
    if count == 0 and any(PLACEMENTS[case.placement].device_kind == "gpu" for case in group.cases):
        return _NO_GPU
    problem = lacks(environment, subject) if isinstance(subject, Claim) else None
    return None if problem is None else problem.explanation

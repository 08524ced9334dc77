"""Group cases so that they can be compared: one function per design.

A design enumerates what could be compared; `rtxbench.planning.suite` keeps what a comparison of the claim accepts and
what the machine can run. Add a row to `DESIGNS` for another one.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS, default_compiler
from rtxbench.measure.groups import Group, Request, case_of, compilers_of, forms_of, on_engine
from rtxbench.placement import PLACEMENTS, batch_sharing_placement
from rtxbench.precision import PRECISIONS
from rtxbench.records import NATIVE, Case, Environment
from rtxbench.verdicts.claims import Comparison
from rtxbench.verdicts.plan_rows import PlanRow
from rtxbench.verdicts.selectors import selects
from rtxbench.workers.interpreters import why_engine_missing

__all__ = ["DESIGNS", "Task"]


class Task(NamedTuple):
    """One workload of one plan row on one machine."""

    claim: str
    row: PlanRow
    comparisons: tuple[Comparison, ...]
    """Of training throughput; empty for a survey."""
    workload: str
    request: Request
    environment: Environment

    @property
    def kind(self) -> str:
        """The best kind of device of the machine."""
        return "gpu" if self.environment.gpus else "cpu"

    def case(self, placement: str, kind: str | None = None, devices: int = 1, **changes: str) -> Case:
        """Return one case of the workload at the default batch size of a kind of device, by default the placement's."""
        kind = kind or PLACEMENTS[placement].device_kind
        return case_of(self.workload, self.request, placement=placement, kind=kind, devices=devices, **changes)

    def group(self, baseline: Case, candidates: Sequence[Case], suffix: str = "") -> Group:
        """Return a group named after claim and workload."""
        name = f"{self.claim}/{self.workload}{suffix}"
        return Group(name, self.claim, self.workload, baseline, tuple(case for case in candidates if case != baseline))


def _precisions(task: Task) -> Iterator[Group]:
    """Hold every precision against the baseline's on each single device; each compiler has a baseline of its own."""
    parts = [part for part in task.comparisons if "precision" in part.varies]
    usual = default_compiler(task.request.engine)
    for placement in ("cpu", "gpu"):
        wanted = [part for part in parts if _takes(part, placement, task.kind)]
        base = [name for part in wanted for name in PRECISIONS if selects("precision", part.baseline.precision, name)]
        for compiler in (task.request.compilers or compilers_of(task.request)) if base else ():
            suffix = "" if compiler == usual else f"-{compiler}"
            cases = [task.case(placement, precision=name, compiler=compiler) for name in PRECISIONS]
            yield task.group(task.case(placement, precision=base[0], compiler=compiler), cases, suffix)


def _takes(part: Comparison, placement: str, kind: str) -> bool:
    return selects("placement", part.baseline.placement, placement) if part.baseline.placement else placement == kind


def _placements(task: Task) -> Iterator[Group]:
    """Hold one GPU against the CPU beside it, in float32 and at the same batch."""
    on_cpu = task.case("cpu", task.row.batch_of)
    yield task.group(on_cpu, [replace(on_cpu, placement="gpu")])


def _devices(task: Task) -> Iterator[Group]:
    """Hold several GPUs against one: the same global batch (strong scaling) and the same per GPU (weak scaling)."""
    count = max(2, len(task.environment.gpus))
    one = task.case("gpu")
    several = [row for row in PLACEMENTS.values() if row.strategy != "single" and not row.over_network]
    parallel = [row for row in several if not row.functional_check]
    taken = [row for row in parallel if _any_takes(task, row.name)]
    own = [row for row in taken if row.runs_on(task.request.engine)]
    for row in own or taken[:1]:  # a placement of another engine is set aside with the reason
        many = task.case(row.name, "gpu", count)
        suffix = "" if row is (own or taken)[0] else f"-{row.name}"
        yield task.group(one, [replace(many, batch_size=one.batch_size), many], suffix)


def _any_takes(task: Task, placement: str) -> bool:
    return any(selects("placement", part.candidate.placement, placement) for part in task.comparisons)


def logical_check(task: Task) -> Group:
    """Check data parallelism on logical devices of one CPU: proof that the code runs, never evidence."""
    one = task.case("cpu")
    name = batch_sharing_placement(task.request.engine, functional_check=True)
    many = replace(one, placement=name, device_count=task.request.logical_devices)
    many = replace(many, batch_size=one.batch_size // many.device_count * many.device_count)
    return Group(f"{task.claim}-check/{task.workload}", task.claim, task.workload, one, (many,))


def _pair(task: Task) -> Iterator[Group]:
    """Hold a model against its counterpart: the candidate workload that stands where the baseline's does."""
    baseline = task.case(task.kind)
    for part in task.comparisons:
        for name, other in zip(part.baseline.workload, part.candidate.workload, strict=False):
            if "workload" in part.varies and name == task.workload:
                yield task.group(baseline, [replace(baseline, workload=other)])


def _batches(task: Task) -> Iterator[Group]:
    """Hold larger batches against the first of the row's sizes, on the best device."""
    sizes = task.row.batches.of(task.request.profile, task.kind)
    cases = [replace(task.case(task.kind), batch_size=size) for size in sizes]
    if len(cases) > 1:
        yield task.group(cases[0], cases[1:])


def _engines(task: Task) -> Iterator[Group]:
    """Hold every engine against the first, precision by precision, in each form its users reach without rewriting.

    On PyTorch Keras's layers stand beside the native model: what they cost is no property of PyTorch.
    """
    requests = [on_engine(engine, task.request) for engine in COMPILERS]
    missing = {engine: why_engine_missing(engine) for engine in COMPILERS}
    for precision in task.row.precisions.of(task.request.profile, task.kind):
        wanted = [
            case_of(task.workload, own, placement=task.kind, kind=task.kind, precision=precision, compiler=compiler)
            for own in requests
            for compiler in _forms(own)
        ]
        wanted += [replace(case, variant="") for case in wanted if case.variant == NATIVE and case.compiler == "none"]
        run = tuple(case for case in wanted if missing[case.engine] is None)
        skipped = tuple((case, reason) for case in wanted if (reason := missing[case.engine]) is not None)
        name = f"{task.claim}/{task.workload}-{precision}"
        if len({case.engine for case in run}) > 1:
            yield Group(name, task.claim, task.workload, run[0], run[1:], skipped)
        else:
            yield Group(name, task.claim, task.workload, None, (), skipped)


def _forms(request: Request) -> Sequence[str]:
    """Return the compilers asked for, else the default alone in a smoke run, else each by which users gain speed."""
    if request.profile == "smoke":
        return compilers_of(request)
    asked = [name for name in forms_of(request) if name in request.compilers]
    return asked or forms_of(request)


def _native(task: Task) -> Iterator[Group]:
    """Hold a model as PyTorch's users write it against its Keras form on PyTorch, precision by precision."""
    request = on_engine("torch", task.request)
    native = case_of(task.workload, request, placement=task.kind, kind=task.kind)
    missing = why_engine_missing("torch")
    if native.variant != NATIVE:
        return
    for precision in task.row.precisions.of(task.request.profile, task.kind):
        cases = [replace(native, precision=precision, variant=variant) for variant in ("", NATIVE)]
        name = f"{task.claim}/{task.workload}-{precision}"
        if missing is None:
            yield Group(name, task.claim, task.workload, cases[0], (cases[1],))
        else:
            yield Group(name, task.claim, task.workload, None, (), tuple((case, missing) for case in cases))


def _variants(task: Task) -> Iterator[Group]:
    """Hold a changed model against the model as built, in float32 and in the best device's reduced precision."""
    engine = next(iter(COMPILERS))
    if why_engine_missing(engine) is not None:
        return
    plain = case_of(task.workload, on_engine(engine, task.request), placement=task.kind, kind=task.kind)
    for variant in task.row.variants:
        mixed = replace(plain, precision="mixed_bfloat16")
        cases = (replace(plain, variant=variant), mixed, replace(mixed, variant=variant))
        yield Group(f"{variant}/{task.workload}", task.claim, task.workload, plain, cases)


DESIGNS: Final[dict[str, Callable[[Task], Iterator[Group]]]] = {
    "precisions": _precisions,
    "placements": _placements,
    "devices": _devices,
    "batches": _batches,
    "pair": _pair,
    "engines": _engines,
    "variants": _variants,
    "native": _native,
}

"""What is measured, per claim, on the devices found: literal plans from which cases and groups follow.

`plan` is what ``bench/`` parametrises over and ``rtxbench run`` walks through. A case that this machine cannot run,
or can run only pathologically, stays in the plan with its reason, so that a report can say why there is no figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from rtxbench.errors import UsageError
from rtxbench.placement import PLACEMENTS
from rtxbench.precision import PRECISIONS, why_not
from rtxbench.records import Case, Environment
from rtxbench.workloads import workload_named

__all__ = ["CLAIM_PLANS", "TRIAL_CLAIMS", "Group", "Request", "check", "plan"]


@dataclass(frozen=True)
class Group:
    """Cases interleaved in the same launches: the baseline and what is compared with it."""

    name: str
    """``claim/workload``, for example ``tensor-cores/resnet50``."""
    claim: str
    workload: str
    baseline: Case | None
    """``None`` where nothing of the group can run on this machine."""
    candidates: tuple[Case, ...] = ()
    skipped: tuple[tuple[Case, str], ...] = ()
    """Cases that belong here but cannot run on this machine, with the reason."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """Everything that can run, baseline first."""
        return () if self.baseline is None else (self.baseline, *self.candidates)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, beyond the profile's defaults."""

    profile: str = "quick"
    engine: str = "tensorflow"
    claims: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    compilers: tuple[str, ...] = ()
    logical_devices: int = 0
    """Above 1: also run MirroredStrategy over that many logical CPU devices, as a functional check."""
    batch_size: int | None = None


@dataclass(frozen=True)
class _Plan:
    """One claim's plan: which workloads in which profile, by device kind, and how its groups are made."""

    claim: str
    workloads: dict[str, dict[str, tuple[str, ...]]]
    """Profile → device kind → workloads."""


_SPEED = ("mlp", "mlp-wide", "cnn", "resnet50", "bert-base")
_ALL = (*_SPEED, "mobilenetv3", "convnext-tiny", "gpt2")

CLAIM_PLANS: Final[dict[str, _Plan]] = {
    row.claim: row
    for row in (
        _Plan(
            claim="tensor-cores",
            workloads={
                "smoke": {"cpu": ("mlp",), "gpu": ("mlp",)},
                "quick": {"cpu": ("mlp", "mlp-wide", "bert-small"), "gpu": ("mlp", "mlp-wide", "bert-base")},
                "standard": {"cpu": ("mlp", "mlp-wide", "bert-base"), "gpu": ("mlp", "mlp-wide", "bert-base", "gpt2")},
                "full": {
                    "cpu": ("mlp", "mlp-wide", "bert-base", "gpt2"),
                    "gpu": ("mlp", "mlp-wide", "bert-base", "gpt2"),
                },
            },
        ),
        _Plan(
            claim="vision",
            workloads={
                "smoke": {"cpu": (), "gpu": ("cnn",)},
                "quick": {"cpu": ("cnn", "resnet50-64px"), "gpu": ("cnn", "resnet50")},
                "standard": {"cpu": ("cnn", "resnet50"), "gpu": ("cnn", "resnet50", "mobilenetv3")},
                "full": {
                    "cpu": ("cnn", "resnet50", "mobilenetv3", "convnext-tiny"),
                    "gpu": ("cnn", "resnet50", "mobilenetv3", "convnext-tiny"),
                },
            },
        ),
        _Plan(
            claim="data-parallel",
            workloads={
                "smoke": {"cpu": ("mlp",), "gpu": ("mlp",)},
                "quick": {"cpu": ("mlp-wide",), "gpu": ("resnet50",)},
                "standard": {"cpu": ("mlp-wide",), "gpu": ("resnet50", "bert-base")},
                "full": {"cpu": ("mlp-wide",), "gpu": ("mlp-wide", "resnet50", "bert-base", "gpt2")},
            },
        ),
        _Plan(
            claim="model-parallel",
            workloads={
                "smoke": {"cpu": ("mlp-wide",), "gpu": ("mlp-wide",)},
                "quick": {"cpu": ("mlp-wide",), "gpu": ("mlp-wide",)},
                "standard": {"cpu": ("mlp-wide",), "gpu": ("mlp-wide", "bert-base")},
                "full": {"cpu": ("mlp-wide",), "gpu": ("mlp-wide", "bert-base", "gpt2")},
            },
        ),
        _Plan(
            claim="architecture",
            workloads={
                "smoke": {"cpu": ("conv-full",), "gpu": ("conv-full",)},
                "quick": {"cpu": ("bert-small", "conv-full"), "gpu": ("bert-base", "conv-full")},
                "standard": {"cpu": ("bert-base", "conv-full"), "gpu": ("bert-base", "conv-full")},
                "full": {"cpu": ("bert-base", "conv-full"), "gpu": ("bert-base", "conv-full")},
            },
        ),
        _Plan(
            claim="rtx-30-40",
            workloads={
                "smoke": {"cpu": ("bert-small",), "gpu": ("bert-small",)},
                "quick": {"cpu": ("bert-base",), "gpu": ("bert-base",)},
                "standard": {"cpu": ("bert-base",), "gpu": ("bert-base", "gpt2")},
                "full": {"cpu": ("bert-base", "gpt2"), "gpu": ("bert-base", "gpt2")},
            },
        ),
        _Plan(
            claim="tuning",
            workloads={
                profile: {"cpu": ("digits-cnn",), "gpu": ("digits-cnn",)}
                for profile in ("smoke", "quick", "standard", "full")
            },
        ),
    )
}
"""Claims whose evidence is training throughput. Add a row to measure another one."""

TRIAL_CLAIMS: Final = ("equal-quality", "augmentation", "tuning", "deployment", "model-parallel")
"""Claims that `rtxbench.measure.trials` measures, besides throughput or instead of it."""

_COMPILERS: Final = {
    "smoke": ("none",),
    "quick": ("none",),
    "standard": ("none", "xla"),
    "full": ("none", "xla"),
}


def plan(request: Request, environment: Environment) -> list[Group]:
    """Every group of the requested claims on this machine.

    Raises:
        UsageError: an unknown claim, workload or profile.
    """
    check(request)
    groups: list[Group] = []
    for claim in request.claims or CLAIM_PLANS:
        if claim not in CLAIM_PLANS:
            continue  # measured by a trial alone
        for workload in _workloads(claim, request, environment):
            groups += _GROUPERS[claim](workload, request, environment)
    return groups


def check(request: Request) -> None:
    """Refuse names that do not exist.

    Raises:
        UsageError: an unknown claim, workload or profile; the message offers what exists.
    """
    for claim in request.claims:
        if claim not in CLAIM_PLANS and claim not in TRIAL_CLAIMS:
            known = ", ".join(dict.fromkeys((*CLAIM_PLANS, *TRIAL_CLAIMS)))
            raise UsageError(f"nothing is measured for claim {claim!r}.", next_step=f"Choose from: {known}.")
    for workload in request.workloads:
        workload_named(workload)
    if request.profile not in _COMPILERS:
        raise UsageError(f"unknown profile {request.profile!r}.", next_step=f"Choose from: {', '.join(_COMPILERS)}.")


def _workloads(claim: str, request: Request, environment: Environment) -> Sequence[str]:
    if request.workloads:
        return request.workloads
    return CLAIM_PLANS[claim].workloads[request.profile]["gpu" if environment.gpus else "cpu"]


def _case(workload: str, request: Request, *, placement: str, kind: str, devices: int = 1, **changes: str) -> Case:
    batch_size = request.batch_size or workload_named(workload).batch_sizes[kind] * devices
    return Case(
        workload=workload,
        batch_size=batch_size,
        placement=placement,
        engine=request.engine,
        device_count=devices,
        **changes,
    )


def _split(cases: Sequence[Case], environment: Environment, kind: str) -> tuple[list[Case], list[tuple[Case, str]]]:
    """Cases that can run and those that cannot, with the reason."""
    run: list[Case] = []
    skipped: list[tuple[Case, str]] = []
    for case in cases:
        reason = why_not(
            case.precision,
            device_kind=kind,
            compiler=case.compiler,
            compute_capability=_compute_capability(environment) if kind == "gpu" else None,
        )
        run, skipped = (run, [*skipped, (case, reason)]) if reason else ([*run, case], skipped)
    return run, skipped


def _compute_capability(environment: Environment) -> float | None:
    text = environment.gpus[0].compute_capability if environment.gpus else None
    return float(text) if text else None


def _precision_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The same model in every precision on the best device; on a CPU-only machine the GPU's cases are skipped."""
    kind = "gpu" if environment.gpus else "cpu"
    compilers = request.compilers or _COMPILERS[request.profile]
    baseline = _case(workload, request, placement=kind, kind=kind)
    wanted = [
        _case(workload, request, placement=kind, kind=kind, precision=precision, compiler=compiler)
        for compiler in compilers
        for precision in PRECISIONS
    ]
    run, skipped = _split([case for case in wanted if case != baseline], environment, kind)
    if not environment.gpus:
        skipped += [
            (_case(workload, request, placement="gpu", kind="gpu", precision=precision), _NO_GPU)
            for precision in PRECISIONS
        ]
    return [Group(f"tensor-cores/{workload}", "tensor-cores", workload, baseline, tuple(run), tuple(skipped))]


def _vision_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The GPU against the CPU in float32, and mixed precision against float32 on the GPU, at the same batch size."""
    if not environment.gpus:
        baseline = _case(workload, request, placement="cpu", kind="cpu")
        wanted = [_case(workload, request, placement="cpu", kind="cpu", precision="mixed_bfloat16")]
        run, skipped = _split(wanted, environment, "cpu")
        skipped += [
            (_case(workload, request, placement="gpu", kind="cpu", precision=precision), _NO_GPU)
            for precision in ("float32", "mixed_float16")
        ]
        return [Group(f"vision/{workload}", "vision", workload, baseline, tuple(run), tuple(skipped))]
    on_cpu = _case(workload, request, placement="cpu", kind="gpu")
    on_gpu = _case(workload, request, placement="gpu", kind="gpu")
    wanted = [replace(on_gpu, precision=precision) for precision in ("mixed_float16", "mixed_bfloat16")]
    run, skipped = _split(wanted, environment, "gpu")
    return [
        Group(f"vision/{workload}", "vision", workload, on_cpu, (on_gpu,)),
        Group(f"vision-precision/{workload}", "vision", workload, on_gpu, tuple(run), tuple(skipped)),
    ]


def _data_parallel_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """One device against N: the same global batch (strong scaling) and N times it (weak scaling)."""
    count = len(environment.gpus)
    name = f"data-parallel/{workload}"
    groups = []
    if count >= 2:
        baseline = _case(workload, request, placement="gpu", kind="gpu")
        weak = _case(workload, request, placement="mirrored", kind="gpu", devices=count)
        strong = replace(weak, batch_size=baseline.batch_size)
        groups.append(Group(name, "data-parallel", workload, baseline, (strong, weak)))
    else:
        reason = "needs two NVIDIA GPUs; this machine has " + ("one." if count else "none.")
        wanted = _case(workload, request, placement="mirrored", kind="gpu", devices=2)
        groups.append(Group(name, "data-parallel", workload, None, skipped=((wanted, reason),)))
    if request.logical_devices > 1:
        groups.append(_logical_group(workload, request))
    return groups


def _logical_group(workload: str, request: Request) -> Group:
    devices = request.logical_devices
    baseline = _case(workload, request, placement="cpu", kind="cpu")
    mirrored = _case(workload, request, placement="mirrored-logical", kind="cpu", devices=devices)
    same_batch = replace(mirrored, batch_size=baseline.batch_size // devices * devices)
    return Group(f"data-parallel-check/{workload}", "data-parallel", workload, baseline, (same_batch,))


def _model_parallel_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """One device against the same model and batch split over all of them."""
    name, count = f"model-parallel/{workload}", len(environment.gpus)
    baseline = _case(workload, request, placement="gpu", kind="gpu")
    split = replace(baseline, placement="model-parallel", device_count=max(2, count))
    if count < 2:
        reason = "needs two NVIDIA GPUs; this machine has " + ("one." if count else "none.")
    elif request.engine not in PLACEMENTS["model-parallel"].engines:
        reason = f"engine {request.engine} cannot split a Keras model over devices; run it with --engine jax."
    else:
        return [Group(name, "model-parallel", workload, baseline, (split,))]
    return [Group(name, "model-parallel", workload, None, skipped=((split, reason),))]


def _architecture_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """A model against the same with less computation, at the same batch. Other workloads have no such counterpart."""
    if workload not in _CHEAPER:
        return []
    kind = "gpu" if environment.gpus else "cpu"
    baseline = _case(workload, request, placement=kind, kind=kind)
    candidate = replace(baseline, workload=_CHEAPER[workload])
    return [Group(f"architecture/{workload}", "architecture", workload, baseline, (candidate,))]


def _card_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The card against the CPU beside it, in float32, at a batch that both can train."""
    name = f"rtx-30-40/{workload}"
    on_cpu = _case(workload, request, placement="cpu", kind="cpu")
    on_gpu = replace(on_cpu, placement="gpu")
    if not environment.gpus:
        return [Group(name, "rtx-30-40", workload, None, skipped=((on_gpu, _NO_GPU),))]
    return [Group(name, "rtx-30-40", workload, on_cpu, (on_gpu,))]


def _batch_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The small digit classifier at the batch size of ``fit``'s default and at larger ones."""
    if workload != "digits-cnn":
        return []
    kind = "gpu" if environment.gpus else "cpu"
    baseline = replace(_case(workload, request, placement=kind, kind=kind), batch_size=_DEFAULT_BATCH)
    larger = tuple(replace(baseline, batch_size=size) for size in _BATCHES[request.profile][kind])
    return [Group(f"tuning/{workload}", "tuning", workload, baseline, larger)]


_CHEAPER: Final = {"bert-base": "bert-base-half", "bert-small": "bert-small-half", "conv-full": "conv-separable"}
_DEFAULT_BATCH: Final = 32
_BATCHES: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "smoke": {"cpu": (64,), "gpu": (64,)},
    "quick": {"cpu": (256,), "gpu": (256, 2048)},
    "standard": {"cpu": (64, 256, 1024), "gpu": (256, 2048, 16384)},
    "full": {"cpu": (64, 128, 256, 512, 1024, 2048), "gpu": (64, 256, 1024, 4096, 16384)},
}
_NO_GPU: Final = "no NVIDIA GPU on this machine; run the same command on one that has it."

_GROUPERS: Final = {
    "tensor-cores": _precision_groups,
    "vision": _vision_groups,
    "data-parallel": _data_parallel_groups,
    "model-parallel": _model_parallel_groups,
    "architecture": _architecture_groups,
    "rtx-30-40": _card_groups,
    "tuning": _batch_groups,
}

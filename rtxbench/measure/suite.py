"""What is measured, per claim, on the devices found: literal plans from which cases and groups follow.

`plan` is what ``bench/`` parametrises over and ``rtxbench run`` walks through. A case that this machine cannot run,
or can run only pathologically, stays in the plan with its reason, so that a report can say why there is no figure.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS
from rtxbench.errors import UsageError
from rtxbench.lookup import named, suggestion
from rtxbench.measure.engine_groups import engine_groups
from rtxbench.measure.groups import PROFILE_NAMES, Group, Request, case_of, compilers_of, on_engine, split_runnable
from rtxbench.placement import PLACEMENTS, batch_sharing_placement
from rtxbench.precision import PRECISIONS
from rtxbench.records import Environment
from rtxbench.workloads import workload_named
from rtxbench.workloads.language import LORA_BY_MEMORY

__all__ = ["ALL_ENGINES", "CLAIM_PLANS", "TRIAL_CLAIMS", "Group", "Request", "check", "plan"]


@dataclass(frozen=True)
class _Plan:
    """One claim's plan: which workloads in which profile, by device kind, and how its groups are made."""

    claim: str
    workloads: dict[str, dict[str, tuple[str, ...]]]
    """Profile → device kind → workloads."""


_SPEED = ("mlp", "mlp-wide", "cnn", "resnet50", "bert-base")
_LORA = "lora"  # the largest Llama whose LoRA fine-tuning fits the device
_ALL = (*_SPEED, "mobilenetv3", "convnext-tiny", "gpt2")

CLAIM_PLANS: Final[dict[str, _Plan]] = {
    row.claim: row
    for row in (
        _Plan(
            claim="engines",
            workloads={
                "smoke": {"cpu": ("mlp",), "gpu": ("mlp",)},
                "quick": {"cpu": ("mlp", "mlp-wide", "resnet14-64px"), "gpu": ("mlp-wide", "resnet50", "bert-base")},
                "standard": {"cpu": (*_SPEED[:3], "resnet50-64px", "bert-small"), "gpu": _SPEED},
                "full": {"cpu": _SPEED, "gpu": _ALL},
            },
        ),
        _Plan(
            claim="tensor-cores",
            workloads={
                "smoke": {"cpu": ("mlp",), "gpu": ("mlp",)},
                "quick": {"cpu": ("mlp", "mlp-wide"), "gpu": ("mlp", "mlp-wide", "bert-base")},
                "standard": {
                    "cpu": ("mlp", "mlp-wide", "bert-base", _LORA),
                    "gpu": ("mlp", "mlp-wide", "bert-base", "gpt2", _LORA),
                },
                "full": {
                    "cpu": ("mlp", "mlp-wide", "bert-base", "gpt2", _LORA, "llama-mini-lora-int8"),
                    "gpu": ("mlp", "mlp-wide", "bert-base", "gpt2", _LORA, "llama-1b-lora-int8"),
                },
            },
        ),
        _Plan(
            claim="vision",
            workloads={
                "smoke": {"cpu": (), "gpu": ("cnn",)},
                "quick": {"cpu": ("cnn", "resnet14-64px"), "gpu": ("cnn", "resnet50")},
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
                "quick": {"cpu": ("bert-mini", "conv-full"), "gpu": ("bert-base", "conv-full")},
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
"""Claims that `rtxbench.trials.table` measures, besides throughput or instead of it."""

ALL_ENGINES: Final = "all"


def plan(request: Request, environment: Environment) -> list[Group]:
    """Every group of the requested claims on this machine.

    Raises:
        UsageError: an unknown claim, workload or profile.
    """
    check(request)
    if request.engine == ALL_ENGINES:
        return _plan_for_all(request, environment)
    groups: list[Group] = []
    for claim in request.claims or CLAIM_PLANS:
        if claim not in CLAIM_PLANS:
            continue  # measured by a trial alone
        for workload in _workloads(claim, request, environment):
            groups += _GROUPERS[claim](workload, request, environment)
    return groups


def _plan_for_all(request: Request, environment: Environment) -> list[Group]:
    """The plan once per engine. Group names are unique within a run: the reference engine's are plain."""
    groups = plan(on_engine("tensorflow", request), environment)
    for engine in COMPILERS:
        if engine != "tensorflow":
            own = plan(on_engine(engine, request), environment)
            groups += [dataclasses.replace(g, name=f"{g.name}@{engine}") for g in own if g.claim != "engines"]
    return groups


def check(request: Request) -> None:
    """Refuse names that do not exist.

    Raises:
        UsageError: an unknown claim, workload, engine or profile; the message offers what exists.
    """
    named(dict.fromkeys((*COMPILERS, ALL_ENGINES)), request.engine, "engine")
    measured = dict.fromkeys((*CLAIM_PLANS, *TRIAL_CLAIMS))
    for claim in request.claims:
        if claim not in measured:  # it may well be known: not every claim can be measured
            raise UsageError(f"nothing is measured for claim {claim!r}.", next_step=suggestion(measured, claim))
    for workload in request.workloads:
        workload_named(workload)
    named(dict.fromkeys(PROFILE_NAMES), request.profile, "profile")


def _workloads(claim: str, request: Request, environment: Environment) -> Sequence[str]:
    if request.workloads:
        return request.workloads
    names = CLAIM_PLANS[claim].workloads[request.profile]["gpu" if environment.gpus else "cpu"]
    return [_lora_for(environment) if name == _LORA else name for name in names]


def _lora_for(environment: Environment) -> str:
    """The largest decoder the first GPU holds; on a CPU the scaled-down one."""
    memory_bytes = (environment.gpus[0].memory_bytes or 0) if environment.gpus else 0
    return next(name for least_bytes, name in LORA_BY_MEMORY if memory_bytes >= least_bytes)


def _precision_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The same model in every precision on the best device; on a CPU-only machine the GPU's cases are skipped."""
    kind = "gpu" if environment.gpus else "cpu"
    compilers = request.compilers or compilers_of(request)
    baseline = case_of(workload, request, placement=kind, kind=kind)
    wanted = [
        case_of(workload, request, placement=kind, kind=kind, precision=precision, compiler=compiler)
        for compiler in compilers
        for precision in PRECISIONS
    ]
    run, skipped = split_runnable([case for case in wanted if case != baseline], environment, kind)
    if not environment.gpus:
        skipped += [
            (case_of(workload, request, placement="gpu", kind="gpu", precision=precision), _NO_GPU)
            for precision in PRECISIONS
        ]
    return [Group(f"tensor-cores/{workload}", "tensor-cores", workload, baseline, tuple(run), tuple(skipped))]


def _vision_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The GPU against the CPU in float32, and mixed precision against float32 on the GPU, at the same batch size."""
    if not environment.gpus:
        baseline = case_of(workload, request, placement="cpu", kind="cpu")
        wanted = [case_of(workload, request, placement="cpu", kind="cpu", precision="mixed_bfloat16")]
        run, skipped = split_runnable(wanted, environment, "cpu")
        skipped += [
            (case_of(workload, request, placement="gpu", kind="cpu", precision=precision), _NO_GPU)
            for precision in ("float32", "mixed_float16")
        ]
        return [Group(f"vision/{workload}", "vision", workload, baseline, tuple(run), tuple(skipped))]
    on_cpu = case_of(workload, request, placement="cpu", kind="gpu")
    on_gpu = case_of(workload, request, placement="gpu", kind="gpu")
    wanted = [replace(on_gpu, precision=precision) for precision in ("mixed_float16", "mixed_bfloat16")]
    run, skipped = split_runnable(wanted, environment, "gpu")
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
        baseline = case_of(workload, request, placement="gpu", kind="gpu")
        weak = case_of(workload, request, placement=batch_sharing_placement(request.engine), kind="gpu", devices=count)
        strong = replace(weak, batch_size=baseline.batch_size)
        groups.append(Group(name, "data-parallel", workload, baseline, (strong, weak)))
    else:
        reason = "needs two NVIDIA GPUs; this machine has " + ("one." if count else "none.")
        wanted = case_of(workload, request, placement=batch_sharing_placement(request.engine), kind="gpu", devices=2)
        groups.append(Group(name, "data-parallel", workload, None, skipped=((wanted, reason),)))
    if request.logical_devices > 1:
        groups.append(_logical_group(workload, request))
    return groups


def _logical_group(workload: str, request: Request) -> Group:
    devices = request.logical_devices
    baseline = case_of(workload, request, placement="cpu", kind="cpu")
    placement = batch_sharing_placement(request.engine, functional_check=True)
    parallel = case_of(workload, request, placement=placement, kind="cpu", devices=devices)
    same_batch = replace(parallel, batch_size=baseline.batch_size // devices * devices)
    return Group(f"data-parallel-check/{workload}", "data-parallel", workload, baseline, (same_batch,))


def _model_parallel_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """One device against the same model and batch split over all of them."""
    name, count = f"model-parallel/{workload}", len(environment.gpus)
    baseline = case_of(workload, request, placement="gpu", kind="gpu")
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
    baseline = case_of(workload, request, placement=kind, kind=kind)
    candidate = replace(baseline, workload=_CHEAPER[workload])
    return [Group(f"architecture/{workload}", "architecture", workload, baseline, (candidate,))]


def _card_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The card against the CPU beside it, in float32, at a batch that both can train."""
    name = f"rtx-30-40/{workload}"
    on_cpu = case_of(workload, request, placement="cpu", kind="cpu")
    on_gpu = replace(on_cpu, placement="gpu")
    if not environment.gpus:
        return [Group(name, "rtx-30-40", workload, None, skipped=((on_gpu, _NO_GPU),))]
    return [Group(name, "rtx-30-40", workload, on_cpu, (on_gpu,))]


def _batch_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The small digit classifier at the batch size of ``fit``'s default and at larger ones."""
    if workload != "digits-cnn":
        return []
    kind = "gpu" if environment.gpus else "cpu"
    baseline = replace(case_of(workload, request, placement=kind, kind=kind), batch_size=_DEFAULT_BATCH)
    larger = tuple(replace(baseline, batch_size=size) for size in _BATCHES[request.profile][kind])
    return [Group(f"tuning/{workload}", "tuning", workload, baseline, larger)]


_CHEAPER: Final = {
    "bert-base": "bert-base-half",
    "bert-small": "bert-small-half",
    "bert-mini": "bert-mini-half",
    "conv-full": "conv-separable",
}
_DEFAULT_BATCH: Final = 32
_BATCHES: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "smoke": {"cpu": (64,), "gpu": (64,)},
    "quick": {"cpu": (256,), "gpu": (256, 2048)},
    "standard": {"cpu": (64, 256, 1024), "gpu": (256, 2048, 16384)},
    "full": {"cpu": (64, 128, 256, 512, 1024, 2048), "gpu": (64, 256, 1024, 4096, 16384)},
}
_NO_GPU: Final = "no NVIDIA GPU on this machine; run the same command on one that has it."

_GROUPERS: Final = {
    "engines": engine_groups,
    "tensor-cores": _precision_groups,
    "vision": _vision_groups,
    "data-parallel": _data_parallel_groups,
    "model-parallel": _model_parallel_groups,
    "architecture": _architecture_groups,
    "rtx-30-40": _card_groups,
    "tuning": _batch_groups,
}

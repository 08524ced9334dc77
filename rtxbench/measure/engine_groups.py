"""The engines side by side: one workload, one batch, one precision, every engine this machine can start."""

from typing import Final

from msgspec.structs import replace

from rtxbench.engines.refusals import COMPILERS
from rtxbench.measure.groups import Group, Request, case_of, compilers_of, on_engine, split_runnable
from rtxbench.precision import PRECISIONS
from rtxbench.records import Environment
from rtxbench.workers.interpreters import why_engine_missing

__all__ = ["engine_groups"]

_ENGINE_PRECISIONS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "smoke": {"cpu": ("float32",), "gpu": ("float32",)},
    "quick": {"cpu": ("float32",), "gpu": ("float32", "mixed_bfloat16")},
    "standard": {"cpu": ("float32", "mixed_bfloat16"), "gpu": tuple(PRECISIONS)},
    "full": {"cpu": ("float32", "mixed_bfloat16"), "gpu": tuple(PRECISIONS)},
}


def engine_groups(workload: str, request: Request, environment: Environment) -> list[Group]:
    """The same model and batch on every engine, each compiled as its users run it, precision by precision."""
    kind = "gpu" if environment.gpus else "cpu"
    requests = [on_engine(engine, request) for engine in COMPILERS]
    missing = {engine: why_engine_missing(engine) for engine in COMPILERS}
    groups = []
    for precision in _ENGINE_PRECISIONS[request.profile][kind]:
        wanted = [
            case_of(workload, own, placement=kind, kind=kind, precision=precision, compiler=compiler)
            for own in requests
            for compiler in compilers_of(own)
        ]
        run, skipped = split_runnable([case for case in wanted if missing[case.engine] is None], environment, kind)
        skipped += [(case, reason) for case in wanted if (reason := missing[case.engine]) is not None]
        comparable = len({case.engine for case in run}) > 1
        baseline, candidates = (run[0], tuple(run[1:])) if comparable else (None, ())
        groups.append(
            Group(f"engines/{workload}-{precision}", "engines", workload, baseline, candidates, tuple(skipped))
        )
    return groups + _fused_norm_group(workload, request, environment, missing["tensorflow"])


def _fused_norm_group(workload: str, request: Request, environment: Environment, missing: str | None) -> list[Group]:
    """What Keras's written-out batch normalisation costs on TensorFlow, and hides of mixed precision's gain."""
    if workload not in _NORMALIZED or missing is not None:
        return []
    if request.profile in ("smoke", "quick") and not request.workloads:
        return []  # four builds of a deep network: minutes, so only on request
    kind = "gpu" if environment.gpus else "cpu"
    plain = case_of(workload, on_engine("tensorflow", request), placement=kind, kind=kind)
    mixed = replace(plain, precision="mixed_bfloat16")
    wanted = [replace(plain, variant="fused-norm"), mixed, replace(mixed, variant="fused-norm")]
    run, skipped = split_runnable(wanted, environment, kind)
    return [Group(f"fused-norm/{workload}", "engines", workload, plain, tuple(run), tuple(skipped))]


_NORMALIZED: Final = ("resnet50", "resnet50-64px", "resnet14-64px")

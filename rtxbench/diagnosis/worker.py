"""The process that gathers evidence: ``python -m rtxbench.diagnosis.worker ENGINE``.

It answers three requests: measure the ceilings of a device, profile one step of a case, or name that step's kernels.
Apart from the measuring workers, because profilers and ``ONEDNN_VERBOSE=1`` would slow what those time.
"""

import sys
from collections.abc import Callable
from statistics import median
from typing import Final, TypeAlias

import msgspec

from rtxbench.diagnosis.ceilings import ProductFormat, measure_ceilings
from rtxbench.diagnosis.scaling import LINK_SIZES_BYTES
from rtxbench.diagnosis.step_profile import ProfileFinding, capture_onednn, kernels_of, profile_gpu
from rtxbench.engines.contract import Engine
from rtxbench.engines.controls import device_controls
from rtxbench.engines.nodes.step import RunsOnNodes
from rtxbench.engines.step_work import CountsGradients, CountsWork, StepWork
from rtxbench.errors import UnavailableError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import Case
from rtxbench.workers.protocol import Close, Failed, Ready
from rtxbench.workers.serving import serve

__all__ = [
    "EVIDENCE_REPLIES",
    "CaseRequest",
    "CeilingRequest",
    "EvidenceFigure",
    "FiguresReply",
    "KernelNames",
    "KernelRequest",
    "main",
]


class CeilingRequest(msgspec.Struct, frozen=True, kw_only=True, tag="ceilings"):
    """Measure the ceilings of one kind of device."""

    kind: str
    precisions: tuple[str, ...]
    budget_s: float


class CaseRequest(msgspec.Struct, frozen=True, kw_only=True, tag="case"):
    """Count and profile one step of a case."""

    case: Case


class KernelRequest(msgspec.Struct, frozen=True, kw_only=True, tag="kernels"):
    """Name the kernels of one step of a case."""

    case: Case


class KernelNames(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The kernels of three profiled steps: name, calls, seconds of all calls."""

    kernels: tuple[tuple[str, int, float], ...]


class EvidenceFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, or none with its reason."""

    metric: str
    values: tuple[float, ...]
    labels: dict[str, str] = {}
    reason: str | None = None


class FiguresReply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The figures that one request found."""

    figures: tuple[EvidenceFigure, ...]


EvidenceRequest: TypeAlias = CeilingRequest | CaseRequest | KernelRequest
_REQUESTS: Final[msgspec.json.Decoder[EvidenceRequest | Close]] = msgspec.json.Decoder(EvidenceRequest | Close)
EVIDENCE_REPLIES: Final[msgspec.json.Decoder[FiguresReply | KernelNames | Ready | Failed]] = msgspec.json.Decoder(
    FiguresReply | KernelNames | Ready | Failed
)


def _ceilings(engine: Engine, request: CeilingRequest) -> tuple[EvidenceFigure, ...]:
    controls = device_controls(engine, request.kind)
    rows = [precision_named(name) for name in request.precisions]
    formats = [ProductFormat(row.name, row.dtype, row.tf32) for row in rows]
    found = measure_ceilings(formats, request.budget_s, controls)
    labels = {"engine": engine.name, "kind": request.kind}
    return tuple(
        EvidenceFigure(metric=c.metric, values=c.values, labels={**labels, **c.labels}, reason=c.reason) for c in found
    )


def _case(engine: Engine, request: CaseRequest) -> tuple[EvidenceFigure, ...]:
    step = engine.build(request.case, 0)
    figures: list[EvidenceFigure] = []
    placement = placement_named(request.case.placement)
    if isinstance(step, RunsOnNodes):
        found = [ProfileFinding("matrix_unit_time_ratio", None, "its ranks are processes of their own")]
        figures += _link(step)
    elif placement.device_kind == "gpu":
        found = profile_gpu(engine.name, step, request.case.precision)
    else:
        found = capture_onednn(step)
    figures += [_figure(metric, value, how) for metric, value, how in found]
    known = {figure.metric for figure in figures}
    work = step.work() if isinstance(step, CountsWork) else StepWork(None, None, None, _UNCOUNTED)
    counted = {
        "kernels_per_step": work.kernels,
        "traffic_bytes_per_step": work.traffic_bytes,
        "unaligned_flops_ratio": work.unaligned_flops_ratio,
    }
    figures += [_figure(metric, value, work.how) for metric, value in counted.items() if metric not in known]
    if placement.all_reduces and isinstance(step, CountsGradients):
        figures.append(_figure("gradient_bytes_per_step", *step.gradient_bytes()))
    return tuple(figures)


def _link(step: RunsOnNodes) -> list[EvidenceFigure]:
    """Time the step's own all-reduce over sizes, and at the size of its gradients: the ceiling of the link."""
    gradient = step.gradient_bytes().value if isinstance(step, CountsGradients) else None
    figures = []
    for size in LINK_SIZES_BYTES:
        times = tuple(step.all_reduce_s(size, _LINK_REPEATS))
        figures.append(EvidenceFigure(metric="link_all_reduce_s", values=times, labels={"bytes": str(size)}))
    if gradient:
        typical_s = median(step.all_reduce_s(int(gradient), _LINK_REPEATS))
        how = "the gradients' bytes ÷ the median time of summing as many over the same ranks, with nothing beside"
        figures.append(_figure("all_reduce_bytes_per_s", gradient / typical_s, how))
    return figures


_LINK_REPEATS: Final = 5
_UNCOUNTED = "this engine cannot count the work of a step placed so"


def _figure(metric: str, value: float | None, how: str) -> EvidenceFigure:
    if value is None:
        return EvidenceFigure(metric=metric, values=(), reason=how)
    return EvidenceFigure(metric=metric, values=(value,), labels={"method": how})


def _kernels(engine: Engine, case: Case) -> KernelNames:
    """List the kernels of a case's step, the one that took longest first.

    Raises:
        UnavailableError: a processor runs no kernels that a profiler would name.
    """
    if placement_named(case.placement).device_kind != "gpu":
        raise UnavailableError("kernel names are asked of a GPU alone.", next_step="Run it where there is one.")
    seconds: dict[str, list[float]] = {}
    for name, duration_s in kernels_of(engine.name, engine.build(case, 0)):
        seconds.setdefault(name, []).append(duration_s)
    longest_first = sorted(seconds.items(), key=lambda entry: -sum(entry[1]))
    return KernelNames(kernels=tuple((name, len(calls), sum(calls)) for name, calls in longest_first))


def _answerer(engine: Engine) -> Callable[[EvidenceRequest], FiguresReply | KernelNames]:
    def answer(request: EvidenceRequest) -> FiguresReply | KernelNames:
        """Measure what a request asks for: kernels of a case, its counts, or the ceilings of the device."""
        if isinstance(request, KernelRequest):
            return _kernels(engine, request.case)
        if isinstance(request, CaseRequest):
            return FiguresReply(figures=_case(engine, request))
        return FiguresReply(figures=_ceilings(engine, request))

    return answer


def main() -> None:
    """Serve requests on stdin until it closes."""
    serve(sys.argv[1], _REQUESTS, _answerer)


if __name__ == "__main__":
    main()

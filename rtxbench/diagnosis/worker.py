"""The process that gathers evidence: ``python -m rtxbench.diagnosis.worker ENGINE``, one JSON line per answer.

It reads requests from stdin until it closes: ``{"ceilings": {…}}`` or ``{"case": {…}}``. Apart from the measuring
workers, because profilers and ``ONEDNN_VERBOSE=1`` would slow what those time.
"""

import os
import sys
from typing import Any, TypeAlias

import msgspec

from rtxbench.diagnosis.ceilings import ProductFormat, measure_ceilings
from rtxbench.diagnosis.step_profile import capture_onednn, profile_gpu
from rtxbench.engines import load_engine
from rtxbench.engines.base import Engine
from rtxbench.engines.controls import device_controls
from rtxbench.engines.step_work import KnowsItsGradients, KnowsItsWork, StepWork
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import Case

__all__ = ["Answer", "CaseRequest", "CeilingRequest", "EvidenceFigure", "main"]


class CeilingRequest(msgspec.Struct, frozen=True, kw_only=True, tag="ceilings"):
    """Measure the ceilings of one kind of device."""

    kind: str
    precisions: tuple[str, ...]
    budget_s: float


class CaseRequest(msgspec.Struct, frozen=True, kw_only=True, tag="case"):
    """Count and profile one step of a case."""

    case: Case


class EvidenceFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, or none with its reason."""

    metric: str
    values: tuple[float, ...]
    labels: dict[str, str] = {}
    reason: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one request found, or why it failed altogether."""

    figures: tuple[EvidenceFigure, ...] = ()
    failure: str | None = None


Request: TypeAlias = CeilingRequest | CaseRequest
_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


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
    if placement_named(request.case.placement).device_kind == "gpu":
        found = profile_gpu(engine.name, step, request.case.precision)
    else:
        found = capture_onednn(step)
    figures += [_figure(metric, value, how) for metric, value, how in found]
    known = {figure.metric for figure in figures}
    work = step.work() if isinstance(step, KnowsItsWork) else StepWork(None, None, None, _UNCOUNTED)
    counted = {
        "kernels_per_step": work.kernels,
        "traffic_bytes_per_step": work.traffic_bytes,
        "unaligned_flops_ratio": work.unaligned_flops_ratio,
    }
    figures += [_figure(metric, value, work.how) for metric, value in counted.items() if metric not in known]
    if placement_named(request.case.placement).all_reduces and isinstance(step, KnowsItsGradients):
        figures.append(_figure("gradient_bytes_per_step", *step.gradient_bytes()))
    return tuple(figures)


_UNCOUNTED = "this engine cannot count the work of a step placed so"


def _figure(metric: str, value: float | None, how: str) -> EvidenceFigure:
    if value is None:
        return EvidenceFigure(metric=metric, values=(), reason=how)
    return EvidenceFigure(metric=metric, values=(value,), labels={"method": how})


def main() -> None:
    """Answer requests on stdin; what the framework prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    engine: Any = None
    for line in sys.stdin.buffer:
        try:
            engine = engine or load_engine(sys.argv[1])
            request = _decoder.decode(line)
            if isinstance(request, CaseRequest):
                answer = Answer(figures=_case(engine, request))
            else:
                answer = Answer(figures=_ceilings(engine, request))
        except Exception as error:  # frameworks raise anything; it becomes the reason of the missing evidence
            text = str(error).strip().splitlines()
            answer = Answer(failure=f"{type(error).__name__}: {text[0][:300] if text else ''}")
        replies.write(msgspec.json.encode(answer) + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()

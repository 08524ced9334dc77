"""The process that trains: ``python -m rtxbench.measure.worker ENGINE``, driven line by line.

It owns one engine and any number of built arms, runs what it is told and reports the clock.
"""

import gc
import math
import sys
import time
from typing import Final

from rtxbench.engines.contract import Engine, EngineFigure, HasNotes, TrainStep
from rtxbench.engines.nodes.step import RunsOnNodes
from rtxbench.engines.waiting import refuse_unfinished
from rtxbench.errors import MeasurementError
from rtxbench.measure.own_memory import NOT_ALONE, peak_alone, resident_bytes
from rtxbench.workers.protocol import (
    MEASURING_REQUESTS,
    Block,
    Build,
    Built,
    Describe,
    Described,
    Reply,
    Request,
    Timed,
)
from rtxbench.workers.serving import serve
from rtxbench.workloads.own import is_own

__all__ = ["Worker", "main"]


_ELSEWHERE: Final = EngineFigure(None, "its ranks are processes of their own, on several nodes")


class Worker:
    """Answers requests with one engine. Knows nothing of pipes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._steps: dict[str, Build] = {}
        self._built: dict[str, TrainStep] = {}
        self._peaks: dict[str, EngineFigure] = {}
        self._idle_bytes = resident_bytes()

    def answer(self, request: Request) -> Reply:
        """Do what is asked."""
        match request:
            case Build():
                return self._build(request)
            case Block():
                return self._block(request)
            case Describe():
                return self._describe(request)
        raise AssertionError(request)

    def _build(self, request: Build) -> Built:
        start = time.monotonic()
        step = self._engine.build(request.case, request.seed)
        built = time.monotonic()
        step.activate()
        step.run(1)
        first = time.monotonic()
        alone = not self._built
        elsewhere = isinstance(step, RunsOnNodes)
        self._steps[request.arm] = request
        self._built[request.arm] = step
        peak = _ELSEWHERE if elsewhere else NOT_ALONE
        if alone and not elsewhere:
            peak = peak_alone(self._engine, step, request.case, self._idle_bytes)
        self._peaks[request.arm] = peak
        if self._engine.name == "python" or is_own(request.case.workload):  # somebody else's code takes part
            refuse_unfinished(step.run, request.case.workload)
        return Built(build_s=built - start, first_step_s=first - built)

    def _block(self, request: Block) -> Timed:
        step = self._built[request.arm]
        step.activate()
        if request.lead_in:
            step.run(request.lead_in)
        gc.disable()  # a collection inside one arm's block would be charged to it
        try:
            start_ns = time.monotonic_ns()
            step.run(request.steps)
            end_ns = time.monotonic_ns()
        finally:
            gc.enable()
        return Timed(start_ns=start_ns, end_ns=end_ns)

    def _describe(self, request: Describe) -> Described:
        step, case = self._built[request.arm], self._steps[request.arm].case
        loss = step.loss()
        if loss is not None and not math.isfinite(loss):  # JSON has no such number: it would arrive as "none reported"
            raise MeasurementError(
                f"the loss became {loss}.", next_step="Lower the learning rate, or use mixed_bfloat16."
            )
        peak = self._peaks[request.arm]
        missing = {} if peak.value is not None else {"peak_memory_bytes": peak.how}
        how = peak.how if peak.value is not None else None
        if not request.thorough:
            return Described(loss=loss, peak_memory_bytes=peak.value, peak_memory_method=how, missing=missing)
        flops, error = step.flops(), self._engine.matmul_error(case)
        convolution = self._engine.convolution_error(case)
        missing |= {} if convolution.value is not None else {"convolution_relative_error": convolution.how}
        missing |= {} if flops.value is not None else {"flops_per_step": flops.how}
        missing |= {} if error.value is not None else {"matmul_relative_error": error.how}
        return Described(
            loss=loss,
            peak_memory_bytes=peak.value,
            peak_memory_method=how,
            flops_per_step=flops.value,
            flops_method=flops.how if flops.value is not None else None,
            notes=step.notes() if isinstance(step, HasNotes) else {},
            nodes=tuple(step.nodes()) if isinstance(step, RunsOnNodes) else (),
            matmul_relative_error=error.value,
            convolution_relative_error=convolution.value,
            missing=missing,
        )


def main() -> None:
    """Serve requests on stdin until it closes."""
    serve(sys.argv[1], MEASURING_REQUESTS, lambda engine: Worker(engine).answer)


if __name__ == "__main__":
    main()

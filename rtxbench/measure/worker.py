"""The process that trains: ``python -m rtxbench.measure.worker ENGINE``, driven line by line.

It owns one engine and any number of built arms, runs what it is told and reports the clock. It sleeps in a pipe read
between requests, so that workers which wait do not disturb the one that is measured. It ends when its stdin closes,
hence also when the coordinator dies.
"""

import gc
import os
import sys
import time
from typing import BinaryIO

from rtxbench.engines import load_engine
from rtxbench.engines.base import Engine, Noted, TrainStep
from rtxbench.errors import RtxbenchError
from rtxbench.workers.protocol import (
    Block,
    Build,
    Built,
    Close,
    Describe,
    Described,
    Failed,
    Ready,
    Reply,
    Request,
    Timed,
    decode_request,
    encode,
)

__all__ = ["Worker", "main"]


class Worker:
    """Answers requests with one engine. Knows nothing of pipes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._steps: dict[str, Build] = {}
        self._built: dict[str, TrainStep] = {}

    def ready(self) -> Ready:
        """The greeting."""
        devices = tuple((device.kind, device.description or device.name) for device in self._engine.devices())
        return Ready(engine=self._engine.name, versions=self._engine.versions(), devices=devices)

    def answer(self, request: Request) -> Reply:
        """Do what is asked; every failure becomes a `Failed`, so that one arm cannot take the others down."""
        try:
            match request:
                case Build():
                    return self._build(request)
                case Block():
                    return self._block(request)
                case Describe():
                    return self._describe(request)
                case Close():
                    os._exit(0)  # a framework's own teardown takes seconds and has nothing left to save
        except RtxbenchError as error:
            return Failed(kind=type(error).__name__, message=error.message, next_step=error.next_step)
        except Exception as error:  # frameworks raise anything; the coordinator stores it as the case's reason
            text = str(error).strip().splitlines()
            return Failed(
                kind=type(error).__name__,
                message=f"{type(error).__name__}: {text[0][:300] if text else ''}",
                next_step="See the worker's log for the traceback.",
            )

    def _build(self, request: Build) -> Built:
        start = time.monotonic()
        step = self._engine.build(request.case, request.seed)
        built = time.monotonic()
        step.activate()
        step.run(1)
        first = time.monotonic()
        self._steps[request.arm] = request
        self._built[request.arm] = step
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
        peak = self._engine.peak_memory()
        missing = {} if peak.value is not None else {"peak_memory_bytes": peak.how}
        if not request.thorough:
            return Described(loss=step.loss(), peak_memory_bytes=peak.value, missing=missing)
        flops, error = step.flops(), self._engine.matmul_error(case)
        missing |= {} if flops.value is not None else {"flops_per_step": flops.how}
        missing |= {} if error.value is not None else {"matmul_relative_error": error.how}
        return Described(
            loss=step.loss(),
            peak_memory_bytes=peak.value,
            flops_per_step=flops.value,
            flops_method=flops.how if flops.value is not None else None,
            notes=step.notes() if isinstance(step, Noted) else {},
            matmul_relative_error=error.value,
            missing=missing,
        )


def _serve(engine_name: str, requests: BinaryIO, replies: BinaryIO) -> None:
    def send(reply: Reply) -> None:
        replies.write(encode(reply))
        replies.flush()

    try:
        worker = Worker(load_engine(engine_name))
        send(worker.ready())
    except RtxbenchError as error:
        send(Failed(kind=type(error).__name__, message=error.message, next_step=error.next_step))
        return
    for line in requests:
        send(worker.answer(decode_request(line)))


def main() -> None:
    """Serve requests on stdin until it closes. Whatever the framework prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a framework's chatter on stdout must not corrupt the protocol
    _serve(sys.argv[1], sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()

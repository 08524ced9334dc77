"""Drive one worker process: start it, ask it, notice when it hangs or dies.

Workers speak JSON lines over pipes (`rtxbench.workers.protocol`), not pickles over `multiprocessing.connection`: a
worker may run another interpreter, with other versions of every library, or be the gate's, which knows no rtxbench.
"""

import contextlib
import os
import selectors
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from rtxbench.errors import MeasurementError, RtxbenchError, UnavailableError, UsageError, WorkerLostError
from rtxbench.processes import ChildProcess
from rtxbench.workers.protocol import MEASURING_REPLIES, Close, Failed, Ready, encode

__all__ = ["RestartingWorker", "WorkerProcess", "WorkerSpec", "process_environment", "threads_of"]

_START_LIMIT_S: Final = 300.0
_CLOSE_LIMIT_S: Final = 5.0
_Reply = TypeVar("_Reply", bound=msgspec.Struct)


@dataclass(frozen=True)
class WorkerSpec:
    """The command and environment of a worker. Arms with equal specs may share a process."""

    engine: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables set on top of the coordinator's own."""
    directory: Path | None = None
    """Working directory, for a user's own step."""
    command: tuple[str, ...] = ()
    """Arguments of ``python`` that start the worker; empty for the measuring one (`rtxbench.measure.worker`)."""


class WorkerProcess:
    """A worker process. Construction starts it; the first request waits until it is ready.

    Args:
        spec: how to start it.
        replies: decodes its replies; those of the measuring worker if not given.
    """

    def __init__(self, spec: WorkerSpec, replies: "msgspec.json.Decoder[Any]" = MEASURING_REPLIES) -> None:
        self.spec = spec
        self._replies = replies
        self._process = ChildProcess(_command(spec), process_environment(spec), directory=spec.directory)
        self._asked_at = 0
        """Bytes of its log when it was last asked."""
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._ready: Ready | None = None
        self._posted: dict[bytes, msgspec.Struct | MeasurementError | None] = {}
        self._lost: WorkerLostError | None = None

    @property
    def pid(self) -> int:
        """Process id, for the recorder to watch."""
        return self._process.pid

    def await_ready(self) -> Ready:
        """Wait for the worker's greeting, once; a worker that fails to give it is ended.

        Raises:
            UnavailableError: the engine cannot start.
            WorkerLostError: the process died or said nothing in time.
        """
        if self._ready is None:
            try:
                self._ready = self._receive(Ready, _START_LIMIT_S)
            except BaseException as error:
                self._lost = self._lost or WorkerLostError(f"the worker did not start: {error}", next_step="")
                self.kill()
                raise
        return self._ready

    def ask(self, request: msgspec.Struct, expected: type[_Reply], limit_s: float) -> _Reply:
        """Send one request and wait for its reply, ``limit_s`` seconds at most.

        Raises:
            RtxbenchError: of the class the worker names, when the request failed.
            WorkerLostError: the worker died or hung.
            MeasurementError: it broke the protocol.
        """
        if self._lost is not None:
            raise self._lost
        self.await_ready()
        line = encode(request)
        if line in self._posted:
            self.settle(limit_s)
            return _expected(self._posted.pop(line), expected)
        try:
            self._write(line)
        except OSError as error:
            raise self._died() from error
        return self._receive(expected, limit_s)

    def post(self, request: msgspec.Struct) -> None:
        """Send a request without waiting; a later `ask` with the same request collects the reply."""
        line = encode(request)
        with contextlib.suppress(OSError):  # a dead worker: `settle` finds no reply and keeps the reason
            self._write(line)
        self._posted[line] = None

    def settle(self, limit_s: float) -> bool:
        """Wait until everything posted is answered, ``limit_s`` seconds each; what failed is kept for `ask` to raise.

        Returns:
            Whether nothing failed.
        """
        for line in [line for line, reply in self._posted.items() if reply is None]:
            try:
                self._posted[line] = self._read_reply(limit_s)
            except MeasurementError as error:
                self._posted[line] = error
        return not any(isinstance(reply, Failed | MeasurementError) for reply in self._posted.values())

    def close(self) -> None:
        """End the worker in good order, by force after five seconds."""
        with contextlib.suppress(OSError, ValueError):  # it is gone already; kill() below is certain
            self._process.stdin.write(encode(Close()))
            self._process.stdin.close()
            self._process.wait(_CLOSE_LIMIT_S)
        self.kill()

    def kill(self) -> None:
        """End the worker at once and free what it held."""
        self._selector.close()
        self._process.end()

    def interrupt(self) -> None:
        """End the process from another thread than the one that waits for its reply, which then learns of it."""
        self._process.kill()

    def _write(self, line: bytes) -> None:
        self._asked_at = self._process.log_bytes()
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _receive(self, expected: type[_Reply], limit_s: float) -> _Reply:
        return _expected(self._read_reply(limit_s), expected)

    def _read_reply(self, limit_s: float) -> msgspec.Struct:
        if self._lost is not None:
            raise self._lost
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                self._process.kill()  # a reply that comes late would answer the next request
                self._lost = WorkerLostError(
                    f"the worker said nothing for {limit_s:.0f} s.",
                    next_step="A smaller batch or workload may help; a hung driver needs a reboot.",
                )
                raise self._lost
            chunk = os.read(self._process.stdout, 65536)
            if not chunk:
                raise self._died()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            reply: msgspec.Struct = self._replies.decode(line)
        except msgspec.MsgspecError as error:
            raise MeasurementError(
                f"the worker broke the protocol: {error}.", next_step="Report this with the command you ran."
            ) from error
        return reply

    def _died(self) -> WorkerLostError:
        if self._lost is None:
            self._lost = WorkerLostError(
                f"the worker process died ({self._process.ending(self._asked_at)}).",
                next_step="Lower the batch size, or run `rtxbench doctor`.",
            )
        return self._lost


class RestartingWorker:
    """A worker process that is started when it is first asked, and again after it was lost.

    Args:
        spec: how to start it.
        replies: decodes its replies.
    """

    def __init__(self, spec: WorkerSpec, replies: "msgspec.json.Decoder[Any]") -> None:
        self._spec = spec
        self._replies = replies
        self._worker: WorkerProcess | None = None
        self._stopped = threading.Event()

    @property
    def pid(self) -> int | None:
        """Process id, ``None`` while no process runs."""
        return None if self._worker is None else self._worker.pid

    def ask(self, request: msgspec.Struct, expected: type[_Reply], limit_s: float) -> _Reply:
        """Send one request and wait for its reply, as `WorkerProcess.ask` does; end a worker that gave none."""
        worker = self._worker = self._worker or WorkerProcess(self._spec, self._replies)
        if self._stopped.is_set():
            worker.interrupt()
        answered = False
        try:
            reply = worker.ask(request, expected, limit_s)
            answered = True
        except WorkerLostError:
            raise
        except RtxbenchError:
            answered = True  # it refused this request, and serves the next
            raise
        finally:
            if not answered:
                self.close()  # a reply that comes late would answer the next request
        return reply

    def close(self) -> None:
        """End the process, if one runs."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def interrupt(self) -> None:
        """End the process from another thread than the one that waits for its reply; it is not to be asked again."""
        self._stopped.set()
        worker = self._worker
        if worker is not None:
            worker.interrupt()


@contextmanager
def threads_of(workers: Sequence[RestartingWorker], most: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield threads to ask workers from; at the end, also after Ctrl-C, no thread and no process is left.

    Args:
        workers: that are asked.
        most: as many threads; by default one per worker.
    """
    pool = ThreadPoolExecutor(max(1, most or len(workers)))
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.interrupt()
        pool.shutdown(wait=True)
        for worker in workers:
            worker.close()


def _command(spec: WorkerSpec) -> list[str]:
    # A file of the working folder named like a library must not take its place, unless a user's own step lies there.
    isolation = () if spec.engine == "python" else ("-P",)
    return [spec.python, *isolation, *(spec.command or ("-m", "rtxbench.measure.worker", spec.engine))]


_UNSET: Final = ("TF_USE_CUBLASLT",)
"""TensorFlow's cublasLt path caches a product's plan without TF32 in its key: the second arm multiplies as the first
(tensorflow/core/kernels/matmul_util.cc)."""


def process_environment(spec: WorkerSpec) -> dict[str, str]:
    """Return all variables of a process that trains: this one's, what holds for every engine, and the spec's."""
    fixed = {
        # CUDA's own order is by speed; NVML's is by bus. One order, or the trace is of another card.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    backend = {} if spec.engine == "python" else {"KERAS_BACKEND": spec.engine}
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return {**kept, **fixed, **backend, **spec.environment}


def _expected(reply: msgspec.Struct | MeasurementError | None, expected: type[_Reply]) -> _Reply:
    if isinstance(reply, MeasurementError):
        raise reply
    if isinstance(reply, Failed):
        raise _translated(reply)
    if not isinstance(reply, expected):
        raise MeasurementError(
            f"the worker answered {type(reply).__name__} instead of {expected.__name__}.",
            next_step="Worker and coordinator must be of one rtxbench version.",
        )
    return reply


def _translated(failure: Failed) -> RtxbenchError:
    known: dict[str, type[RtxbenchError]] = {kind.__name__: kind for kind in (UsageError, UnavailableError)}
    return known.get(failure.kind, MeasurementError)(failure.message, next_step=failure.next_step)

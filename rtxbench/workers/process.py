"""The coordinator's end of one worker process: start it, ask it, notice when it hangs or dies."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from rtxbench.errors import MeasurementError, RtxbenchError, UnavailableError, UsageError
from rtxbench.workers.protocol import Close, Failed, Ready, Reply, Request, decode_reply, encode

__all__ = ["WorkerProcess", "WorkerSpec", "how_it_ended"]

_START_LIMIT_S = 300.0
_STDERR_TAIL_BYTES = 2000
_LAST_LINE_LENGTH = 200
_AnyReply = TypeVar("_AnyReply", bound=Reply)


@dataclass(frozen=True)
class WorkerSpec:
    """How to start a worker. Arms with equal specs may share a process."""

    engine: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables set on top of the coordinator's own."""
    directory: Path | None = None
    """Working directory, for a user's own step."""
    command: tuple[str, ...] = ()
    """Arguments of ``python`` that start the worker; empty for rtxbench's own (`rtxbench.measure.worker`)."""


class WorkerProcess:
    """One running worker; it starts at once and is waited for where it is first asked."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [spec.python, *(spec.command or ("-m", "rtxbench.measure.worker", spec.engine))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(spec),
            cwd=spec.directory,
            start_new_session=True,  # Ctrl-C reaches the coordinator alone, which then ends its workers
        )
        self._asked_at = 0
        """Bytes of its log when it was last asked."""
        self._buffer = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout(), selectors.EVENT_READ)
        self._ready: Ready | None = None
        self._posted: dict[bytes, Reply | MeasurementError | None] = {}
        self._hung: MeasurementError | None = None

    @property
    def pid(self) -> int:
        """Process id, for the recorder to watch."""
        return self._process.pid

    def await_ready(self) -> Ready:
        """The worker's greeting, waited for once; a worker that fails to give it is ended.

        Raises:
            UnavailableError: the engine cannot start.
            MeasurementError: the process died or said nothing in time.
        """
        if self._ready is None:
            try:
                self._ready = self._receive(Ready, _START_LIMIT_S)
            except BaseException:
                self.kill()
                raise
        return self._ready

    def ask(self, request: Request, expected: type[_AnyReply], limit_s: float) -> _AnyReply:
        """Send one request and wait for its reply, ``limit_s`` seconds at most.

        Raises:
            RtxbenchError: of the class the worker names, when the request failed.
            MeasurementError: the worker died, hung, or broke the protocol.
        """
        self.await_ready()
        line = encode(request)
        if line in self._posted:
            self.settle(limit_s)
            return _expected(self._posted.pop(line), expected)
        try:
            self._write(line)
        except OSError as error:
            raise (self._hung or self._died()) from error
        return self._receive(expected, limit_s)

    def post(self, request: Request) -> None:
        """Send a request that a later `ask` will repeat: the worker is at it while others are at theirs."""
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
                self._posted[line] = self._read_reply(time.monotonic() + limit_s, limit_s)
            except MeasurementError as error:
                self._posted[line] = error
        return not any(isinstance(reply, Failed | MeasurementError) for reply in self._posted.values())

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._asked_at = os.fstat(self._log.fileno()).st_size
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def close(self) -> None:
        """End the worker in good order, by force after five seconds."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(encode(Close()))
            self._process.stdin.close()
            self._process.wait(timeout=5)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            pass  # it is being ended anyway; kill() below is certain
        self.kill()

    def kill(self) -> None:
        """End the worker at once and free its pipes."""
        self._end()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # unsent bytes to a dead worker
        self._log.close()

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the helpers that a user's step may have started
        self._process.wait()

    def _stdout(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _receive(self, expected: type[_AnyReply], limit_s: float) -> _AnyReply:
        return _expected(self._read_reply(time.monotonic() + limit_s, limit_s), expected)

    def _read_reply(self, deadline: float, limit_s: float) -> Reply:
        if self._hung is not None:
            raise self._hung
        while b"\n" not in self._buffer:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                self._end()  # a reply that comes late would answer the next request
                self._hung = MeasurementError(
                    f"the worker said nothing for {limit_s:.0f} s.",
                    next_step="A smaller batch or workload may help; a hung driver needs a reboot.",
                )
                raise self._hung
            chunk = os.read(self._stdout(), 65536)
            if not chunk:
                raise self._died()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return decode_reply(line)
        except msgspec.MsgspecError as error:
            raise MeasurementError(
                f"the worker broke the protocol: {error}.", next_step="Report this with the command you ran."
            ) from error

    def _died(self) -> MeasurementError:
        ending = how_it_ended(self._process.wait(), self._log, self._asked_at)
        return MeasurementError(
            f"the worker process died ({ending}).",
            next_step="Lower the batch size, or run `rtxbench doctor`.",
        )


def how_it_ended(status: int, log: IO[bytes], since: int) -> str:
    """Exit status or signal of a process, and the last line it printed; what it printed earlier was no cry for help.

    Args:
        status: as `subprocess` returns it; negative for a signal.
        log: what the process printed, open for reading.
        since: bytes the log had when the process was given what it died of.
    """
    log.seek(max(since, log.seek(0, os.SEEK_END) - _STDERR_TAIL_BYTES))
    lines = log.read().decode(errors="replace").strip().splitlines()
    last = lines[-1].strip()[:_LAST_LINE_LENGTH] if lines else "it printed nothing"
    if status == -signal.SIGKILL:
        return f"killed, most likely for lack of memory: {last}"
    if status < 0:
        with contextlib.suppress(ValueError):  # a signal without a name
            return f"{signal.Signals(-status).name}: {last}"
    return f"exit status {status}: {last}"


def _environment(spec: WorkerSpec) -> dict[str, str]:
    fixed = {
        # CUDA's own order is by speed; NVML's is by bus. One order, or the trace is of another card.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    backend = {} if spec.engine == "python" else {"KERAS_BACKEND": spec.engine}
    return {**os.environ, **fixed, **backend, **spec.environment}


def _expected(reply: Reply | MeasurementError | None, expected: type[_AnyReply]) -> _AnyReply:
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

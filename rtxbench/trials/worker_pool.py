"""The coordinator's end of the trial workers (`rtxbench.trials.server`). Imports no engine."""

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from typing import IO, Final

import msgspec

from rtxbench.errors import MeasurementError
from rtxbench.trials.messages import TrialFailed, TrialReply, TrialRequest, decode_trial_reply, encode_trial
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import how_it_ended

__all__ = ["TrialCrew", "TrialWorker", "answer_of"]

_CREW_MOST: Final = 4
"""Each holds a framework of half a gigabyte."""


class TrialWorker:
    """A worker process that is started when it is first asked, and again after it died.

    Args:
        engine: tensorflow, jax or torch, as ``KERAS_BACKEND``.
        variables: of the process's environment, on top of the coordinator's own.
    """

    def __init__(self, engine: str, variables: Mapping[str, str] | None = None) -> None:
        self._engine = engine
        self._variables = variables or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._asked_at = 0
        self._buffer = b""
        self._killed = False

    @property
    def pid(self) -> int | None:
        """Process id, ``None`` while no process runs."""
        return None if self._process is None else self._process.pid

    def ask(self, request: TrialRequest, limit_s: float = 900.0) -> TrialReply:
        """Send one request and wait for its reply.

        Raises:
            MeasurementError: the worker died (out of memory, most often) or said nothing for ``limit_s`` seconds.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert self._log is not None
        self._asked_at = os.fstat(self._log.fileno()).st_size
        try:
            process.stdin.write(encode_trial(request))
            process.stdin.flush()
        except OSError as error:
            raise self._died() from error
        try:
            return self._reply(process, time.monotonic() + limit_s, limit_s)
        except BaseException:
            self.close()  # a reply that comes late would answer the next request
            raise

    def close(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        self._buffer = b""

    def kill(self) -> None:
        """End the process from another thread than the one that waits for its reply, which then learns of it.

        A process that is being started meanwhile ends as well; the worker is not to be asked again.
        """
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        spec = worker_spec(self._engine)
        environment = {
            **os.environ,
            **spec.environment,
            **self._variables,
            "KERAS_BACKEND": self._engine,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        self._process = subprocess.Popen(
            [spec.python, "-m", "rtxbench.trials.server", self._engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the coordinator alone, which then ends its worker
        )
        if self._killed:
            self._process.kill()
        return self._process

    def _reply(self, process: "subprocess.Popen[bytes]", deadline: float, limit_s: float) -> TrialReply:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise MeasurementError(
                        f"the trial worker said nothing for {limit_s:.0f} s.",
                        next_step="A smaller profile may help; a hung driver needs a reboot.",
                    )
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    raise self._died()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return decode_trial_reply(line)
        except msgspec.MsgspecError as error:
            raise MeasurementError(
                f"the trial worker broke the protocol: {error}.", next_step="Report this with the command you ran."
            ) from error

    def _died(self) -> MeasurementError:
        assert self._process is not None
        assert self._log is not None
        ending = how_it_ended(self._process.wait(), self._log, self._asked_at)
        self.close()
        return MeasurementError(
            f"the trial worker died ({ending}).",
            next_step="Lower the batch size, or run `rtxbench doctor`.",
        )


def answer_of(ask: Callable[[TrialRequest], TrialReply], request: TrialRequest) -> TrialReply:
    """The reply; a worker that died becomes a `TrialFailed`, so that the other trials go on."""
    try:
        return ask(request)
    except MeasurementError as error:
        return TrialFailed(key=request.key, kind="died", message=error.message, next_step=error.next_step)


class TrialCrew:
    """Several trial workers that share the cores of a CPU, for trainings whose times nobody reads.

    A small network cannot keep several cores busy: workers with fewer threads each get more done together.

    Args:
        engine: tensorflow, jax or torch.
        cores: usable ones of this machine; a crew needs two.
    """

    def __init__(self, engine: str, cores: int) -> None:
        self._engine = engine
        self._size = min(cores, _CREW_MOST)
        threads = str(max(1, cores // self._size))
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        self._variables = dict.fromkeys(names, threads)

    def answers(self, requests: Sequence[TrialRequest]) -> Iterator[tuple[int, TrialReply]]:
        """(Index of the request, reply) as they come. The workers end with the last one, or with the iterator."""
        workers = [TrialWorker(self._engine, self._variables) for _ in range(min(self._size, len(requests)))]
        free: SimpleQueue[TrialWorker] = SimpleQueue()
        for worker in workers:
            free.put(worker)

        def answer(index: int) -> tuple[int, TrialReply]:
            worker = free.get()
            try:
                return index, answer_of(worker.ask, requests[index])
            finally:
                free.put(worker)

        pool = ThreadPoolExecutor(len(workers))
        try:
            for future in as_completed([pool.submit(answer, index) for index in range(len(requests))]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.kill()
            pool.shutdown(wait=True)
            for worker in workers:
                worker.close()

"""The coordinator's end of the trial workers (`rtxbench.trials.server`). Imports no engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from queue import SimpleQueue
from typing import Final, cast

from rtxbench.errors import RtxbenchError, WorkerLostError
from rtxbench.trials.messages import TRIAL_REPLIES, TrialFailed, TrialMessage, TrialReply, TrialRequest
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import RestartingWorker, threads_of

__all__ = ["TrialWorker", "WorkerPool", "answer_of"]

_CREW_MOST: Final = 4
"""Each holds a framework of half a gigabyte."""
_TRIAL_LIMIT_S: Final = 900.0


class TrialWorker(RestartingWorker):
    """A worker process for trials, restarted after it was lost.

    Args:
        engine: tensorflow, jax or torch.
        variables: of the process's environment, on top of the coordinator's own.
    """

    def __init__(self, engine: str, variables: Mapping[str, str] | None = None) -> None:
        spec = worker_spec(engine)
        environment = {**spec.environment, **(variables or {})}
        command = ("-m", "rtxbench.trials.server", engine)
        super().__init__(replace(spec, environment=environment, command=command), TRIAL_REPLIES)

    def result(self, request: TrialRequest) -> TrialReply:
        """Send one request and wait for its result.

        Raises:
            WorkerLostError: the worker died (out of memory, most often) or said nothing for a quarter of an hour.
            RtxbenchError: the request failed.
        """
        return cast(TrialReply, self.ask(request, TrialMessage, _TRIAL_LIMIT_S))


def answer_of(ask: Callable[[TrialRequest], TrialReply], request: TrialRequest) -> TrialReply:
    """Ask, and turn a failure into a `TrialFailed`, so that the other trials go on."""
    try:
        return ask(request)
    except RtxbenchError as error:
        lost = isinstance(error, WorkerLostError)
        return TrialFailed(key=request.key, worker_lost=lost, message=error.message, next_step=error.next_step)


class WorkerPool:
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
        """Yield (index of the request, reply) as they come. The workers end with the last one, or with the iterator."""
        workers = [TrialWorker(self._engine, self._variables) for _ in range(min(self._size, len(requests)))]
        free: SimpleQueue[TrialWorker] = SimpleQueue()
        for worker in workers:
            free.put(worker)

        def answer(index: int) -> tuple[int, TrialReply]:
            """Have a free worker answer one request; returns the request's place with its answer."""
            worker = free.get()
            try:
                return index, answer_of(worker.result, requests[index])
            finally:
                free.put(worker)

        with threads_of(workers) as pool:
            for future in as_completed([pool.submit(answer, index) for index in range(len(requests))]):
                yield future.result()

"""The largest batch that a case trains at: real training steps, each try in a process of its own."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.errors import OutOfMemoryError, RtxbenchError, WorkerLostError
from rtxbench.measure.paired.arms import BUILD_LIMIT_S
from rtxbench.records import Case
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import WorkerProcess
from rtxbench.workers.protocol import Block, Build, Built, Describe, Described, Timed

__all__ = ["SEARCH_S", "LargestBatch", "Try", "largest_batch", "try_batch"]

SEARCH_S: Final = {"smoke": 0.0, "quick": 40.0, "standard": 300.0, "full": 1200.0}
"""Profile → seconds for one precision's search; what they did not suffice for is said as "at least"."""
_RESOLUTION: Final = 8
"""The search ends when the bracket is an eighth of the batch: finer differences change nothing for a user."""
_GROWTH: Final = 16.0
"""No try is more than so many times the last that fitted: memory need not grow in proportion."""


_STEPS: Final = 4
"""Steps of a try: what of it grows with the batch."""


class Try(NamedTuple):
    """One batch, and whether its training steps fitted."""

    batch_size: int
    fits: bool
    peak_bytes: float | None = None
    """Peak of the process; ``None`` where it is not known."""
    seconds: float = 0.0
    """Process, model and steps."""
    step_s: float = 0.0
    """One step of it."""
    reason: str = ""
    """Cause, where it did not fit."""


class LargestBatch(NamedTuple):
    """The outcome of a search."""

    tries: tuple[Try, ...]
    ended: str
    """``memory``: found; ``time``: larger ones may fit; else why the search broke off."""

    @property
    def best(self) -> Try | None:
        """The largest that fitted."""
        return max((t for t in self.tries if t.fits), key=lambda t: t.batch_size, default=None)


def try_batch(case: Case) -> Try:
    """Build the case in a fresh process and train a few steps.

    Raises:
        RtxbenchError: it fails for another reason than memory.
    """
    began = time.monotonic()
    worker = WorkerProcess(worker_spec(case.engine))
    try:
        worker.ask(Build(arm="batch", case=case, seed=0), Built, BUILD_LIMIT_S)
        timed = worker.ask(Block(arm="batch", steps=1), Timed, BUILD_LIMIT_S)
        said = worker.ask(Describe(arm="batch"), Described, BUILD_LIMIT_S)
    except (OutOfMemoryError, WorkerLostError) as error:  # the system ends a process that takes too much
        return Try(case.batch_size, fits=False, seconds=time.monotonic() - began, reason=str(error))
    finally:
        worker.close()
    seconds, step_s = time.monotonic() - began, (timed.end_ns - timed.start_ns) / 1e9
    return Try(case.batch_size, fits=True, peak_bytes=said.peak_memory_bytes, seconds=seconds, step_s=step_s)


def largest_batch(
    case: Case,
    limit_bytes: float | None,
    budget_s: float,
    attempt: Callable[[Case], Try] = try_batch,
    *,
    fails_safely: bool = True,
) -> LargestBatch:
    """Find the largest batch of a case by trying: larger ones by the memory still free, then the middle of the bracket.

    Args:
        case: its batch size is the first that is tried.
        limit_bytes: memory there is; ``None`` where nobody knows.
        budget_s: no try is begun that is expected to end later.
        attempt: tries one.
        fails_safely: whether too large a batch costs no more than its own process, as on a GPU. In host memory it
            costs the whole machine: there, none is tried that is expected not to fit.
    """
    tries: list[Try] = []
    batch: int | str = case.batch_size
    while isinstance(batch, int):
        try:
            tries.append(_within(attempt(replace(case, batch_size=batch)), limit_bytes if fails_safely else None))
        except RtxbenchError as error:
            return LargestBatch(tuple(tries), str(error))
        batch = _next(tries, limit_bytes, budget_s, fails_safely=fails_safely)
    return LargestBatch(tuple(tries), batch)


def _within(tried: Try, limit_bytes: float | None) -> Try:
    """Call a batch too large whose peak is above the card's memory: its driver pages to the host's (WSL2, Windows)."""
    if not tried.fits or limit_bytes is None or (tried.peak_bytes or 0.0) <= limit_bytes:
        return tried
    return tried._replace(fits=False, reason="its peak is above the card's memory: memory is paged to the host")


def _next(tries: list[Try], limit_bytes: float | None, budget_s: float, *, fails_safely: bool) -> int | str:
    """Choose the next batch, or say why there is none."""
    low = max((t for t in tries if t.fits), key=lambda t: t.batch_size, default=None)
    high = min((t.batch_size for t in tries if not t.fits), default=None)
    if low is None:
        return "memory" if high == 1 or high is None else high // 2
    if high is not None:
        wanted = (low.batch_size + high) // 2
        if high - low.batch_size <= max(1, low.batch_size // _RESOLUTION):
            return "memory"
    else:
        wanted = _larger(low, limit_bytes)
        nearly = low.batch_size + max(1, low.batch_size // _RESOLUTION)
        if wanted < nearly and not fails_safely:
            return "memory"
        wanted = max(wanted, nearly)
    expected_s = low.seconds + _STEPS * low.step_s * max(0.0, wanted / low.batch_size - 1)
    return wanted if sum(t.seconds for t in tries) + expected_s <= budget_s else "time"


def _larger(low: Try, limit_bytes: float | None) -> int:
    """Scale the batch by the memory there is: weights do not grow with it, so this is rather too little."""
    if not low.peak_bytes or limit_bytes is None:
        return 2 * low.batch_size
    larger = int(low.batch_size * min(_GROWTH, limit_bytes / low.peak_bytes))
    return larger // _RESOLUTION * _RESOLUTION if larger > 2 * _RESOLUTION else larger

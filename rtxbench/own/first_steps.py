"""The first steps of a case, one by one: does it train to the same loss, and does every step leave memory behind?"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import psutil

from rtxbench.measure.paired.arms import BUILD_LIMIT_S
from rtxbench.records import Case
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import WorkerProcess
from rtxbench.workers.protocol import Block, Build, Built, Describe, Described, Timed

__all__ = [
    "FIRST_STEPS",
    "LEAK_BYTES",
    "SAME_LOSS_RATIO",
    "FirstSteps",
    "first_steps",
    "largest_difference",
    "leak_bytes_per_step",
]

FIRST_STEPS: Final = 20
"""Few enough to cost little, enough for a step that trains something else to show."""
SAME_LOSS_RATIO: Final = 0.05
"""Two runs from one seed whose losses stay this close are said to train alike; the figure is always given."""
_SETTLED: Final = 10
"""Steps after which allocators hold what they need."""
LEAK_BYTES: Final = 256 * 1024
"""Growth per step below which a process's memory is noise."""
_ARM: Final = "first-steps"


class FirstSteps(NamedTuple):
    """Losses and memory after each of the first steps."""

    losses: tuple[float, ...]
    memory_bytes: tuple[float, ...]
    """The worker process's resident memory; what is left behind on a GPU does not show in it."""


def first_steps(case: Case, steps: int = FIRST_STEPS, start: Callable[[], WorkerProcess] | None = None) -> FirstSteps:
    """Train a case's first steps in a fresh process, always from the same seed.

    Raises:
        RtxbenchError: the case cannot be built or run.
    """
    worker = WorkerProcess(worker_spec(case.engine)) if start is None else start()
    losses: list[float] = []
    memory: list[float] = []
    try:
        worker.ask(Build(arm=_ARM, case=case, seed=0), Built, BUILD_LIMIT_S)
        for number in range(steps):
            if number:
                worker.ask(Block(arm=_ARM, steps=1), Timed, BUILD_LIMIT_S)
            said = worker.ask(Describe(arm=_ARM), Described, BUILD_LIMIT_S)
            if said.loss is None:
                break  # a step without a loss, or one that is not finite: there is nothing to compare
            losses.append(said.loss)
            memory.append(float(psutil.Process(worker.pid).memory_info().rss))
    finally:
        worker.close()
    return FirstSteps(tuple(losses), tuple(memory))


def largest_difference(reference: Sequence[float], losses: Sequence[float]) -> float:
    """Largest distance of two sequences of losses, relative to the largest of the reference."""
    scale = max(abs(value) for value in reference) or 1.0
    return max(abs(a - b) for a, b in zip(reference, losses, strict=False)) / scale


def leak_bytes_per_step(memory_bytes: Sequence[float]) -> float | None:
    """Memory that every step leaves behind; ``None`` where it does not grow steadily once allocators have settled."""
    settled = memory_bytes[_SETTLED:]
    grown = [after - before for before, after in pairwise(settled)]
    if not grown or sum(change > 0 for change in grown) < len(grown) - 1:
        return None
    mean = sum(grown) / len(grown)
    return mean if mean >= LEAK_BYTES else None

"""Measure how much of a training loop is spent waiting for the next batch."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

__all__ = ["InputWait", "input_wait"]

_Batch = TypeVar("_Batch")


class InputWait(NamedTuple):
    """Result of `input_wait`; all seconds are totals over the counted steps."""

    wait_s: float
    total_s: float
    steps: int

    @property
    def ratio(self) -> float:
        """Share of the loop's time spent waiting: the observation ``input_wait_ratio``."""
        return self.wait_s / self.total_s


def input_wait(batches: Iterator[_Batch], step: Callable[[_Batch], Any], steps: int, lead_in: int = 2) -> InputWait:
    """Run a training loop and time its waits for input.

    Args:
        batches: the input pipeline; must yield at least ``lead_in + steps`` batches.
        step: one training step that returns when the device has finished. Without that, a slow device would make
            the pipeline look fast.
        steps: counted steps.
        lead_in: steps before, for tracing and for filling the pipeline's buffers.
    """
    for _ in range(lead_in):
        step(next(batches))
    wait_s = 0.0
    start = time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        wait_s += time.perf_counter() - asked
        step(batch)
    return InputWait(wait_s, time.perf_counter() - start, steps)

"""One rank's share of a step over several machines: what every engine's share hands to the step that it wraps."""

import time
from collections.abc import Callable
from typing import Any

from rtxbench.engines.contract import EngineFigure, HasNotes, TrainStep
from rtxbench.engines.step_work import CountsGradients

__all__ = ["Share", "timed_repeats"]


class Share:
    """A share that is, but for its collectives, the step that an engine built on this rank."""

    def __init__(self, step: TrainStep, all_reduce: str) -> None:
        self._step = step
        self._all_reduce = all_reduce

    def activate(self) -> None:
        """Set the case's process-wide switches."""
        self._step.activate()

    def run(self, steps: int) -> None:
        """Run ``steps`` steps together with the other ranks; returns when this rank's device has finished."""
        self._step.run(steps)

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        return self._step.loss()

    def flops(self) -> EngineFigure:
        """Count one step of all ranks, as far as the wrapped step knows them."""
        return self._step.flops()

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots on this rank."""
        return self._step.state_bytes()

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of this rank's gradients."""
        assert isinstance(self._step, CountsGradients)
        return self._step.gradient_bytes()

    def notes(self) -> dict[str, str]:
        """Note the means of the collectives beside what the model notes."""
        own = self._step.notes() if isinstance(self._step, HasNotes) else {}
        return own | {"all-reduce": self._all_reduce}


def timed_repeats(work: Callable[[], Any], repeats: int) -> list[float]:
    """Time each of ``repeats`` calls, in seconds, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times[1:]

"""A measuring worker whose engine sleeps instead of training: ``run`` and ``bench`` can be killed a thousand times.

Coordinator, recorder, protocol and worker process are the real ones; only the framework is stood in for, whose import
alone would take longer than all that is tested. What it measures is never evidence of anything.
"""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from rtxbench.engines.contract import Device, Engine, EngineFigure, TrainStep
from rtxbench.measure.worker import Worker
from rtxbench.records import Case
from rtxbench.workers.protocol import MEASURING_REQUESTS
from rtxbench.workers.serving import serve

__all__ = ["main", "write_interpreter"]

_STEP_S: Final = 0.0005
_UNKNOWN: Final = EngineFigure(None, "nothing is computed here")


class _SleepingStep:
    def activate(self) -> None:
        """Nothing to switch."""

    def run(self, steps: int) -> None:
        """Sleep so many steps long."""
        time.sleep(steps * _STEP_S)

    def loss(self) -> float | None:
        """None: nothing is learnt."""
        return None

    def flops(self) -> EngineFigure:
        """None: nothing is computed."""
        return _UNKNOWN

    def state_bytes(self) -> EngineFigure:
        """None: nothing is held."""
        return _UNKNOWN


class _SleepingEngine:
    def __init__(self, name: str) -> None:
        self.name = name

    def versions(self) -> dict[str, str]:
        """None."""
        return {}

    def devices(self) -> list[Device]:
        """Name the host alone."""
        return [Device("host", "cpu")]

    def build(self, case: Case, seed: int) -> TrainStep:
        """Return a step that sleeps."""
        return _SleepingStep()

    def matmul_error(self, case: Case) -> EngineFigure:
        """None."""
        return _UNKNOWN

    def convolution_error(self, case: Case) -> EngineFigure:
        """None."""
        return _UNKNOWN

    def peak_memory(self) -> EngineFigure:
        """None."""
        return _UNKNOWN

    def reset_peak_memory(self) -> None:
        """Nothing to reset."""

    def set_tf32(self, allowed: bool) -> None:
        """Nothing to set."""

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate nothing."""
        return nullcontext()


def write_interpreter(path: Path) -> None:
    """Write a program that takes an engine's Python's place (``RTXBENCH_PYTHON_TENSORFLOW``) and serves this engine."""
    serving = "from rtxbench.robustness.stand_in import main; main()"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -c "{serving}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def main() -> None:
    """Serve requests on stdin until it closes; the last argument names the engine that is stood in for."""
    serve(sys.argv[-1], MEASURING_REQUESTS, lambda engine: Worker(engine).answer, _engine)


def _engine(name: str) -> Engine:
    return _SleepingEngine(name)

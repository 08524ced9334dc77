"""A user's own step: no framework, just ``module:function``, so that a project can measure its own training loop.

The workload's name is ``module:function``; the function takes no argument and returns ``step``, a callable that
runs one whole, synchronised step each time it is called.
"""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from importlib import import_module
from inspect import isawaitable
from typing import Any, cast

from rtxbench.engines.contract import Device, Engine, EngineFigure, TrainStep
from rtxbench.engines.failures import translated
from rtxbench.errors import MeasurementError, UsageError
from rtxbench.records import Case

__all__ = ["create"]

_UNKNOWN = "a user's own step: rtxbench does not look inside it"


def create() -> Engine:
    """Create the engine of user steps."""
    return _PythonEngine()


class _PythonStep:
    def __init__(self, step: Callable[[], Any]) -> None:
        self._step = step
        self._result: Any = None

    def activate(self) -> None:
        """Nothing to switch."""

    def run(self, steps: int) -> None:
        """Call the step so often; it returns when its device has finished."""
        for _ in range(steps):
            self._result = self._step()
        if isawaitable(self._result) or isinstance(self._result, Future):
            raise MeasurementError(
                f"the step returned {type(self._result).__name__}, which is still to be awaited.",
                next_step="Return when the work is done: asyncio.run(…), or result() of the future.",
            )

    def loss(self) -> float | None:
        """Return what the step returned, if that is a number."""
        return float(self._result) if isinstance(self._result, int | float) else None

    def flops(self) -> EngineFigure:
        """Not known of a user's step."""
        return EngineFigure(None, _UNKNOWN)

    def state_bytes(self) -> EngineFigure:
        """Not known of a user's step."""
        return EngineFigure(None, _UNKNOWN)


class _PythonEngine:
    name = "python"

    def versions(self) -> dict[str, str]:
        """None: the step's libraries are its owner's."""
        return {}

    def devices(self) -> list[Device]:
        """List the host: what else a step uses is not known."""
        return [Device("host", "cpu")]

    def build(self, case: Case, seed: int) -> TrainStep:
        """Import ``module:function`` and call it once; the seed is the step's own affair."""
        return _PythonStep(_load_step(case.workload))

    def matmul_error(self, case: Case) -> EngineFigure:
        """Not known of a user's step."""
        return EngineFigure(None, _UNKNOWN)

    def convolution_error(self, case: Case) -> EngineFigure:
        """Not known of a user's step."""
        return EngineFigure(None, _UNKNOWN)

    def peak_memory(self) -> EngineFigure:
        """Not known of a user's step."""
        return EngineFigure(None, _UNKNOWN)

    def reset_peak_memory(self) -> None:
        """Nothing to reset."""

    def set_tf32(self, allowed: bool) -> None:
        """Do nothing: a user's step chooses its own precision."""

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate nothing but Python's own ``MemoryError``: what else a user's code raises is its owner's to read."""
        return translated("the step")


def _load_step(target: str) -> Callable[[], Any]:
    module_name, _, function_name = target.partition(":")
    if not function_name:
        raise UsageError(f"{target!r} is not module:function.", next_step="Name your step as package.module:function.")
    try:
        step = getattr(import_module(module_name), function_name)()
    except Exception as error:  # a user's code may raise anything; it becomes one clear failure
        raise MeasurementError(
            f"{target} could not be built: {type(error).__name__}: {error}.",
            next_step="Run it by hand in the same environment; it must return a callable that runs one step.",
        ) from error
    if not callable(step):
        raise MeasurementError(
            f"{target} returned {type(step).__name__}, not a callable.",
            next_step="Return a function that runs one synchronised step.",
        )
    return cast(Callable[[], Any], step)

"""The contract of an engine. The worker process owns one; nothing above this package imports a framework."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rtxbench.records import Case

__all__ = ["Device", "DeviceControls", "Engine", "EngineFigure", "HasNotes", "TrainStep"]


class EngineFigure(NamedTuple):
    """A figure an engine may not be able to give: the value or ``None``, and the method or the reason."""

    value: float | None
    how: str
    """Method by which the value was obtained; where it is ``None``, the reason."""


class Device(NamedTuple):
    """One device as the engine numbers it."""

    name: str
    """Name that the engine gives it, for example ``/physical_device:GPU:0``."""
    kind: str
    """cpu or gpu."""
    description: str = ""


class TrainStep(Protocol):
    """A built training step of one case with its batch already on the device."""

    def activate(self) -> None:
        """Set the process-wide switches of this case (TF32). Called before each of its blocks, untimed."""

    def run(self, steps: int) -> None:
        """Run ``steps`` training steps and return when the device has finished the last one."""

    def loss(self) -> float | None:
        """Loss of the last step run; ``None`` where a step reports none."""

    def flops(self) -> EngineFigure:
        """Floating-point operations of one training step (forward, backward, update) over all devices."""

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots on one device."""


@runtime_checkable
class HasNotes(Protocol):
    """A `TrainStep` with something to say about how it runs that no figure shows."""

    def notes(self) -> dict[str, str]:
        """Topic → note, for example ``attention`` → the kernel it is computed with."""


class Engine(Protocol):
    """One framework behind Keras 3."""

    name: str

    def versions(self) -> dict[str, str]:
        """Libraries the engine was built or started with: CUDA, cuDNN, oneDNN switches."""

    def devices(self) -> list[Device]:
        """Devices the engine sees in this process.

        Raises:
            UnavailableError: the engine cannot start.
        """

    def build(self, case: Case, seed: int) -> TrainStep:
        """Build model, optimizer, batch and step for ``case`` (its workload is looked up in `WORKLOADS`).

        Same seed, same initial weights and batch.

        Raises:
            UnavailableError: the case asks for a device or feature that is not there.
            MeasurementError: out of device memory.
        """

    def matmul_error(self, case: Case) -> EngineFigure:
        """Relative error of a matrix product in the case's precision on its device, against float64.

        This is the proof that a precision switch was really thrown: about 1e-7 for float32, 3e-4 for TF32 and
        float16, 2e-3 for bfloat16.
        """

    def convolution_error(self, case: Case) -> EngineFigure:
        """Measure the same for a convolution, which libraries compute by kernels of their own."""

    def peak_memory(self) -> EngineFigure:
        """Read the allocator's own peak in bytes on the busiest device since `reset_peak_memory`."""

    def reset_peak_memory(self) -> None:
        """Forget the peak so far: `peak_memory` then tells of what comes after."""

    def set_tf32(self, allowed: bool) -> None:
        """Let this process's float32 matrix products and convolutions round to TF32, or forbid it."""

    def translated_errors(self) -> AbstractContextManager[None]:
        """Raise rtxbench's errors in place of the framework's (see `rtxbench.engines.failures.translated`)."""


@dataclass(frozen=True, kw_only=True)
class DeviceControls:
    """Functions an engine lends so that ceilings can be measured without knowing the engine."""

    kind: str
    """cpu or gpu."""
    scope: Callable[[], Any]
    """Context manager that places what is computed inside on the device."""
    synchronize: Callable[[Any], None]
    """Return when the device has finished computing the given tensor."""
    set_tf32: Callable[[bool], None]
    trace: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]
    """Compile a function as the engine's training steps are, so that no Python runs between its operations."""
    fuses: bool
    """A traced chain of small operations becomes one kernel."""
    all_reduce: Callable[[int], None] | None = None
    """All-reduce so many bytes per device and wait; ``None`` with one device, or where the engine cannot lend it."""

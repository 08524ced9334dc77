"""Describe a training step's demands besides FLOPs: kernels, memory traffic, shapes. An optional capability."""

from typing import NamedTuple, Protocol, runtime_checkable

from rtxbench.engines.contract import EngineFigure

__all__ = ["CountsGradients", "CountsWork", "StepWork"]


class StepWork(NamedTuple):
    """Counted on the traced step. ``None`` where the engine cannot say; ``how`` gives the method or the reason."""

    kernels: float | None
    """Operations that run as a kernel of their own, before any fusion."""
    traffic_bytes: float | None
    """Bytes read and written if every operation reads its inputs from memory and writes its outputs to it."""
    unaligned_flops_ratio: float | None
    """Share of FLOPs in products with a channel count that is no multiple of 8, as float16 Tensor Cores want it."""
    how: str


@runtime_checkable
class CountsWork(Protocol):
    """A `rtxbench.engines.contract.TrainStep` that can also say what its step asks of the device."""

    def work(self) -> StepWork:
        """Count the work of one step."""


@runtime_checkable
class CountsGradients(Protocol):
    """A `rtxbench.engines.contract.TrainStep` that can also say how large its gradients are."""

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of gradients one replica makes in a step: what data parallelism sums over the devices."""

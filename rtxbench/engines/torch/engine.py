"""Keras 3 on PyTorch: eager or through ``torch.compile``, one device or DistributedDataParallel.

The loop is Keras's own for this backend: forward, ``backward()`` on the scaled loss, gradients read off the
parameters, the optimizer applied without recording. CUDA runs asynchronously, so ``run`` synchronises the device.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from rtxbench.engines.backend import import_keras
from rtxbench.engines.contract import Device, Engine, EngineFigure, TrainStep
from rtxbench.engines.keras_model import convolution_relative_error, matmul_relative_error
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.step import NodesStep
from rtxbench.engines.refusals import refuse, way_of
from rtxbench.engines.torch.ddp import DdpStep
from rtxbench.engines.torch.nodes import TorchShare
from rtxbench.engines.torch.replica import build_replica, translated_errors
from rtxbench.engines.torch.tf32 import set_tf32
from rtxbench.errors import UnavailableError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import Case

__all__ = ["STRATEGIES", "create"]

_SWITCHES: Final = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS")


def create() -> Engine:
    """Import PyTorch with Keras on top of it.

    Raises:
        UnavailableError: this process's Keras belongs to another framework.
    """
    import_keras("torch")
    import torch

    return _TorchEngine(torch)


class _TorchEngine:
    name = "torch"

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._cuda_used = False

    def versions(self) -> dict[str, str]:
        """CUDA and cuDNN of the build, and the PyTorch switches that are set."""
        torch = self._torch
        versions = {"cuda_version": torch.version.cuda, "cudnn_version": torch.backends.cudnn.version()}
        known = {name: str(value) for name, value in versions.items() if value is not None}
        return known | {name: os.environ[name] for name in _SWITCHES if name in os.environ}

    def devices(self) -> list[Device]:
        """List the host, then every CUDA device."""
        cuda = self._torch.cuda
        gpus = range(cuda.device_count() if cuda.is_available() else 0)
        return [Device("cpu", "cpu"), *(Device(f"cuda:{i}", "gpu", cuda.get_device_name(i)) for i in gpus)]

    def build(self, case: Case, seed: int) -> TrainStep:
        """Build the step in this process, or rank 0 of a group of processes under ddp."""
        refuse(case)
        cuda = placement_named(case.placement).device_kind == "gpu"
        if cuda and not self._torch.cuda.is_available():
            raise UnavailableError(
                "PyTorch sees no GPU in this process.", next_step="Run `rtxbench doctor`: it names what is missing."
            )
        self._cuda_used |= cuda
        return way_of(STRATEGIES, case)(self._torch, case, seed)

    def build_share(self, case: Case, seed: int, member: Member) -> TorchShare:
        """Meet the other nodes' ranks and build this one's share."""
        refuse(case)
        self._cuda_used |= placement_named(case.placement).device_kind == "gpu"
        return TorchShare(self._torch, case, seed, member)

    def matmul_error(self, case: Case) -> EngineFigure:
        """Against float64, on the case's device with its TF32 switch."""

        def multiply(left: Any, right: Any) -> Any:
            return self._torch.matmul(tensor(left), tensor(right)).float().cpu().numpy()

        tensor = self._as_trained(case)
        return matmul_relative_error(multiply)

    def convolution_error(self, case: Case) -> EngineFigure:
        """Against float64, on the case's device with its TF32 switch."""

        def convolve(images: Any, kernel: Any) -> Any:
            operands = (tensor(images.transpose(0, 3, 1, 2)), tensor(kernel.transpose(3, 2, 0, 1)))
            return self._torch.nn.functional.conv2d(*operands).float().cpu().numpy().transpose(0, 2, 3, 1)

        tensor = self._as_trained(case)
        return convolution_relative_error(convolve)

    def _as_trained(self, case: Case) -> Callable[[Any], Any]:
        """Throw the case's TF32 switch; returns what makes a tensor of its type on its device."""
        precision = precision_named(case.precision)
        self.set_tf32(precision.tf32)
        dtype = getattr(self._torch, precision.dtype)
        device = "cuda" if placement_named(case.placement).device_kind == "gpu" else "cpu"
        return lambda array: self._torch.as_tensor(array.copy(), device=device).to(dtype)

    def peak_memory(self) -> EngineFigure:
        """Read the allocator's peak on the busiest GPU; a CPU's keeps none."""
        if not self._cuda_used:
            return EngineFigure(None, "PyTorch's CPU allocator keeps no statistics")
        gpus = range(self._torch.cuda.device_count())
        peak = max(self._torch.cuda.max_memory_allocated(index) for index in gpus)
        return EngineFigure(float(peak), "PyTorch allocator peak (torch.cuda.max_memory_allocated)")

    def reset_peak_memory(self) -> None:
        """Start a new peak on every GPU."""
        if self._cuda_used:
            for index in range(self._torch.cuda.device_count()):
                self._torch.cuda.reset_peak_memory_stats(index)

    def set_tf32(self, allowed: bool) -> None:
        """Throw PyTorch's switches for products, convolutions and recurrent layers alike."""
        set_tf32(self._torch, allowed)

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate everything PyTorch raises while running."""
        return translated_errors()


STRATEGIES: Final[dict[str, Callable[[Any, Case, int], TrainStep]]] = {
    "single": build_replica,
    "ddp": DdpStep,
    "ddp-nodes": lambda torch, case, seed: NodesStep(case, seed),
}
"""Strategy of a placement → how its step is built."""

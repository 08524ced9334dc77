"""The switches of a worker process that a user's function must leave as they are: other cases share the process."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["changed_state", "process_state"]

_SWITCHES: Final[Mapping[str, Mapping[str, Callable[[Any], Any]]]] = {
    "keras": {
        "the Keras dtype policy": lambda keras: keras.config.dtype_policy().name,
        "Keras's floatx": lambda keras: keras.config.floatx(),
        "Keras's image data format": lambda keras: keras.config.image_data_format(),
    },
    "torch": {
        "PyTorch's default dtype": lambda torch: torch.get_default_dtype(),
        "PyTorch's default device": lambda torch: torch.get_default_device(),
        "PyTorch's number of threads": lambda torch: torch.get_num_threads(),
        "whether PyTorch records gradients": lambda torch: torch.is_grad_enabled(),
        "autocast on the CPU": lambda torch: torch.is_autocast_enabled("cpu"),
        "autocast on the GPU": lambda torch: torch.is_autocast_enabled("cuda"),
        "cudnn.benchmark": lambda torch: torch.backends.cudnn.benchmark,
        "deterministic algorithms": lambda torch: torch.are_deterministic_algorithms_enabled(),
    },
    "jax": {
        "jax_enable_x64": lambda jax: jax.config.jax_enable_x64,
        "jax_default_matmul_precision": lambda jax: jax.config.jax_default_matmul_precision,
    },
}
"""Module → what is watched → how it is read. A module the process has not imported is not asked."""


def process_state() -> dict[str, str]:
    """Read every switch of the frameworks that are imported, and the working folder."""
    state = {"the working folder": str(os.getcwd())}  # noqa: PTH109  # compared, not used
    for name, switches in _SWITCHES.items():
        module = sys.modules.get(name)
        if module is not None:
            state |= {what: str(read(module)) for what, read in switches.items()}
    return state


def changed_state(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Say what differs between two readings: ``PyTorch's number of threads went from 2 to 1``."""
    return [
        f"{what} went from {before[what]} to {after[what]}"
        for what in before
        if what in after and before[what] != after[what]
    ]

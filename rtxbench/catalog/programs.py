"""The kernels of a training step: how many, and the FLOPs and bytes of each, as they grow with the batch.

``programs.csv`` holds them for the models that people published speeds of (``python -m tools.published_programs``
writes it); a user's own model is recorded in the same form. What is counted is the program, which no card changes:
the operations that PyTorch launches one by one, or the kernels an ahead-of-time compiler made of the step.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import RtxbenchError

__all__ = ["COLUMNS", "Kernel", "Program", "load_programs", "program_of", "width_that_ran"]

COLUMNS: Final = (
    "model",
    "width",
    "kind",
    "is_half",
    "launches",
    "flops_fixed",
    "flops_per_example",
    "bytes_fixed",
    "bytes_per_example",
)
_REFERENCE_BATCHES: Final = (8, 64)
_FULL_WIDTH: Final = ("waveglow", "tacotron2")
"""Published as mixed precision and as full, with figures equal to 2 % on all cards: full precision is what ran."""


class Kernel(NamedTuple):
    """One launch of a training step."""

    name: str
    kind: str
    """``conv``, ``gemm`` or ``memory``: what its FLOPs, if any, are spent on."""
    is_half: bool
    """Its products have operands of 16 bits."""
    flops: float
    moved_bytes: float
    """Read and written, each tensor once."""


class Program(NamedTuple):
    """Kernels of like kind, size and intensity, summed; all arrays have one entry per group (n)."""

    kind: NDArray[np.str_]
    is_half: NDArray[np.bool_]
    launches: NDArray[np.float64]
    flops_fixed: NDArray[np.float64]
    """FLOPs of one kernel of the group at batch 0; with the next field an affine function of the batch."""
    flops_per_example: NDArray[np.float64]
    bytes_fixed: NDArray[np.float64]
    bytes_per_example: NDArray[np.float64]

    def flops(self, batch_size: float) -> NDArray[np.float64]:
        """FLOPs of one kernel of each group (n)."""
        return np.maximum(self.flops_fixed + batch_size * self.flops_per_example, 0.0)

    def moved_bytes(self, batch_size: float) -> NDArray[np.float64]:
        """Count the bytes that one kernel of each group moves (n)."""
        return np.maximum(self.bytes_fixed + batch_size * self.bytes_per_example, 0.0)


def program_of(small: Sequence[Kernel], large: Sequence[Kernel], batches: tuple[int, int]) -> Program:
    """Fit every kernel's line through two batch sizes and sum those of like kind, size and intensity.

    Args:
        small: kernels of the step at the first batch, in launch order.
        large: those at the second.
        batches: the two batch sizes.

    Raises:
        RtxbenchError: the two steps do not launch the same kernels.
    """
    if [kernel.name for kernel in small] != [kernel.name for kernel in large]:
        raise RtxbenchError(
            "the step launches other kernels at another batch size, so nothing can be said of a third.",
            next_step="Keep what the step does apart from its batch size.",
        )
    groups: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0.0] * 5)
    for one, other in zip(small, large, strict=True):
        flops = _line(one.flops, other.flops, batches)
        moved = _line(one.moved_bytes, other.moved_bytes, batches)
        for place, value in enumerate((1.0, *flops, *moved)):
            groups[_alike(one, flops, moved)][place] += value
    keys = sorted(groups, key=str)
    table = np.array([groups[key] for key in keys])
    count = table[:, 0]
    return Program(
        np.array([str(key[0]) for key in keys], dtype=np.str_),
        np.array([bool(key[1]) for key in keys]),
        count,
        *(table[:, place] / count for place in range(1, 5)),
    )


def _line(one: float, other: float, batches: tuple[int, int]) -> tuple[float, float]:
    slope = (other - one) / (batches[1] - batches[0])
    return one - slope * batches[0], slope


def _alike(kernel: Kernel, flops: tuple[float, float], moved: tuple[float, float]) -> tuple[object, ...]:
    """Size within a factor of 2.8 and intensity within 2, at two batches."""
    key: list[object] = [kernel.kind, kernel.is_half]
    for batch in _REFERENCE_BATCHES:
        work, traffic = flops[0] + batch * flops[1], max(moved[0] + batch * moved[1], 1.0)
        key += [round(np.log2(traffic) / 1.5), round(np.log2(work / traffic)) if work > 0 else None]
    return tuple(key)


def width_that_ran(model: str, precision: str) -> str:
    """Tell which of a model's two programs a published figure is of: ``half`` under mixed precision, else ``full``."""
    return "half" if precision.startswith("mixed_") and model not in _FULL_WIDTH else "full"


@cache
def load_programs() -> Mapping[tuple[str, str], Program]:
    """Load the package's programs by (model, width)."""
    rows: dict[tuple[str, str], list[Mapping[str, str]]] = defaultdict(list)
    with resources.files("rtxbench.catalog").joinpath("programs.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            rows[row["model"], row["width"]].append(row)
    return {key: _program(members) for key, members in rows.items()}


def _program(rows: Sequence[Mapping[str, str]]) -> Program:
    def column(name: str) -> NDArray[np.float64]:
        return np.array([float(row[name]) for row in rows])

    return Program(
        np.array([row["kind"] for row in rows], dtype=np.str_),
        np.array([row["is_half"] == "1" for row in rows]),
        *(column(name) for name in COLUMNS[4:]),
    )

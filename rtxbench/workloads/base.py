"""What a workload is: a Keras model, its loss, and a synthetic batch. Engine-neutral."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Workload"]

Batch: TypeAlias = tuple[dict[str, NDArray[Any]] | NDArray[Any], NDArray[Any]]
"""(inputs, labels) as numpy arrays with the batch axis first."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One row of `WORKLOADS`.

    ``build()`` returns a fresh Keras model under the dtype policy in force and must import Keras inside.
    ``batch(batch_size, rng)`` returns one synthetic batch. Losses take logits in float32.
    """

    name: str
    title: str
    """What a report shows, for example ``ResNet-50, 224×224``."""
    family: str
    """dense, vision or language."""
    build: Callable[[], Any]
    batch: Callable[[int, np.random.Generator], Batch]
    batch_sizes: Mapping[str, int]
    """Default global batch size by device kind: ``cpu`` and ``gpu`` (per device)."""
    learning_rate: float = 1e-3
    tokens_per_example: int | None = None
    """Sequence length of a language model."""
    scaled_down_from: str | None = None
    """The workload this one stands in for on slow devices; reports say so."""
    forward_flops_per_example: float | None = None
    """Analytic forward FLOPs of one example (2 per multiply-add), a cross-check of the compiler's count."""

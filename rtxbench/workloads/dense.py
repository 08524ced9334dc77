"""Fully connected networks: the article's MLP, and one wide enough to feed a matrix unit."""

from typing import Any, Final

import numpy as np

from rtxbench.workloads import native
from rtxbench.workloads.workload import Batch, Workload

__all__ = ["DENSE"]

_CLASSES = 10
_WIDTH = 4096


def _mlp() -> Any:
    """784 → 512 ReLU → 10 softmax, the article's listing with the input flattened and scaled."""
    import keras

    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(_CLASSES, activation="softmax", dtype="float32"),
        ],
        name="mlp",
    )


def _mlp_wide() -> Any:
    """4096 → 4096 ReLU → 4096 ReLU → 10: two square matrix products dominate."""
    import keras

    return keras.Sequential(
        [
            keras.Input((_WIDTH,)),
            keras.layers.Dense(_WIDTH, activation="relu"),
            keras.layers.Dense(_WIDTH, activation="relu"),
            keras.layers.Dense(_CLASSES, dtype="float32"),
        ],
        name="mlp_wide",
    )


def _features(width: int, batch_size: int, rng: np.random.Generator) -> Batch:
    inputs = rng.random((batch_size, width), dtype=np.float32)
    return inputs, rng.integers(0, _CLASSES, batch_size, dtype=np.int32)


DENSE: Final = (
    Workload(
        name="mlp",
        family="dense",
        build=_mlp,
        batch=lambda batch_size, rng: _features(784, batch_size, rng),
        batch_sizes={"cpu": 128, "gpu": 128},
        from_logits=False,
        native=native.MLP,
    ),
    Workload(
        name="mlp-wide",
        family="dense",
        build=_mlp_wide,
        batch=lambda batch_size, rng: _features(_WIDTH, batch_size, rng),
        batch_sizes={"cpu": 64, "gpu": 4096},
        native=native.MLP_WIDE,
    ),
)

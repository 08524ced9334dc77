"""Small models that a CPU trains in seconds: a digit classifier, and a convolution against its separable form."""

from typing import Any, Final

import numpy as np

from rtxbench.workloads import native
from rtxbench.workloads.workload import Batch, Workload

__all__ = ["COMPACT", "digits_cnn"]

_CHANNELS: Final = 64
_SIDE_PX: Final = 32


def digits_cnn(*, halved: bool = False) -> Any:
    """Conv 16·3×3 → pool → Conv 32·3×3 → pool → 64 ReLU → 10 softmax on 28×28×1, softmax in float32.

    Args:
        halved: keep half of its four layers: the first convolution and the softmax.
    """
    import keras

    rest = [
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
    ]
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            *([keras.layers.Flatten()] if halved else rest),
            keras.layers.Dense(10, activation="softmax", dtype="float32"),
        ],
        name="digits_cnn",
    )


def _convolutions(*, separable: bool) -> Any:
    """Four 3×3 convolutions of 64 channels, full or depthwise-separable, on 32×32×64."""
    import keras

    layer = keras.layers.SeparableConv2D if separable else keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((_SIDE_PX, _SIDE_PX, _CHANNELS)),
            *(layer(_CHANNELS, 3, padding="same", activation="relu") for _ in range(4)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, dtype="float32"),
        ],
        name="conv_separable" if separable else "conv_full",
    )


def _feature_maps(batch_size: int, rng: np.random.Generator) -> Batch:
    inputs = rng.random((batch_size, _SIDE_PX, _SIDE_PX, _CHANNELS), dtype=np.float32)
    return inputs, rng.integers(0, 10, batch_size, dtype=np.int32)


def _digit_images(batch_size: int, rng: np.random.Generator) -> Batch:
    inputs = rng.random((batch_size, 28, 28, 1), dtype=np.float32)
    return inputs, rng.integers(0, 10, batch_size, dtype=np.int32)


COMPACT: Final = (
    Workload(
        name="digits-cnn",
        family="layers",
        build=digits_cnn,
        batch=_digit_images,
        batch_sizes={"cpu": 32, "gpu": 32},
        from_logits=False,
        native=native.DIGITS_CNN,
    ),
    Workload(
        name="conv-full",
        family="layers",
        build=lambda: _convolutions(separable=False),
        batch=_feature_maps,
        batch_sizes={"cpu": 16, "gpu": 256},
        native=native.CONV_FULL,
    ),
    Workload(
        name="conv-separable",
        family="layers",
        build=lambda: _convolutions(separable=True),
        batch=_feature_maps,
        batch_sizes={"cpu": 16, "gpu": 256},
        native=native.CONV_SEPARABLE,
    ),
)

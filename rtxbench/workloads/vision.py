"""Image classifiers: the article's CNN and the architectures people train, with random weights."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from rtxbench.workloads import native
from rtxbench.workloads.workload import Batch, Workload, as_float32

__all__ = ["VISION"]


def _article_cnn() -> Any:
    """Conv 32·3×3 ReLU → MaxPool 2 → Flatten → 10 softmax on 224×224×3, the article's listing with a batch axis."""
    import keras

    return keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", dtype="float32"),
        ],
        name="article_cnn",
    )


def _residual_14() -> Any:
    """ResNet-50's stem, widths and bottlenecks with one block in each of its four stages, on 64×64×3.

    A framework traces and optimises a third of the operations, which on a small CPU takes longer than the training
    that is measured.
    """
    import keras

    inputs = keras.Input((64, 64, 3))
    x = _normalized(inputs, 64, 7, strides=2)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(keras.layers.ReLU()(x))
    for stage, width in enumerate((64, 128, 256, 512)):
        x = _bottleneck(x, width, strides=1 if stage == 0 else 2)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(1000, dtype="float32")(pooled), name="resnet14")


def _bottleneck(x: Any, width: int, strides: int) -> Any:
    """1×1 → 3×3 → 1×1 with four times the width, beside a projected shortcut (He et al. 2015, figure 5)."""
    import keras

    inner = keras.layers.ReLU()(_normalized(x, width, 1, strides=strides))
    inner = keras.layers.ReLU()(_normalized(inner, width, 3))
    both = [_normalized(inner, 4 * width, 1), _normalized(x, 4 * width, 1, strides=strides)]
    return keras.layers.ReLU()(keras.layers.Add()(both))


def _normalized(x: Any, filters: int, kernel_px: int, strides: int = 1) -> Any:
    """Apply a convolution and the batch normalisation after it."""
    import keras

    convolution = keras.layers.Conv2D(filters, kernel_px, strides=strides, padding="same")
    return keras.layers.BatchNormalization(epsilon=1.001e-5)(convolution(x))


def _application(name: str, side_px: int) -> Any:
    """Build an architecture of ``keras.applications`` with random weights, 1000 classes and logits in float32."""
    import keras

    builder = getattr(keras.applications, name)
    return as_float32(builder(weights=None, input_shape=(side_px, side_px, 3), classifier_activation=None))


def _images(side_px: int, classes: int, batch_size: int, rng: np.random.Generator) -> Batch:
    inputs = rng.random((batch_size, side_px, side_px, 3), dtype=np.float32)
    return inputs, rng.integers(0, classes, batch_size, dtype=np.int32)


def _images_of(side_px: int, classes: int) -> Callable[[int, np.random.Generator], Batch]:
    return lambda batch_size, rng: _images(side_px, classes, batch_size, rng)


VISION: Final = (
    Workload(
        name="cnn",
        family="vision",
        build=_article_cnn,
        batch=_images_of(224, 10),
        batch_sizes={"cpu": 8, "gpu": 64},
        from_logits=False,
        native=native.CNN,
    ),
    Workload(
        name="resnet50",
        family="vision",
        build=partial(_application, "ResNet50", 224),
        batch=_images_of(224, 1000),
        batch_sizes={"cpu": 8, "gpu": 64},
        native=native.RESNET50,
    ),
    Workload(
        name="resnet50-64px",
        family="vision",
        build=partial(_application, "ResNet50", 64),
        batch=_images_of(64, 1000),
        batch_sizes={"cpu": 8, "gpu": 256},
        scaled_down_from="resnet50",
        native=native.RESNET50,
    ),
    Workload(
        name="resnet14-64px",
        family="vision",
        build=_residual_14,
        batch=_images_of(64, 1000),
        batch_sizes={"cpu": 4, "gpu": 256},
        scaled_down_from="resnet50",
        native=native.RESNET14,
    ),
    Workload(
        name="mobilenetv3",
        family="vision",
        build=partial(_application, "MobileNetV3Large", 224),
        batch=_images_of(224, 1000),
        batch_sizes={"cpu": 8, "gpu": 128},
    ),
    Workload(
        name="convnext-tiny",
        family="vision",
        build=partial(_application, "ConvNeXtTiny", 224),
        batch=_images_of(224, 1000),
        batch_sizes={"cpu": 4, "gpu": 64},
    ),
)

"""ResNet-50 on legacy Keras (``tf_keras``), the fastest float32 form a TensorFlow user could pick instead of Keras 3.

Each function returns a step for rtxbench's ``python`` engine. Legacy Keras normalises through the fused kernel.
"""

from collections.abc import Callable
from typing import Any

LEGACY_STEPS = 2
"""Training steps per call; the loss is read once at the end."""


def _resnet50(side_px: int, batch_size: int) -> Callable[[], Any]:
    import numpy as np
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    model = tf_keras.applications.ResNet50(weights=None, input_shape=(side_px, side_px, 3), classifier_activation=None)
    loss_of = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = tf_keras.optimizers.Adam(1e-3)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.random((batch_size, side_px, side_px, 3), dtype=np.float32))
    labels = tf.constant(rng.integers(0, 1000, batch_size, dtype=np.int32))

    @tf.function
    def train_step() -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def step() -> float:
        for _ in range(LEGACY_STEPS):
            loss = train_step()
        return float(loss)

    return step


def resnet50() -> Callable[[], Any]:
    return _resnet50(224, 8)


def resnet50_64px() -> Callable[[], Any]:
    return _resnet50(64, 8)

"""Batch normalisation through TensorFlow's fused kernel, as a variant of a workload.

Keras 3 writes batch normalisation out as moments, a square root and elementwise products, in float32. TensorFlow has
one kernel for all of it (cuDNN on a GPU, oneDNN on a CPU) that also takes float16 and bfloat16 images as they are.
On a model full of it, such as ResNet-50, the written-out form hides much of what mixed precision gains: this variant
measures how much. The weights, the moving statistics and the result are Keras's own.
"""

from functools import cache
from typing import Any

from rtxbench.errors import UsageError

__all__ = ["with_fused_normalization"]

_CHANNELS_LAST = 3  # the axis of a 4-D image batch the fused kernel normalises over


def with_fused_normalization(model: Any) -> Any:
    """Replace every batch normalisation over image channels by the fused form; model and weights stay the same.

    Args:
        model: a built functional or sequential Keras model on the TensorFlow backend.

    Raises:
        UsageError: the backend is not TensorFlow, or the model has no batch normalisation to fuse.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            "the variant fused-norm is TensorFlow's; XLA and torch.compile fuse normalisation by themselves.",
            next_step="Use it with --engine tensorflow.",
        )
    fused_class = _fused_class()
    replaced: list[str] = []

    def swap(layer: Any) -> Any:
        """Clone a layer; a normalisation over the last axis becomes the fused one."""
        if type(layer) is not keras.layers.BatchNormalization or layer.axis not in (-1, _CHANNELS_LAST):
            return layer.__class__.from_config(layer.get_config())
        replaced.append(layer.name)
        return fused_class.from_config(layer.get_config())

    fused = keras.models.clone_model(model, clone_function=swap)
    if not replaced:
        raise UsageError(
            f"{model.name} has no batch normalisation, so fused-norm would measure the plain workload.",
            next_step="Use it on a workload with batch normalisation, for example resnet50.",
        )
    fused.set_weights(model.get_weights())
    return fused


@cache
def _fused_class() -> Any:
    """Define the layer where Keras is known to be imported."""
    import keras
    import tensorflow as tf

    class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras is untyped
        """Keras's layer with its training path on an image batch sent to ``FusedBatchNormV3``."""

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            """Normalise; inference, frozen layers, masks and other ranks go Keras's own way."""
            if not (training and self.trainable) or len(inputs.shape) != 4 or mask is not None or self.renorm:
                return super().call(inputs, training=training, mask=mask)
            channels = self.moving_mean.shape
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs,
                self.gamma if self.scale else tf.ones(channels),
                self.beta if self.center else tf.zeros(channels),
                epsilon=self.epsilon,
                is_training=True,
            )
            self._update_moving(mean, variance * _population_share(tf, inputs))
            return tf.cast(outputs, self.compute_dtype)

        def _update_moving(self, mean: Any, variance: Any) -> None:
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

    return FusedBatchNormalization


def _population_share(tf: Any, inputs: Any) -> Any:
    """Return (n - 1)/n: the fused kernel returns the sample variance, Keras keeps the population's."""
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    return (count - 1.0) / count

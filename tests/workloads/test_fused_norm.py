"""The fused normalisation is numerically Keras's own."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rtxbench.errors import UsageError
from rtxbench.workloads.variants import VARIANTS, variant_named

pytest.importorskip("tensorflow", reason="the fused kernel is TensorFlow's")
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    pytest.skip("this run tests another Keras backend", allow_module_level=True)


@pytest.fixture
def policy() -> Iterator[Any]:
    import keras

    kept = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(kept)


def image_model() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    layers = [
        keras.Input((12, 12, 3)),
        keras.layers.Conv2D(8, 3, use_bias=False),
        keras.layers.BatchNormalization(epsilon=1.001e-5),
        keras.layers.Activation("relu"),
        keras.layers.BatchNormalization(scale=False, momentum=0.9),
        keras.layers.Flatten(),
        keras.layers.Dense(4, dtype="float32"),
    ]
    return keras.Sequential(layers)


def forward_backward(model: Any) -> tuple[Any, list[Any]]:
    import tensorflow as tf

    inputs = np.random.default_rng(0).standard_normal((16, 12, 12, 3)).astype(np.float32) * 3 + 1
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=True)
        loss = tf.reduce_sum(outputs * tf.constant([[1.0, -2.0, 3.0, 0.5]]))
    return outputs.numpy(), [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]


@pytest.mark.parametrize(
    ("dtype_policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 3e-2), ("mixed_float16", 4e-3)]
)
def test_outputs_gradients_and_moving_statistics_equal_keras(policy: Any, dtype_policy: str, tolerance: float) -> None:
    """One training step gives the same outputs, gradients and moving statistics within the policy's rounding."""
    policy(dtype_policy)
    plain = image_model()
    fused = variant_named("fused-norm").apply(plain)
    expected, actual = forward_backward(plain), forward_backward(fused)

    close([expected[0]], [actual[0]], tolerance)
    close(expected[1], actual[1], tolerance)
    moving = [[v.numpy() for v in model.non_trainable_variables] for model in (plain, fused)]
    close(*moving, tolerance)


def close(expected: list[Any], actual: list[Any], tolerance: float) -> None:
    """Equal within ``tolerance`` of the largest value: small gradients are sums that cancel."""
    scale = max(float(np.abs(array).max()) for array in expected)
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


def test_the_training_graph_really_holds_the_fused_kernel() -> None:
    """The variant is not the plain model under another name: its graph has FusedBatchNormV3, the plain one has none."""
    import tensorflow as tf

    def kernels(model: Any) -> int:
        step = tf.function(lambda x: model(x, training=True)).get_concrete_function(tf.zeros((2, 12, 12, 3)))
        return sum(op.type == "FusedBatchNormV3" for op in step.graph.get_operations())

    plain = image_model()
    assert (kernels(plain), kernels(variant_named("fused-norm").apply(plain))) == (0, 2)


def test_inference_is_keras_own_path() -> None:
    """Evaluation uses the moving statistics exactly as the plain model does."""
    plain = image_model()
    fused = variant_named("fused-norm").apply(plain)
    inputs = np.random.default_rng(1).random((2, 12, 12, 3), dtype=np.float32)
    np.testing.assert_array_equal(plain(inputs, training=False), fused(inputs, training=False))


def test_a_model_without_normalisation_is_refused() -> None:
    """A variant that would change nothing is an error, never a silent second baseline."""
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match="no batch normalisation"):
        variant_named("fused-norm").apply(model)


def test_unknown_variants_are_refused_with_the_known_ones() -> None:
    """A misspelt variant never measures the plain workload."""
    with pytest.raises(UsageError, match="fused-norm"):
        variant_named("fused_norm")
    assert VARIANTS[""].apply("model") == "model"

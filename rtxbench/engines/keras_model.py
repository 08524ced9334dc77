"""Build what every engine behind Keras shares: the model under its dtype policy, optimizer, loss, and the proof.

One recipe for all engines is what makes their figures comparable: the same layers, the same policy, Adam, sparse
categorical cross-entropy, dynamic loss scaling for float16.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.engines.contract import EngineFigure
from rtxbench.precision import precision_named
from rtxbench.records import Case
from rtxbench.workloads import Workload
from rtxbench.workloads.variants import variant_named

__all__ = [
    "ModelParts",
    "adam_for",
    "attention_kernel",
    "build_parts",
    "convolution_relative_error",
    "matmul_relative_error",
    "scaled",
]

Array = NDArray[Any]


class ModelParts(NamedTuple):
    """A built model and what trains it."""

    model: Any
    optimizer: Any
    loss_of: Callable[[Any, Any], Any]
    """(labels, outputs) → loss per example or token."""

    def notes(self, engine: str) -> dict[str, str]:
        """Note what a reader who compares engines should know of this model."""
        kernel = attention_kernel(self.model, engine)
        return {} if kernel is None else {"attention": kernel}

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots, as one device holds them where nothing is sharded."""
        return EngineFigure(
            _bytes_of([*self.model.variables, *self.optimizer.variables]), "sum over model and optimizer variables"
        )

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of all gradients: one per trainable variable, in its type."""
        return EngineFigure(_bytes_of(self.model.trainable_variables), "a dense gradient per trainable variable")


def _bytes_of(variables: Iterable[Any]) -> float:
    return float(sum(int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize for v in variables))


def build_parts(workload: Workload, case: Case, seed: int) -> ModelParts:
    """Model, built optimizer and loss of a case; the dtype policy in force before is restored.

    Raises:
        UsageError: the case names an unknown precision or variant.
    """
    import keras

    keras.utils.set_random_seed(seed)
    kept = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision_named(case.precision).policy)
    try:
        model = variant_named(case.variant).apply(workload.build())
    finally:
        keras.config.set_dtype_policy(kept)
    own = workload.optimizer() if workload.optimizer is not None else None
    optimizer = adam_for(case.precision, workload.learning_rate) if own is None else scaled(case.precision, own)
    optimizer.build(model.trainable_variables)
    return ModelParts(model, optimizer, _loss_of(workload))


def _loss_of(workload: Workload) -> Any:
    import keras

    if workload.loss is not None:
        return workload.loss()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=workload.from_logits, reduction=None)


def adam_for(precision: str, learning_rate: float) -> Any:
    """Create Adam, with dynamic loss scaling where the precision needs it."""
    import keras

    return scaled(precision, keras.optimizers.Adam(learning_rate))


def scaled(precision: str, optimizer: Any) -> Any:
    """Wrap an optimizer in dynamic loss scaling where the precision needs it."""
    import keras

    return keras.optimizers.LossScaleOptimizer(optimizer) if precision_named(precision).loss_scaling else optimizer


def attention_kernel(model: Any, engine: str) -> str | None:
    """Name the kernel of the model's attention on this engine; ``None`` for a model without attention.

    Engines are told apart only where Keras takes `dot_product_attention`; with attention dropout it writes the
    product, the softmax and the second product out, on every engine alike (Keras 3, ``MultiHeadAttention``).
    """
    rates = [float(layer.dropout) for layer in model._flatten_layers() if _is_attention(layer)]
    if not rates:
        return None
    if any(rate > 0 for rate in rates):
        return "explicit products and softmax: attention dropout keeps Keras off every fused kernel"
    return _FUSED_ATTENTION[engine]


_FUSED_ATTENTION = {
    "tensorflow": "explicit products and softmax: Keras has no fused attention on TensorFlow",
    "jax": "jax.nn.dot_product_attention: cuDNN's flash kernel where the GPU supports it, else XLA",
    "torch": "scaled_dot_product_attention: flash, memory-efficient or plain, as PyTorch chooses",
}


def _is_attention(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.layers.MultiHeadAttention)


def matmul_relative_error(multiply: Callable[[Array, Array], Array]) -> EngineFigure:
    """Relative Frobenius error of a 512×512 product of standard normals against float64.

    Args:
        multiply: takes two float32 matrices, multiplies them in the precision under test, returns the product.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((512, 512)).astype(np.float32) for _ in range(2))
    exact = left.astype(np.float64) @ right.astype(np.float64)
    got = np.asarray(multiply(left, right), np.float64)
    error = float(np.linalg.norm(got - exact) / np.linalg.norm(exact))
    return EngineFigure(error, "512×512 matrix product against float64, relative Frobenius norm")


def convolution_relative_error(convolve: Callable[[Array, Array], Array]) -> EngineFigure:
    """Relative Frobenius error of a 3×3 convolution (8 images of 16×16, 64 → 64 channels) against float64.

    Libraries choose another kernel for it than for a product, and may round where a product does not.

    Args:
        convolve: takes float32 images (n, height, width, channels) and a kernel (3, 3, inputs, outputs), convolves
            without padding in the precision under test, returns the output, channels last.
    """
    rng = np.random.default_rng(0)
    images = rng.standard_normal((8, 16, 16, 64)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 64, 64)).astype(np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(images.astype(np.float64), (3, 3), axis=(1, 2))
    exact = np.einsum("nyxchw,hwco->nyxo", patches, kernel.astype(np.float64), optimize=True)
    got = np.asarray(convolve(images, kernel), np.float64)
    error = float(np.linalg.norm(got - exact) / np.linalg.norm(exact))
    return EngineFigure(error, "3×3 convolution of 64 channels against float64, relative Frobenius norm")

"""Train the small digit classifier to a quality, not only for a time: the Keras side of every accuracy trial."""

import math
import random
import time
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.engines.contract import Engine
from rtxbench.engines.keras_model import adam_for
from rtxbench.precision import precision_named
from rtxbench.trials.digits import Dataset, corrupted_images
from rtxbench.trials.messages import Train, Trained
from rtxbench.trials.pipelines import article_layers, load_images, tf_data_pipeline
from rtxbench.workloads.small_models import digits_cnn

__all__ = ["ModelPool", "accuracy_of", "as_inputs", "device_kind", "loss_scale_overflows", "run_training"]


_VALIDATION_BATCH: Final = 500


class _PoolKey(NamedTuple):
    precision: str
    batch_size: int
    halved: bool = False


class ModelPool:
    """Compiled models by precision and batch size, given out with fresh weights: tracing is paid once, not per seed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._models: dict[_PoolKey, tuple[Any, list[NDArray[Any]]]] = {}

    def fresh(
        self,
        precision: str,
        batch_size: int,
        seed: int,
        learning_rate: float,
        examples: int = 0,
        *,
        halved: bool = False,
    ) -> Any:
        """Give out a compiled, traced model whose weights depend on ``seed`` alone and whose optimizer is as new.

        The same object for the same precision and batch size: what it learned before is gone.

        Args:
            precision: its name; also throws the process's TF32 switch.
            batch_size: examples per step the model was traced with.
            seed: of Python's generator, from which Keras draws every seed.
            learning_rate: of Adam.
            examples: in the training set. A first model is traced with the partial batch they end in, too: JAX compiles
                for each size.
            halved: the classifier with half of its layers.
        """
        self.engine.set_tf32(precision_named(precision).tf32)
        key = _PoolKey(precision, batch_size, halved)
        if key not in self._models:
            self._models[key] = _compiled(key, examples % batch_size or 1)
        model, optimizer_state = self._models[key]
        # Keras draws its layers' seeds from here. Not keras.utils.set_random_seed: TensorFlow's part of it empties the
        # kernel cache, and each training's first epoch would prepare every function again, a fifth of a second.
        random.seed(seed)
        model.set_weights(_built(key).get_weights())
        for variable, value in zip(model.optimizer.variables, optimizer_state, strict=True):
            variable.assign(value)
        inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        inner.learning_rate = learning_rate
        return model

    def model_in_use(self, precision: str, batch_size: int) -> Any:
        """Return the model last given out for this precision and batch size, as trained since."""
        return self._models[_PoolKey(precision, batch_size)][0]


def _built(key: _PoolKey) -> Any:
    import keras

    kept = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision_named(key.precision).policy)
    try:
        return digits_cnn(halved=key.halved)
    finally:
        keras.config.set_dtype_policy(kept)


def _compiled(key: _PoolKey, partial_batch: int) -> tuple[Any, list[NDArray[Any]]]:
    """Compile a model by a few steps and one evaluation; return it with its optimizer's state before them."""
    import keras

    model, batch_size = _built(key), key.batch_size
    optimizer = adam_for(key.precision, 1e-3)
    # Compiled programs differ by placement where Keras may choose; the choice is fixed, so that arms compare.
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    state = [np.array(keras.ops.convert_to_numpy(variable)) for variable in optimizer.variables]
    count = batch_size + partial_batch  # so that neither is traced while the clock runs
    blank = np.zeros((count, 28, 28, 1), np.float32), np.zeros(count, np.int32)
    model.fit(**_batches(*blank, batch_size), epochs=1, verbose=0, shuffle=False)
    model.evaluate(*blank, batch_size=batch_size, verbose=0)
    return model, state


class _Course(NamedTuple):
    """One value per epoch."""

    epoch_s: list[float]
    accuracies: list[float]
    losses: list[float]


def run_training(request: Train, pool: ModelPool) -> Trained:
    """Run one training as asked for. Epochs are timed one by one; validation and tracing are outside the clock."""
    data = load_images(request.data)
    model = pool.fresh(
        request.precision,
        request.batch_size,
        request.seed,
        request.learning_rate,
        len(data.train[0]),
        halved=request.halved,
    )
    x, y = as_inputs(data.train[0], request.pixels), data.train[1]
    x_validation, y_validation = as_inputs(data.validation[0], request.pixels), data.validation[1]
    layers = None if request.augmentation == "none" else article_layers(flip=request.augmentation == "article")
    rng = np.random.default_rng(request.seed)
    target = request.target_accuracies.get(data.name)
    course = _Course([], [], [])
    for _ in range(request.epochs):
        order = rng.permutation(len(x))
        course.epoch_s.append(_one_epoch(model, x[order], y[order], request.batch_size, layers))
        loss, accuracy = _validation(model, x_validation, y_validation)
        course.losses.append(float(loss))
        course.accuracies.append(float(accuracy))
        if request.stop_at_target and target is not None and accuracy >= target:
            break
        if request.time_limit_s is not None and sum(course.epoch_s) > request.time_limit_s:
            break
    return _summary(request, data, model, course)


def _one_epoch(model: Any, x: NDArray[np.float32], y: NDArray[np.int32], batch_size: int, layers: Any | None) -> float:
    """Time one epoch; ``fit`` reads the metrics at its end, which waits for the device."""
    batches = _batches(x, y, batch_size, layers)
    start = time.perf_counter()
    model.fit(**batches, epochs=1, verbose=0, shuffle=False)
    return time.perf_counter() - start


def _batches(
    x: NDArray[np.float32], y: NDArray[np.int32], batch_size: int, layers: Any | None = None
) -> dict[str, Any]:
    """Prepare what ``fit`` is given: arrays, or batches of them."""
    import keras

    # On TensorFlow no arrays: at every call Keras traces functions to slice them, which takes as long as a short epoch.
    if layers is None and keras.backend.backend() != "tensorflow":
        return {"x": x, "y": y, "batch_size": batch_size}
    return {"x": tf_data_pipeline(x, y, batch_size, layers)}


def _validation(model: Any, x: NDArray[np.float32], y: NDArray[np.int32]) -> tuple[float, float]:
    """Loss and accuracy, as ``evaluate`` gives them without its tenth of a second of preparation per call."""
    loss = correct = 0.0
    for start in range(0, len(x), _VALIDATION_BATCH):
        batch = slice(start, start + _VALIDATION_BATCH)
        found = model.test_on_batch(x[batch], y[batch], return_dict=True)  # of this batch alone, on every engine
        loss += float(found["loss"]) * len(y[batch])
        correct += float(found["accuracy"]) * len(y[batch])
    return loss / len(y), correct / len(y)


def _summary(request: Train, data: Dataset, model: Any, course: _Course) -> Trained:
    epoch_s, accuracies, losses = course
    target = request.target_accuracies.get(data.name)
    reached = None if target is None else next((i for i, value in enumerate(accuracies) if value >= target), None)
    corrupted = corrupted_images(data.test[0], request.data.seed) if request.corrupted_test else None
    return Trained(
        key=request.key,
        device_kind=device_kind(),
        dataset=data.name,
        checksum=data.checksum,
        epoch_s=tuple(epoch_s),
        validation_accuracy=tuple(accuracies),
        validation_loss=tuple(value if math.isfinite(value) else None for value in losses),
        target_accuracy=target,
        time_to_target_s=None if reached is None else sum(epoch_s[: reached + 1]),
        epochs_to_target=None if reached is None else reached + 1,
        test_accuracy=accuracy_of(model, data.test[0], data.test[1], request.pixels),
        corrupted_test_accuracy=(
            None if corrupted is None else accuracy_of(model, corrupted, data.test[1], request.pixels)
        ),
        loss_scale_overflows=loss_scale_overflows(model, len(epoch_s) * -(-len(data.train[0]) // request.batch_size)),
        finite=all(math.isfinite(value) for value in losses),
    )


def as_inputs(images: NDArray[np.uint8], pixels: str = "normalised") -> NDArray[np.float32]:
    """Images (n, 28, 28) as float32 (n, 28, 28, 1): 0-255 as stored, or 0-1 normalised."""
    scale = np.float32(1.0 if pixels == "raw" else 1 / 255)
    return images.astype(np.float32)[..., None] * scale


def accuracy_of(model: Any, images: NDArray[np.uint8], labels: NDArray[np.int32], pixels: str = "normalised") -> float:
    """Share of images classified correctly, 0 to 1.

    Args:
        model: a classifier of 28 × 28 images.
        images: shape (n, 28, 28).
        labels: shape (n,).
        pixels: raw or normalised, as the model was trained.
    """
    predicted = model.predict(as_inputs(images, pixels), batch_size=500, verbose=0)
    return float((np.argmax(predicted, axis=1) == labels).mean())


def loss_scale_overflows(model: Any, steps: int) -> int | None:
    """Count, of ``steps`` steps since the model was fresh, those skipped because scaled gradients were not finite.

    The loss-scale optimizer's own ``iterations`` are its inner optimizer's, which counts only the steps it applied.
    """
    inner = getattr(model.optimizer, "inner_optimizer", None)
    return None if inner is None else steps - int(inner.iterations)


def device_kind() -> str:
    """Gpu or cpu: where Keras puts this process's work by default."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    if keras.backend.backend() == "jax":
        import jax

        return "cpu" if jax.default_backend() == "cpu" else "gpu"
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"

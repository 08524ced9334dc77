"""Images for training trials, and the article's augmentation as an input pipeline: today's API and the legacy one."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import UnavailableError
from rtxbench.trials.digits import Dataset, generated_digits
from rtxbench.trials.messages import DataSpec

__all__ = ["ROTATION_DEGREES", "article_layers", "legacy_generator", "load_images", "mnist_source", "tf_data_pipeline"]

ROTATION_DEGREES: Final = 20
SHIFT: Final = 0.2
ZOOM: Final = 0.2
SHEAR_DEGREES: Final = 0.2
"""The legacy class reads ``shear_range=0.2`` as degrees, which moves a 28-pixel image by a tenth of a pixel."""
_MNIST_HOST: Final = ("storage.googleapis.com", 443)
_CONNECT_LIMIT_S: Final = 3.0


@lru_cache(maxsize=4)
def load_images(spec: DataSpec) -> Dataset:
    """Load the images asked for: MNIST where cached or reachable, the project's own digits otherwise.

    Raises:
        UnavailableError: MNIST was asked for by name and can be neither read nor fetched.
    """
    if spec.name != "generated":
        why_not = mnist_source()
        if why_not is None:
            return _mnist(spec)
        if spec.name == "mnist":
            raise UnavailableError(why_not, next_step="Use the generated digits (--data generated).")
    return generated_digits(spec.train, spec.validation, spec.test, spec.seed, upright=spec.upright)


def mnist_source(limit_s: float = _CONNECT_LIMIT_S) -> str | None:
    """Return ``None`` when MNIST is cached or its host answers within ``limit_s``; otherwise why it cannot be had."""
    if (_datasets() / "mnist.npz").is_file():
        return None
    try:
        socket.create_connection(_MNIST_HOST, timeout=limit_s).close()
    except OSError as error:
        return f"MNIST is not cached under {_datasets()} and {_MNIST_HOST[0]} does not answer ({error})."
    return None


def _datasets() -> Path:
    """Find where Keras keeps what it downloaded."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def _mnist(spec: DataSpec) -> Dataset:
    """Load ``keras.datasets.mnist``: it downloads with a progress bar and checks the file's SHA-256.

    One process at a time: Keras writes the file in place, and a second reader would find half of it.
    """
    import keras

    kept = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20.0)  # a stalled download ends instead of hanging
    try:
        with (Path(tempfile.gettempdir()) / f"rtxbench-mnist-{os.getuid()}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:  # urllib, ssl and Keras's own checksum error have no common class
        raise UnavailableError(
            f"MNIST could not be fetched: {error}.", next_step="Use the generated digits (--data generated)."
        ) from error
    finally:
        socket.setdefaulttimeout(kept)
    rng = np.random.default_rng(spec.seed)
    order, order_test = rng.permutation(len(x)), rng.permutation(len(x_test))[: spec.test]
    cut = len(x) - spec.validation
    train, validation = order[: min(spec.train, cut)], order[cut:]
    y, y_test = y.astype(np.int32), y_test.astype(np.int32)
    return Dataset(
        "mnist", (x[train], y[train]), (x[validation], y[validation]), (x_test[order_test], y_test[order_test])
    )


def article_layers(*, flip: bool = True) -> Any:
    """Return the article's ``ImageDataGenerator`` settings as Keras preprocessing layers, for pixels of 0-1."""
    import keras

    layers = [
        keras.layers.RandomRotation(ROTATION_DEGREES / 360, fill_mode="nearest"),
        keras.layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
        keras.layers.RandomShear(float(np.tan(np.radians(SHEAR_DEGREES))), 0.0, fill_mode="nearest"),
        keras.layers.RandomZoom(ZOOM, ZOOM, fill_mode="nearest"),
    ]
    if flip:
        layers.append(keras.layers.RandomFlip("horizontal"))
    return keras.Sequential(layers, name="article_augmentation")


def tf_data_pipeline(
    images: NDArray[np.float32], labels: NDArray[np.int32], batch_size: int, layers: Any | None
) -> Iterable[Any]:
    """Batches of (images, labels) from ``tf.data``, augmented by ``layers`` on every core, two batches prefetched.

    Args:
        images: shape (n, 28, 28, 1), already scaled.
        labels: shape (n,).
        batch_size: examples per batch; the last may be smaller.
        layers: Keras preprocessing layers, or ``None``.

    Raises:
        UnavailableError: TensorFlow, which ``tf.data`` is part of, is not installed.
    """
    from rtxbench.hardware.environment import usable_cores

    try:
        import tensorflow as tf
    except ImportError as error:
        raise UnavailableError(
            "tf.data is part of TensorFlow, which is not installed.", next_step="pip install tensorflow"
        ) from error

    options = tf.data.Options()
    # The tuner sleeps 10, 20, 40 … ms between its looks and the end of an epoch waits for its next one: epochs would
    # take 0.15, 0.31, 0.63 or 1.27 s. It also needs seconds to find what it then changes no more.
    options.autotune.enabled = False
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size).with_options(options)
    if layers is None:
        plain: Iterable[Any] = batches.prefetch(2)
        return plain
    augment = _traced_once(layers)
    cores = usable_cores() or os.cpu_count()
    mapped = batches.map(lambda x, y: (augment(x), y), num_parallel_calls=cores)
    pipeline: Iterable[Any] = mapped.prefetch(2)
    return pipeline


@lru_cache(maxsize=4)
def _traced_once(layers: Any) -> Callable[[Any], Any]:
    """Trace the layers as one graph function: a new epoch's pipeline then traces a call, not every layer again."""
    import tensorflow as tf

    return cast("Callable[[Any], Any]", tf.function(lambda x: layers(x, training=True), autograph=False))


def legacy_generator(batch_size: int) -> Callable[[NDArray[np.float32], NDArray[np.int32]], Iterable[Any]]:
    """Build the article's ``ImageDataGenerator``, where it still exists: images (n, 28, 28, 1) → endless batches.

    Raises:
        UnavailableError: this TensorFlow has no such class, or scipy, which it needs, is missing.
    """
    try:
        import scipy.ndimage  # noqa: F401 (the legacy class fails late, in the first batch, without it)
        from tensorflow.keras.preprocessing.image import ImageDataGenerator
    except ImportError as error:
        raise UnavailableError(
            f"ImageDataGenerator is not available here: {error}.", next_step="Use Keras preprocessing layers."
        ) from error
    generator = ImageDataGenerator(
        rotation_range=ROTATION_DEGREES,
        width_shift_range=SHIFT,
        height_shift_range=SHIFT,
        shear_range=SHEAR_DEGREES,
        zoom_range=ZOOM,
        horizontal_flip=True,
        fill_mode="nearest",
    )

    def flow(images: NDArray[np.float32], labels: NDArray[np.int32]) -> Iterable[Any]:
        batches: Iterable[Any] = generator.flow(images, labels, batch_size=batch_size, seed=0)
        return batches

    return flow

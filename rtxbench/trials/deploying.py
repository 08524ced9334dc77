"""Save, load, evaluate and time a trained model: what has to survive between training and use."""

import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import UnavailableError
from rtxbench.trials.messages import Deploy, Deployed, FormatResult, LatencyResult, Train
from rtxbench.trials.pipelines import load_images
from rtxbench.trials.training import ModelPool, as_inputs, device_kind, run_training

__all__ = ["run_deployment", "unsafe_files_loaded"]

_Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
_WARM_REQUESTS: Final = 10


class _Format(NamedTuple):
    """One way of writing a model and reading it back."""

    suffix: str
    save: Callable[[Any, Path], None]
    load: Callable[[Path], _Predict]


def run_deployment(request: Deploy, pool: ModelPool) -> Deployed:
    """Train briefly, then round-trip the model through every format and time inference in every precision asked for."""
    training = Train(key=request.key, data=request.data, seed=request.seed, epochs=1)
    run_training(training, pool)
    model = pool.model_in_use("float32", training.batch_size)
    data = load_images(request.data)
    images, labels = as_inputs(data.test[0]), data.test[1]
    before = np.asarray(model.predict(images, batch_size=500, verbose=0))
    expected = _Expected(images, labels, before)
    with tempfile.TemporaryDirectory(prefix="rtxbench-deploy-") as folder:
        formats = {name: _round_trip(model, row, Path(folder), expected) for name, row in FORMATS.items()}
        unsafe = unsafe_files_loaded(Path(folder))
    latencies = [
        _latency(pool, precision, batch, request)
        for precision in request.latency_precisions
        for batch in request.latency_batches
    ]
    return Deployed(
        key=request.key,
        device_kind=device_kind(),
        dataset=data.name,
        accuracy=_accuracy(before, labels),
        formats=formats,
        latencies=tuple(latencies),
        unsafe_files_loaded=unsafe,
    )


class _Expected(NamedTuple):
    """Test images and labels, and what the model said of them before it was saved."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]


_CANNOT: Final = (
    ImportError,  # a library of the format is missing, or does not fit the others
    OSError,  # the file cannot be written
    RuntimeError,  # a library refuses: TensorFlow Lite and ONNX Runtime; an operation that the format lacks
    TypeError,  # Keras: a layer's configuration that JSON cannot hold, or that its constructor does not take
    ValueError,  # Keras: a class that is not registered, safe mode
)
"""Errors of foreign libraries that save, load and run a model; nothing of this project is called in between."""


def _round_trip(model: Any, row: _Format, folder: Path, expected: _Expected) -> FormatResult:
    path = folder / f"model{row.suffix}"
    images, labels, before = expected
    try:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras calls .h5 legacy at every save; the report says so once
            row.save(model, path)
        saved = time.perf_counter()
        predict = row.load(path)
        loaded = time.perf_counter()
        after = np.concatenate([predict(images[i : i + 500]) for i in range(0, len(images), 500)])
    except UnavailableError as error:
        return FormatResult(reason=str(error))
    except _CANNOT as error:
        # What cannot be written or read back here is a result with its reason; the other formats go on.
        said = (str(error).strip() or "without a message").splitlines()[0]
        return FormatResult(reason=f"{type(error).__name__}: {said[:200]}")
    return FormatResult(
        size_bytes=_size_bytes(path),
        save_s=saved - start,
        load_s=loaded - saved,
        probability_difference=float(np.max(np.abs(after - before))),
        accuracy_difference=abs(_accuracy(after, labels) - _accuracy(before, labels)),
    )


def _accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    return float((np.argmax(probabilities, axis=1) == labels).mean())


def _size_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sum(item.stat().st_size for item in files)


def _save_keras(model: Any, path: Path) -> None:
    model.save(path)


def _load_keras(path: Path) -> _Predict:
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    return lambda x: np.asarray(model.predict(x, batch_size=500, verbose=0))


def _export_saved_model(model: Any, path: Path) -> None:
    model.export(path, format="tf_saved_model", verbose=False)


def _load_saved_model(path: Path) -> _Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # the object must outlive its functions: it owns the variables
    return lambda x: np.asarray(loaded.serve(tf.constant(x)))


def _export_onnx(model: Any, path: Path) -> None:
    _require_onnx()
    model.export(path, format="onnx", verbose=False)


def _require_onnx() -> None:
    import keras

    needed = _ONNX_MODULES[keras.backend.backend()]
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        raise UnavailableError(
            f"skipped: {', '.join(absent)} not installed; writing an ONNX file and evaluating it takes "
            f"{', '.join(needed)}.",
            next_step=f"pip install {' '.join(absent)}",
        )


def _load_onnx(path: Path) -> _Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


_ONNX_MODULES: Final = {
    "tensorflow": ("onnxruntime", "onnx", "tf2onnx"),
    "jax": ("onnxruntime", "onnx", "jax2onnx"),
    "torch": ("onnxruntime", "onnx", "onnxscript"),
}
"""Keras backend → what an ONNX round trip takes, each module named as its package is."""

FORMATS: Final[dict[str, _Format]] = {
    "keras": _Format(".keras", _save_keras, _load_keras),
    "h5": _Format(".h5", _save_keras, _load_keras),
    "saved-model": _Format("-saved-model", _export_saved_model, _load_saved_model),
    "onnx": _Format(".onnx", _export_onnx, _load_onnx),
}
"""Format name → how it is written and read. Add a row to measure another."""


def unsafe_files_loaded(folder: Path) -> int:
    """Count the hostile files that load with safe mode on: a Lambda layer carries code in a ``.keras`` and an ``.h5``.

    Only the refusal is tested; the code in them does nothing.
    """
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    loaded = 0
    for suffix in (".keras", ".h5"):
        path = folder / f"untrusted{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save(path)
        try:
            keras.models.load_model(path, safe_mode=True)
        except (ValueError, TypeError):
            continue
        loaded += 1
    return loaded


LEAST_FOR_P99: Final = 300
"""Requests in a launch, all repeats together: of fewer the slowest one or two would be the 99th percentile."""


def _latency(pool: ModelPool, precision: str, batch_size: int, request: Deploy) -> LatencyResult:
    """Request latency from numpy input to numpy output; each repeat is ``requests`` requests."""
    model = pool.fresh(precision, 64, request.seed, 1e-3)
    images = np.random.default_rng(0).random((batch_size, 28, 28, 1), dtype=np.float32)
    for _ in range(_WARM_REQUESTS):
        model.predict_on_batch(images)
    samples = np.array([[_timed(model, images) for _ in range(request.requests)] for _ in range(request.repeats)])
    return LatencyResult(
        batch_size=batch_size,
        precision=precision,
        p50_s=tuple(np.percentile(samples, 50, axis=1).tolist()),
        p99_s=(float(np.percentile(samples, 99)),) if samples.size >= LEAST_FOR_P99 else (),
        throughput_per_s=tuple((batch_size * request.requests / samples.sum(axis=1)).tolist()),
    )


def _timed(model: Any, images: NDArray[np.float32]) -> float:
    start = time.perf_counter()
    model.predict_on_batch(images)  # returns numpy, hence waits for the device
    return time.perf_counter() - start

"""Three more trials: does a batch fit, what does the input pipeline cost, is a split model still the same model?"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rtxbench.errors import OutOfMemoryError, RtxbenchError, UnavailableError
from rtxbench.trials.input_wait import InputWait, input_wait
from rtxbench.trials.messages import Pipeline, Pipelined, Probe, Probed, Split, SplitChecked
from rtxbench.trials.pipelines import article_layers, legacy_generator, load_images, tf_data_pipeline
from rtxbench.trials.training import ModelPool, as_inputs, device_kind

__all__ = ["run_pipeline", "run_probe", "run_split_check"]


def run_probe(request: Probe, pool: ModelPool) -> Probed:
    """Run a training step at the asked batch size. Out of memory is an answer; anything else is an error.

    On a CPU the limit is set on the process's memory, so that the failure is the allocator's own and the
    machine is never driven into swapping. The limit stays: each limit needs a worker of its own.
    """
    x = np.zeros((request.batch_size, 28, 28, 1), np.float32)
    y = np.zeros(request.batch_size, np.int32)
    model = pool.fresh(request.precision, 64, 0, 1e-3)
    if device_kind() == "cpu":
        _limit_memory(request.memory_limit_bytes)
    try:
        with pool.engine.translated_errors():
            model.train_on_batch(x, y)  # traces for this shape
            step_s = min(_step_s(model, x, y) for _ in range(2))
    except OutOfMemoryError as error:
        return _probed(request, None, error.complaint[:200])
    return _probed(request, step_s, None)


def _step_s(model: Any, x: Any, y: Any) -> float:
    start = time.perf_counter()
    model.train_on_batch(x, y)  # returns the loss as a number, hence waits for the device
    return time.perf_counter() - start


def _probed(request: Probe, step_s: float | None, reason: str | None) -> Probed:
    return Probed(
        key=request.key,
        batch_size=request.batch_size,
        device_kind=device_kind(),
        fits=reason is None,
        step_s=step_s,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if device_kind() == "cpu" else None,
        reason=reason,
    )


def _limit_memory(limit_bytes: int | None) -> None:
    """Let the process's writable memory grow by ``limit_bytes`` and no further.

    Not its address space: the allocator reserves 64 MiB of that for each of its threads, used or not.
    """
    if limit_bytes is None or sys.platform != "linux":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != resource.RLIM_INFINITY:
        return  # an earlier probe of this process set it
    used_bytes = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used_bytes + limit_bytes, hard))


def run_pipeline(request: Pipeline, pool: ModelPool) -> Pipelined:
    """Examples per second of each pipeline alone and of training fed by it; whichever cannot run has its reason."""
    data = load_images(request.data)
    images, labels = as_inputs(data.train[0]), data.train[1]
    sources: dict[str, Callable[[], Iterable[Any]]] = {
        "no augmentation": lambda: tf_data_pipeline(images, labels, request.batch_size, None),
        "Keras layers in tf.data": lambda: tf_data_pipeline(images, labels, request.batch_size, layers),
        "ImageDataGenerator (legacy)": lambda: legacy(images, labels),
    }
    layers = article_layers()
    missing: dict[str, str] = {}
    try:
        legacy = legacy_generator(request.batch_size)
    except UnavailableError as error:
        missing["ImageDataGenerator (legacy)"] = str(error)
        del sources["ImageDataGenerator (legacy)"]
    model = pool.fresh("float32", request.batch_size, 0, 1e-3)
    steps = len(images) // request.batch_size
    alone: dict[str, list[float]] = {name: [] for name in sources}
    training: dict[str, list[InputWait]] = {name: [] for name in sources}
    for _ in range(request.repeats):  # interleaved, so that a drift of the machine meets all of them
        for name, source in list(sources.items()):
            try:
                alone[name].append(_drain(source(), steps, request.batch_size))
                training[name].append(_train(model, source(), steps))
            except RtxbenchError as error:
                missing[name] = str(error)
                del sources[name]
    return Pipelined(
        key=request.key,
        device_kind=device_kind(),
        dataset=data.name,
        alone_per_s={name: tuple(values) for name, values in alone.items() if name not in missing},
        training_per_s={
            name: tuple(run.steps * request.batch_size / run.total_s for run in runs)
            for name, runs in training.items()
            if name not in missing
        },
        input_wait_ratio={
            name: tuple(run.ratio for run in runs) for name, runs in training.items() if name not in missing
        },
        missing=missing,
    )


def _drain(batches: Iterable[Any], steps: int, batch_size: int) -> float:
    """Examples per second after the first batch, which builds the pipeline."""
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    taken = sum(1 for _ in islice(iterator, steps - 1))
    return taken * batch_size / (time.perf_counter() - start)


def _train(model: Any, batches: Iterable[Any], steps: int) -> InputWait:
    """Train on all batches but the first, which builds the pipeline. The loss comes back as a number: it waits."""
    return input_wait(iter(batches), lambda batch: model.train_on_batch(*batch), steps - 1, lead_in=1)


def run_split_check(request: Split) -> SplitChecked:
    """Train a four-layer MLP split over two devices and the same MLP on one, from the same weights.

    Raises:
        UnavailableError: not the TensorFlow backend, or too few devices.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UnavailableError(
            "layer placement is checked on the TensorFlow engine only.",
            next_step="JAX splits models with keras.distribution.ModelParallel.",
        )
    devices, logical = _devices(request.device_count)
    rng = np.random.default_rng(request.seed)
    x = rng.standard_normal((request.batch_size, request.width)).astype(np.float32)
    y = rng.integers(0, 10, request.batch_size)
    one = _PlacedMlp([devices[0]] * 4, request)
    split = _PlacedMlp([devices[i * len(devices) // 4] for i in range(4)], request)
    losses_one, step_s_one = one.train(x, y, request.steps)
    losses_split, step_s_split = split.train(x, y, request.steps)
    return SplitChecked(
        key=request.key,
        device_kind="cpu" if logical else "gpu",
        logical=logical,
        losses_one=tuple(losses_one),
        losses_split=tuple(losses_split),
        bytes_one=sum(one.bytes_by_device().values()),
        bytes_per_device=tuple(split.bytes_by_device().values()),
        step_s_one=step_s_one,
        step_s_split=step_s_split,
    )


def _devices(count: int) -> tuple[list[str], bool]:
    """Device names, and whether they are logical shares of the CPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) >= count:
        return [f"/GPU:{index}" for index in range(count)], False
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        raise UnavailableError(
            "the CPU was already started as one device in this process.", next_step="Use a worker of its own."
        ) from error
    return [f"/CPU:{index}" for index in range(count)], True


class _PlacedMlp:
    """Width→width ×3 →10, each layer's variables and products on a device of its own choosing; plain SGD."""

    def __init__(self, devices: Sequence[str], request: Split) -> None:
        import tensorflow as tf

        self._tf = tf
        self._devices = devices
        rng = np.random.default_rng(request.seed + 1)
        widths = [request.width] * 4 + [10]
        self._weights = []
        for device, rows, columns in zip(devices, widths, widths[1:], strict=False):
            initial = rng.standard_normal((rows, columns)).astype(np.float32) / np.float32(np.sqrt(rows))
            with tf.device(device):
                self._weights.append((tf.Variable(initial), tf.Variable(tf.zeros(columns))))

    def _step(self, x: Any, y: Any) -> Any:
        tf = self._tf
        variables = [variable for pair in self._weights for variable in pair]
        with tf.GradientTape() as tape:
            for index, (device, (kernel, bias)) in enumerate(zip(self._devices, self._weights, strict=True)):
                with tf.device(device):
                    x = tf.matmul(x, kernel) + bias
                    x = x if index == 3 else tf.nn.relu(x)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.05 * gradient)  # runs where the variable lies
        return loss

    def train(self, x: Any, y: Any, steps: int) -> tuple[list[float], float]:
        """Loss of each step, and seconds a step after the first."""
        step = self._tf.function(self._step)
        losses = [float(step(x, y))]
        start = time.perf_counter()
        losses += [float(step(x, y)) for _ in range(steps - 1)]
        return losses, (time.perf_counter() - start) / max(1, steps - 1)

    def bytes_by_device(self) -> dict[str, int]:
        """Count the bytes of parameters on each device, as the framework says where they lie."""
        held: dict[str, int] = {}
        for variable in (variable for pair in self._weights for variable in pair):
            held[variable.device] = held.get(variable.device, 0) + int(np.prod(variable.shape)) * 4
        return held

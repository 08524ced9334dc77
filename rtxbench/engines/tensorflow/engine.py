"""The reference engine: Keras 3 on TensorFlow, a custom training loop of concrete functions.

A step is one call of a concrete function (about a quarter of ``fit``'s own cost per step), the batch is resident on
the device, and ``run`` returns only when every device has finished. One strategy per process: two poison it. Token ids
and labels are the exception: TensorFlow keeps int32 tensors in the host's memory and copies them each step.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import numpy as np

from rtxbench.engines.backend import import_keras
from rtxbench.engines.contract import Device, Engine, EngineFigure, TrainStep
from rtxbench.engines.failures import translated
from rtxbench.engines.keras_model import ModelParts, build_parts, convolution_relative_error, matmul_relative_error
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.step import NodesStep
from rtxbench.engines.preload import preload_cuda_libraries
from rtxbench.engines.refusals import refuse, way_of
from rtxbench.engines.step_work import StepWork
from rtxbench.engines.tensorflow.nodes import TensorFlowShare, joined_strategy
from rtxbench.errors import UnavailableError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import Case
from rtxbench.workloads import Workload, workload_of

__all__ = ["STRATEGIES", "create", "split_batch"]

_SWITCHES = ("ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTEROP_THREADS")


def create() -> Engine:
    """Import TensorFlow with Keras on top of it and let GPU memory grow on demand.

    Raises:
        UnavailableError: this process's Keras belongs to another framework.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    preload_cuda_libraries()  # TensorFlow 2.21's own wheel does not find all it needs
    import_keras("tensorflow")
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        # Without this the first process takes all memory and the allocator's peak says nothing.
        tf.config.experimental.set_memory_growth(gpu, True)
    return _TensorFlowEngine(tf)


class _TensorFlowStep:
    """One built case. Holds the concrete function and everything it captured."""

    def __init__(
        self,
        engine: "_TensorFlowEngine",
        case: Case,
        function: Callable[[], Any],
        concrete: Any,
        parts: ModelParts,
        scope: Callable[[], AbstractContextManager[Any]] = nullcontext,
        *,
        over_network: bool = False,
    ) -> None:
        self._engine = engine
        self._tf = engine.tf
        self._tf32 = precision_named(case.precision).tf32
        self._function = function
        self._scope = scope
        """Device scope of the call. Tracing forgets the device in force, so the call must name it: products would
        else run on the process's default device, the GPU, for a case of the CPU."""
        self._concrete = concrete
        self._parts = parts
        self._over_network = over_network
        self._fused = case.compiler == "xla"
        self._loss: Any = None

    def activate(self) -> None:
        """Throw the TF32 switch as the case wants it."""
        self._engine.set_tf32(self._tf32)

    def run(self, steps: int) -> None:
        """Call the traced function so often and wait for every device."""
        function = self._function
        with self._engine.translated_errors(), self._scope():
            for _ in range(steps):
                self._loss = function()
            if self._over_network:  # the call below would wait for the devices of other nodes, and fails
                self._read_last_update()
            else:
                self._tf.test.experimental.sync_devices()

    def _read_last_update(self) -> None:
        """Wait for this rank's device: what was updated last is read from it, after all that came before."""
        self._tf.reshape(self._parts.model.trainable_variables[-1].value, [-1])[:1].numpy()

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        return None if self._loss is None else float(self._loss)

    def flops(self) -> EngineFigure:
        """Counted from the traced graph, forward, backward and update."""
        from rtxbench.engines.tensorflow.flops import METHOD, training_step_flops

        graph = self._concrete.graph
        fetches = [tensor.op for tensor in graph.outputs] + graph.control_outputs
        try:
            return EngineFigure(training_step_flops(fetches, static=self._tf.get_static_value), METHOD)
        except (ValueError, TypeError) as error:
            return EngineFigure(None, f"an operation of the training graph has no static shape: {error}")

    def work(self) -> StepWork:
        """Kernels, traffic and alignment of the traced graph, where that graph is what runs."""
        from rtxbench.engines.tensorflow.work import step_work

        if self._fused:
            return StepWork(None, None, None, "XLA fuses operations: the traced graph is not what runs")
        return step_work(self._concrete.graph, static=self._tf.get_static_value)

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots, as every replica holds them."""
        return self._parts.state_bytes()

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one replica's gradients."""
        return self._parts.gradient_bytes()

    def notes(self) -> dict[str, str]:
        """Note the kernel of the model's attention."""
        return self._parts.notes("tensorflow")


class _TensorFlowEngine:
    name = "tensorflow"

    def __init__(self, tf: Any) -> None:
        self.tf = tf
        self._gpu_used = False

    def versions(self) -> dict[str, str]:
        """CUDA and cuDNN of the build, and the TensorFlow and oneDNN switches that are set."""
        build = self.tf.sysconfig.get_build_info()
        versions = {key: str(build[key]) for key in ("cuda_version", "cudnn_version") if key in build}
        return versions | {name: os.environ[name] for name in _SWITCHES if name in os.environ}

    def devices(self) -> list[Device]:
        """Physical devices, host first, as TensorFlow lists them."""
        listed = self.tf.config.list_physical_devices()
        return [Device(d.name, d.device_type.lower(), _description(self.tf, d)) for d in listed]

    def build(self, case: Case, seed: int) -> TrainStep:
        """Trace the step on one device, or over replicas under MirroredStrategy."""
        refuse(case)
        workload = workload_of(case, seed)
        self._gpu_used |= placement_named(case.placement).device_kind == "gpu"
        build = way_of(STRATEGIES, case)
        with self.translated_errors():
            return build(self, workload, case, seed)

    def _build_single(self, workload: Workload, case: Case, seed: int) -> TrainStep:
        tf = self.tf
        with tf.device(self._device_name(case)):
            parts = build_parts(workload, case, seed)
            inputs, labels = _to_tensors(tf, workload.batch(case.batch_size, np.random.default_rng(seed)))
            step = _gradient_step(tf, parts, replicas=1)

        @tf.function(jit_compile=case.compiler == "xla")  # type: ignore[untyped-decorator]
        def one_step(x: Any, y: Any) -> Any:
            return step(x, y)

        def scope() -> Any:
            return tf.device(self._device_name(case))

        with scope():
            concrete = one_step.get_concrete_function(inputs, labels)
        return _TensorFlowStep(self, case, lambda: concrete(inputs, labels), concrete, parts, scope)

    def build_share(self, case: Case, seed: int, member: Member) -> TensorFlowShare:
        """Meet the other nodes' ranks and build this one's share under MultiWorkerMirroredStrategy."""
        refuse(case)
        kind = placement_named(case.placement).device_kind
        self._gpu_used |= kind == "gpu"
        with self.translated_errors():
            strategy = joined_strategy(self.tf, member, kind)
            step = self._build_replicated(strategy, workload_of(case, seed), case, seed)
        return TensorFlowShare(self.tf, step, strategy, kind)

    def _build_mirrored(self, workload: Workload, case: Case, seed: int) -> TrainStep:
        return self._build_replicated(self._strategy(case), workload, case, seed)

    def _build_replicated(self, strategy: Any, workload: Workload, case: Case, seed: int) -> TrainStep:
        tf = self.tf
        replicas = strategy.num_replicas_in_sync
        whole = workload.batch(case.batch_size, np.random.default_rng(seed))
        with strategy.scope():
            parts = build_parts(workload, case, seed)
        step = _gradient_step(tf, parts, replicas=replicas, jit=case.compiler == "xla")

        batch = split_batch(tf, strategy, whole)

        @tf.function  # type: ignore[untyped-decorator]
        def one_step(x: Any, y: Any) -> Any:
            return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(step, args=(x, y)), axis=None)

        concrete = one_step.get_concrete_function(*batch)
        over_network = placement_named(case.placement).over_network
        return _TensorFlowStep(self, case, lambda: one_step(*batch), concrete, parts, over_network=over_network)

    def _strategy(self, case: Case) -> Any:
        tf = self.tf
        check = placement_named(case.placement).functional_check
        if check:
            names = self._logical_cpus(case.device_count)
        else:
            names = [f"/gpu:{index}" for index in range(len(tf.config.list_physical_devices("GPU")))]
        if len(names) < case.device_count or case.batch_size % case.device_count:
            raise UnavailableError(
                f"{case.label} wants {case.device_count} devices for {case.batch_size} examples; {len(names)} found.",
                next_step="Lower the device count, or choose a batch size it divides.",
            )
        # HierarchicalCopy and ReductionToOneDevice do not depend on NCCL, which a CPU has not.
        reduce = tf.distribute.ReductionToOneDevice() if check else None
        return tf.distribute.MirroredStrategy(names[: case.device_count], cross_device_ops=reduce)

    def _logical_cpus(self, count: int) -> list[str]:
        tf = self.tf
        physical = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(physical, [tf.config.LogicalDeviceConfiguration()] * count)
        except RuntimeError as error:
            raise UnavailableError(
                "the CPU was already started as one device in this process.", next_step="Use a worker of its own."
            ) from error
        return [device.name for device in tf.config.list_logical_devices("CPU")]

    def _device_name(self, case: Case) -> str:
        kind = placement_named(case.placement).device_kind
        if kind == "gpu" and not self.tf.config.list_physical_devices("GPU"):
            raise UnavailableError(
                "TensorFlow sees no GPU in this process.",
                next_step="Run `rtxbench doctor`: it names the missing driver or CUDA library.",
            )
        return f"/{kind}:0"

    def matmul_error(self, case: Case) -> EngineFigure:
        """Against float64, on the case's device with its TF32 switch, which is put back."""

        def multiply(left: Any, right: Any) -> Any:
            return tf.cast(tf.matmul(tf.cast(left, dtype), tf.cast(right, dtype)), tf.float32).numpy()

        tf = self.tf
        with self._as_trained(case) as dtype:
            return matmul_relative_error(multiply)

    def convolution_error(self, case: Case) -> EngineFigure:
        """Against float64, on the case's device with its TF32 switch, which is put back."""

        def convolve(images: Any, kernel: Any) -> Any:
            output = tf.nn.conv2d(tf.cast(images, dtype), tf.cast(kernel, dtype), strides=1, padding="VALID")
            return tf.cast(output, tf.float32).numpy()

        tf = self.tf
        with self._as_trained(case) as dtype:
            return convolution_relative_error(convolve)

    @contextmanager
    def _as_trained(self, case: Case) -> Iterator[str]:
        """Set the case's device and TF32 switch; yield the type of its products."""
        precision = precision_named(case.precision)
        kept = self.tf.config.experimental.tensor_float_32_execution_enabled()
        self.set_tf32(precision.tf32)
        try:
            with self.tf.device(self._device_name(case)):
                yield precision.dtype
        finally:
            self.set_tf32(kept)

    def peak_memory(self) -> EngineFigure:
        """Read the allocator's peak on the busiest GPU; a CPU's keeps none."""
        if not self._gpu_used:
            return EngineFigure(None, "TensorFlow's CPU allocator keeps no statistics")
        gpus = range(len(self.tf.config.list_physical_devices("GPU")))
        peaks = [self.tf.config.experimental.get_memory_info(f"GPU:{index}")["peak"] for index in gpus]
        return EngineFigure(float(max(peaks)), "TensorFlow allocator peak (get_memory_info)")

    def reset_peak_memory(self) -> None:
        """Start a new peak on every GPU."""
        if self._gpu_used:
            for index in range(len(self.tf.config.list_physical_devices("GPU"))):
                self.tf.config.experimental.reset_memory_stats(f"GPU:{index}")

    def set_tf32(self, allowed: bool) -> None:
        """Throw TensorFlow's process-wide switch; on, its default, affects Ampere and newer GPUs."""
        self.tf.config.experimental.enable_tensor_float_32_execution(allowed)

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate everything TensorFlow's operations raise."""
        return translated("TensorFlow", self.tf.errors.OpError)


STRATEGIES: Final[dict[str, Callable[[_TensorFlowEngine, Workload, Case, int], TrainStep]]] = {
    "single": _TensorFlowEngine._build_single,
    "mirrored": _TensorFlowEngine._build_mirrored,
    "multi-worker": lambda _engine, _workload, case, seed: NodesStep(case, seed),
}
"""Strategy of a placement → how its step is built."""


def _gradient_step(tf: Any, parts: ModelParts, *, replicas: int, jit: bool = False) -> Callable[[Any, Any], Any]:
    """Run one training step on one replica; return its share of the mean loss over the global batch."""
    model, optimizer, loss_of = parts
    variables = model.trainable_variables

    def forward_backward(x: Any, y: Any) -> tuple[Any, Any]:
        """Return a replica's share of the loss, and the gradients of the scaled one."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(loss_of(y, model(x, training=True))) / replicas
            scaled = optimizer.scale_loss(loss)
        return loss, tape.gradient(scaled, variables)

    # XLA around the whole replica step fails under a strategy: the all-reduce must stay outside.
    compiled = tf.function(forward_backward, jit_compile=True) if jit else forward_backward

    def step(x: Any, y: Any) -> Any:
        loss, gradients = compiled(x, y)
        optimizer.apply(gradients, variables)
        return loss

    return step


def split_batch(tf: Any, strategy: Any, whole: Any) -> Any:
    """Give each replica its share of a batch, on that replica's own device.

    Args:
        tf: the module.
        strategy: over whose replicas.
        whole: nested numpy arrays with the batch axis first.
    """
    devices = strategy.extended.worker_devices

    def local(context: Any) -> Any:
        """Put one replica's share of every array on its own device."""
        number = context.replica_id_in_sync_group

        def share(array: Any) -> Any:
            size = len(array) // strategy.num_replicas_in_sync
            return tf.constant(array[number * size : (number + 1) * size])

        with tf.device(
            devices[number % len(devices)]
        ):  # without it every share lies on the first device, and crosses over each step
            return tf.nest.map_structure(share, whole)

    return strategy.experimental_distribute_values_from_function(local)


def _to_tensors(tf: Any, batch: Any) -> Any:
    return tf.nest.map_structure(tf.constant, batch)


def _description(tf: Any, device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", ""))

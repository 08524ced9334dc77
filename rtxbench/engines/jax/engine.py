"""Keras 3 on JAX: one compiled program per training step, state in and out, devices by ``keras.distribution``.

JAX dispatches without waiting, so ``run`` blocks on the last step's whole state. The step is compiled for its shapes
when it is first activated; what the precision switch said then is part of the program.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import numpy as np

from rtxbench.engines.backend import import_keras
from rtxbench.engines.contract import Device, Engine, EngineFigure, TrainStep
from rtxbench.engines.failures import translated
from rtxbench.engines.jax.counts import bytes_accessed, step_flops
from rtxbench.engines.jax.devices import distribution_for, with_logical_cpus
from rtxbench.engines.jax.nodes import JaxShare, join_ranks
from rtxbench.engines.jax.own import OwnParts, own_parts
from rtxbench.engines.keras_model import ModelParts, build_parts, convolution_relative_error, matmul_relative_error
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.step import NodesStep
from rtxbench.engines.refusals import refuse
from rtxbench.engines.step_work import StepWork
from rtxbench.errors import UnavailableError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import Case
from rtxbench.workloads import workload_of
from rtxbench.workloads.own import OwnModel, call_build, is_own

__all__ = ["create"]

_SWITCHES: Final = ("XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "JAX_PLATFORMS")


def create() -> Engine:
    """Import JAX with Keras on top of it; GPU memory grows on demand, so that NVML's figure means something.

    Raises:
        UnavailableError: this process's Keras belongs to another framework.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import_keras("jax")
    import jax

    return _JaxEngine(jax)


class _JaxStep:
    """One built case: the program, the training state it maps to the next one, and the resident batch."""

    def __init__(self, engine: "_JaxEngine", program: "_Program") -> None:
        self._engine = engine
        self._program = program
        self._state = program.initial_state
        self._loss: Any = None

    def activate(self) -> None:
        """Set the switch that operations dispatched one by one read, and compile if that has not happened yet."""
        self._engine.active = self._program
        self._engine.set_tf32(precision_named(self._program.case.precision).tf32)
        self._program.prepare()

    def run(self, steps: int) -> None:
        """Chain ``steps`` calls, each on the state the last one returned, and wait for the last."""
        jax, program, state, loss = self._engine.jax, self._program.prepare(), self._state, self._loss
        call, batch = program.call, program.batch
        with _translated_errors(jax), jax.default_device(program.device):
            for _ in range(steps):
                state, loss = call(state, *batch)
            jax.block_until_ready((state, loss))
        self._state, self._loss = state, loss

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        return None if self._loss is None else float(self._loss)

    def flops(self) -> EngineFigure:
        """XLA's cost analysis of the lowered program."""
        return self._program.prepare().flops()

    def notes(self) -> dict[str, str]:
        """Note the kernel of the model's attention."""
        return self._program.parts.notes("jax")

    def work(self) -> StepWork:
        """Traffic as the compiler counts it, after fusion where the program is compiled."""
        traffic_bytes = self._program.prepare().traffic_bytes
        return StepWork(None, traffic_bytes, None, "XLA cost analysis: bytes, not kernels or channels")

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of the first device's shards; a split model holds only its part there."""
        leaves = self._engine.jax.tree.leaves(self._state)
        total = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
        return EngineFigure(float(total), "sum over the first device's shards of model and optimizer variables")

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one replica's gradients."""
        return self._program.parts.gradient_bytes()


class _Program:
    """A training step for fixed shapes: what to call, and what the compiler says of it.

    Tracing and compiling wait for `prepare`, so that they are timed with the first step and not as model construction.
    """

    def __init__(self, jax: Any, case: Case, parts: ModelParts | OwnParts, batch: Any, device: Any) -> None:
        self._jax = jax
        self.case = case
        self.parts = parts
        self.batch = batch
        """Arguments of the step after its state."""
        self.device = device
        self.initial_state = parts.state if isinstance(parts, OwnParts) else _state_of(parts)
        self.lowered: Any = None
        self._step = parts.step if isinstance(parts, OwnParts) else _training_step(jax, parts)
        self.call = self._step
        self.traffic_bytes: float | None = None
        self._memory: Any = None

    def prepare(self) -> "_Program":
        """Trace and compile once."""
        if self.lowered is None:
            with (
                _translated_errors(self._jax),
                self._jax.default_matmul_precision(_matmul_precision(precision_named(self.case.precision).tf32)),
                self._jax.default_device(self.device),
                distribution_for(self.case),
            ):
                self._compile()
        return self

    def _compile(self) -> None:
        # The next state lies where this one does, or a split model would come back in one piece.
        placed = self._jax.tree.map(lambda leaf: leaf.sharding, self.initial_state)
        jitted = self._jax.jit(self._step, donate_argnums=0, out_shardings=(placed, None))
        self.lowered = jitted.lower(self.initial_state, *self.batch)
        self.traffic_bytes = bytes_accessed(self.lowered)
        if self.case.compiler != "none":
            compiled = self.lowered.compile()
            self.call, self._memory = compiled, compiled.memory_analysis()
            self.traffic_bytes = bytes_accessed(compiled)

    def flops(self) -> EngineFigure:
        """FLOPs of one step over all devices."""
        return step_flops(self._jax, self.lowered, self._step, (self.initial_state, *self.batch))

    def peak_memory(self) -> EngineFigure:
        """Read the bytes that one device holds while the program runs from the compiler's own plan."""
        plan = self.prepare()._memory
        if plan is None:
            return EngineFigure(None, "operations dispatched one by one have no memory plan; use compiler xla")
        peak = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
        return EngineFigure(
            float(peak - plan.alias_size_in_bytes), "XLA memory_analysis: temp + argument + output − alias"
        )


class _JaxEngine:
    name = "jax"

    def __init__(self, jax: Any) -> None:
        self.jax = jax
        self.active: _Program | None = None

    def versions(self) -> dict[str, str]:
        """XLA's platform version, and the XLA and JAX switches that are set."""
        platform = str(self.jax.devices()[0].client.platform_version)
        versions = {"xla_platform": " ".join(platform.split())}  # on a GPU its second line holds the CUDA version
        return versions | {name: os.environ[name] for name in _SWITCHES if name in os.environ}

    def devices(self) -> list[Device]:
        """List the accelerator's devices, then the host."""
        try:
            found = [*self.jax.devices(), *(self.jax.devices("cpu") if self.jax.default_backend() != "cpu" else [])]
        except RuntimeError as error:
            raise UnavailableError(f"JAX cannot start: {error}.", next_step="Run `rtxbench doctor`.") from error
        return [Device(f"{d.platform}:{d.id}", "cpu" if d.platform == "cpu" else "gpu", d.device_kind) for d in found]

    def build(self, case: Case, seed: int) -> TrainStep:
        """Model and batch on the case's devices; tracing and compiling wait for the first `activate`."""
        refuse(case)
        if placement_named(case.placement).over_network:
            return NodesStep(case, seed)
        return self._built(case, seed)

    def build_share(self, case: Case, seed: int, member: Member) -> JaxShare:
        """Meet the other nodes' ranks and build the program over the devices of all of them."""
        refuse(case)
        join_ranks(self.jax, member)
        return JaxShare(self.jax, self._built(case, seed), placement_named(case.placement).device_kind)

    def _built(self, case: Case, seed: int) -> TrainStep:
        import keras

        own = call_build(case, seed) if is_own(case.workload) else None
        if own is not None and not own.is_keras:
            return self._own_step(case, own)
        workload = workload_of(case, seed, own)
        del own  # its model is built once more, under the case's dtype policy and on its device
        if placement_named(case.placement).functional_check:
            with_logical_cpus(self.jax, case.device_count, untouched=self.active is None)
        device = self._device(case)
        batch = workload.batch(case.batch_size, np.random.default_rng(seed))
        with (
            _translated_errors(self.jax),
            self.jax.default_matmul_precision(_matmul_precision(precision_named(case.precision).tf32)),
            keras.device(f"{device.platform}:{device.id}"),
            distribution_for(case) as place,
        ):
            parts = build_parts(workload, case, seed)
            program = _Program(self.jax, case, parts, self.jax.tree.map(place, batch), device)
        return _JaxStep(self, program)

    def _own_step(self, case: Case, own: OwnModel) -> TrainStep:
        device = self._device(case)
        with (
            _translated_errors(self.jax),
            self.jax.default_matmul_precision(_matmul_precision(precision_named(case.precision).tf32)),
            self.jax.default_device(device),
        ):
            batch = self.jax.tree.map(self.jax.numpy.asarray, own.batch)
            program = _Program(self.jax, case, own_parts(self.jax, case, own), (batch,), device)
        return _JaxStep(self, program)

    def _device(self, case: Case) -> Any:
        kind = placement_named(case.placement).device_kind
        try:
            return self.jax.local_devices(backend=kind)[0]
        except RuntimeError as error:
            raise UnavailableError(
                f"JAX sees no {kind} in this process.",
                next_step="Run `rtxbench doctor`: it names the missing driver or CUDA plugin.",
            ) from error

    def matmul_error(self, case: Case) -> EngineFigure:
        """Against float64, dispatched as one operation under the case's precision switch."""

        def multiply(left: Any, right: Any) -> Any:
            return jnp.matmul(jnp.asarray(left, dtype), jnp.asarray(right, dtype)).astype("float32")

        jnp = self.jax.numpy
        with self._as_trained(case) as dtype:
            return matmul_relative_error(multiply)

    def convolution_error(self, case: Case) -> EngineFigure:
        """Against float64, dispatched as one operation under the case's precision switch."""

        def convolve(images: Any, kernel: Any) -> Any:
            """Convolve in this precision; the output is float32."""
            operands = (jnp.asarray(images, dtype), jnp.asarray(kernel, dtype))
            layout = ("NHWC", "HWIO", "NHWC")
            output = self.jax.lax.conv_general_dilated(*operands, (1, 1), "VALID", dimension_numbers=layout)
            return output.astype("float32")

        jnp = self.jax.numpy
        with self._as_trained(case) as dtype:
            return convolution_relative_error(convolve)

    @contextmanager
    def _as_trained(self, case: Case) -> Iterator[str]:
        """Set the case's device and precision switch; yield the type of its products."""
        precision = precision_named(case.precision)
        with (
            self.jax.default_device(self._device(case)),
            self.jax.default_matmul_precision(_matmul_precision(precision.tf32)),
        ):
            yield precision.dtype

    def peak_memory(self) -> EngineFigure:
        """Read the bytes that one device holds while the program runs from the compiler's own plan."""
        if self.active is None:
            return EngineFigure(None, "no step was run yet")
        return self.active.peak_memory()

    def reset_peak_memory(self) -> None:
        """Reset nothing: the compiler's plan belongs to one program."""

    def set_tf32(self, allowed: bool) -> None:
        """Set JAX's default for operations dispatched or traced from now on."""
        self.jax.config.update("jax_default_matmul_precision", _matmul_precision(allowed))

    def translated_errors(self) -> AbstractContextManager[None]:
        """Translate everything JAX's runtime raises."""
        return _translated_errors(self.jax)


def _matmul_precision(tf32: bool) -> str:
    """Name JAX's setting. Its own default on Ampere and newer is TF32; strict float32 must be asked for.

    ``"tensorfloat32"`` is not the name to use: it stands for ``Precision.HIGH``, which XLA's Triton products compute
    in plain float32 (TF32 there only at DEFAULT), so that the arm would be TF32 or not as the autotuner likes.
    """
    return "default" if tf32 else "highest"


def _training_step(jax: Any, parts: ModelParts) -> Callable[..., Any]:
    """Map (state, inputs, labels) to (next state, mean loss), purely."""
    import keras

    model, optimizer, loss_of = parts

    def scaled_loss(trainable: Any, fixed: Any, slots: Any, inputs: Any, labels: Any) -> Any:
        """Return the loss as the optimiser scales it, with the plain one and the layers' other state."""
        outputs, fixed = model.stateless_call(trainable, fixed, inputs, training=True)
        loss = jax.numpy.mean(loss_of(labels, outputs))
        with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, slots, strict=True))):
            return optimizer.scale_loss(loss), (loss, fixed)

    def step(state: Any, inputs: Any, labels: Any) -> Any:
        """Take one training step; returns the new state and the loss before it."""
        trainable, fixed, slots = state
        gradient = jax.value_and_grad(scaled_loss, has_aux=True)
        (_, (loss, fixed)), gradients = gradient(trainable, fixed, slots, inputs, labels)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, fixed, slots), loss

    return step


def _state_of(parts: ModelParts) -> Any:
    model, optimizer, _ = parts
    groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    return tuple([variable.value for variable in group] for group in groups)


def _translated_errors(jax: Any) -> AbstractContextManager[None]:
    return translated("JAX", jax.errors.JaxRuntimeError)

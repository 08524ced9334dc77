"""One process's training step on PyTorch: the whole of a case on one device, one rank's share of it under DDP."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from rtxbench.engines.contract import EngineFigure
from rtxbench.engines.failures import translated
from rtxbench.engines.keras_model import ModelParts, build_parts
from rtxbench.engines.step_work import StepWork
from rtxbench.engines.torch.native import NativeStep, native_model
from rtxbench.engines.torch.tf32 import set_tf32
from rtxbench.errors import MeasurementError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import NATIVE, Case
from rtxbench.workloads import WORKLOADS, Workload, workload_of
from rtxbench.workloads.own import OwnModel, call_build, is_own

__all__ = ["ReplicaStep", "build_replica", "translated_errors"]


class ReplicaStep:
    """One process's training step of a case: the whole of it on one device, one rank's share under DDP."""

    def __init__(self, torch: Any, case: Case, parts: ModelParts, batch: Any, index: int) -> None:
        self._torch = torch
        self._case = case
        self._parts = parts
        self._batch = batch
        self._index = index
        self._cuda = placement_named(case.placement).device_kind == "gpu"
        self._weights = list(parts.model.trainable_variables)
        self._plain_forward = self._forward_of(parts.model)
        self._forward = torch.compile(self._plain_forward) if case.compiler == "inductor" else self._plain_forward
        self._flops: EngineFigure | None = None
        self.last_loss: Any = None

    def wrap(self, wrapper: Callable[[Any], Any]) -> None:
        """Train through ``wrapper(model)`` from now on. The count comes first: a wrapper's hooks wait for all ranks."""
        self._flops = self.flops()
        self._forward = self._forward_of(wrapper(self._parts.model))

    def _forward_of(self, model: Any) -> Callable[..., Any]:
        loss_of = self._parts.loss_of
        return lambda inputs, labels: loss_of(labels, model(inputs, training=True)).mean()

    def activate(self) -> None:
        """Set the process-wide switches of this case: TF32, and cuDNN's as Keras leaves them."""
        set_tf32(self._torch, precision_named(self._case.precision).tf32)
        self._torch.backends.cudnn.benchmark = False

    def run(self, steps: int) -> None:
        """Run ``steps`` steps; returns when the device has finished the last one."""
        import keras

        with translated_errors(), keras.device(_keras_device(self._case, self._index)):
            for _ in range(steps):
                self._step(self._forward)
            if self._cuda:
                self._torch.cuda.synchronize()

    def _step(self, forward: Callable[..., Any]) -> None:
        loss = self._backward(forward)
        with self._torch.no_grad():
            self._parts.optimizer.apply([weight.value.grad for weight in self._weights], self._weights)
        self.last_loss = loss

    def _backward(self, forward: Callable[..., Any]) -> Any:
        for weight in self._weights:
            weight.value.grad = None
        loss = forward(*self._batch)
        self._parts.optimizer.scale_loss(loss).backward()
        return loss.detach()

    def loss(self) -> float | None:
        """Mean loss of the last step over this process's share of the batch."""
        return None if self.last_loss is None else float(self.last_loss)

    def flops(self) -> EngineFigure:
        """Count one more forward and backward pass; weights are not updated and what the pass moved is put back."""
        if self._flops is None:
            self._flops = self._counted()
        return self._flops

    def _counted(self) -> EngineFigure:
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with self._untrained(self._parts.model.non_trainable_variables), counter:
            self._backward(self._plain_forward)
        return EngineFigure(
            float(counter.get_total_flops()) * self._case.device_count,
            "torch.utils.flop_counter on forward and backward: matrix products, convolutions and attention",
        )

    def work(self) -> StepWork:
        """Count one more step, run eagerly; what it moved is put back."""
        from rtxbench.engines.torch.work import count_work  # derives from PyTorch's own classes

        with self._untrained([*self._parts.model.variables, *self._parts.optimizer.variables]):
            counted = count_work(lambda: self._step(self._plain_forward))
        if self._case.compiler == "inductor":
            how = "Inductor fuses operations: eager ones tell the shapes of products, not kernels or traffic"
            return StepWork(None, None, counted.unaligned_flops_ratio, how)
        return counted

    @contextmanager
    def _untrained(self, variables: Sequence[Any]) -> Iterator[None]:
        """Run something on this case's device; ``variables`` and random numbers go on as if it had not run."""
        import keras

        kept = [variable.value.detach().clone() for variable in variables]
        placed = keras.device(_keras_device(self._case, self._index))
        random = self._torch.random.fork_rng([self._index] if self._cuda else [])
        with translated_errors(), placed, random:
            yield
            for variable, value in zip(variables, kept, strict=True):
                variable.assign(value)

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots."""
        return self._parts.state_bytes()

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one replica's gradients."""
        return self._parts.gradient_bytes()

    def notes(self) -> dict[str, str]:
        """Say that these are Keras's layers, and note the kernel of the model's attention."""
        known = WORKLOADS.get(self._case.workload)
        only = "; no native form of this workload exists" if known is not None and known.native is None else ""
        return {"model": f"Keras's layers on PyTorch{only}"} | self._parts.notes("torch")


def build_replica(
    torch: Any,
    case: Case,
    seed: int,
    *,
    share: slice = slice(None),
    index: int = 0,
) -> ReplicaStep | NativeStep:
    """Build a case on one device of this process: a workload's native or Keras form, or a user's own model.

    Args:
        torch: the module.
        case: what to train.
        seed: of weights and batch.
        share: the examples of the global batch this process trains on.
        index: the device's number.

    Raises:
        MeasurementError: out of device memory.
    """
    if case.variant == NATIVE:
        return _native(torch, case, native_model(case.workload, case.batch_size, seed), share, index)
    own = call_build(case, seed) if is_own(case.workload) else None
    if own is not None and not own.is_keras:
        return _native(torch, case, own, share, index)
    return _keras_replica(torch, case, workload_of(case, seed, own), seed, share, index)


def _native(torch: Any, case: Case, own: OwnModel, share: slice, index: int) -> NativeStep:
    if not isinstance(own.model, torch.nn.Module):
        raise MeasurementError(
            f"engine torch takes a torch.nn.Module or a Keras model; the function returned {type(own.model).__name__}.",
            next_step="Return one, or choose the engine of your framework: --engine jax.",
        )
    set_tf32(torch, precision_named(case.precision).tf32)
    return NativeStep(torch, case, own, share, index)


def _keras_replica(torch: Any, case: Case, workload: Workload, seed: int, share: slice, index: int) -> ReplicaStep:
    import keras

    batch = workload.batch(case.batch_size, np.random.default_rng(seed))
    kind = placement_named(case.placement).device_kind
    set_tf32(torch, precision_named(case.precision).tf32)
    chosen = torch.cuda.device(index) if kind == "gpu" else nullcontext()
    with translated_errors(), chosen, keras.device(_keras_device(case, index)):
        parts = build_parts(workload, case, seed)
        tensors = keras.tree.map_structure(lambda array: keras.ops.convert_to_tensor(array[share]), batch)
        return ReplicaStep(torch, case, parts, tensors, index)


def _keras_device(case: Case, index: int) -> str:
    """Avoid a trap of Keras, which takes ``cpu:0`` and ``cpu`` for different devices and would train a copy."""
    return f"gpu:{index}" if placement_named(case.placement).device_kind == "gpu" else "cpu"


def translated_errors() -> AbstractContextManager[None]:
    """Translate everything PyTorch raises while running: ``RuntimeError``, of which its out-of-memory error is one."""
    return translated("PyTorch", RuntimeError)

"""A training step of a plain ``torch.nn.Module``, written as PyTorch's users write it.

Parameters stay in float32; autocast runs forward and loss in the case's type, ``GradScaler`` keeps float16 gradients
from underflowing, the optimizer is fused where the device has it, ``torch.compile`` wraps the whole model. It trains a
user's own model (`rtxbench.workloads.own`) and the suite's native models alike.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np

from rtxbench.engines.contract import EngineFigure
from rtxbench.engines.failures import memory_complaint
from rtxbench.engines.step_work import StepWork
from rtxbench.engines.torch.switches import Switches
from rtxbench.engines.torch.tf32 import set_tf32
from rtxbench.errors import MeasurementError, OutOfMemoryError, RtxbenchError, UnavailableError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import NATIVE, Case
from rtxbench.workloads import workload_named
from rtxbench.workloads.own import OwnModel, is_own

__all__ = ["NativeStep", "native_model"]

_DEFAULT_LEARNING_RATE = 1e-4
_KERAS_EPSILON = 1e-7  # of Keras's Adam; PyTorch's own is 1e-8


class NativeStep:
    """One process's training step: the whole of a case on one device, one rank's share under DDP.

    Raises:
        MeasurementError: the model, its batch or its optimizer are not what `rtxbench.workloads.own` asks for.
    """

    def __init__(self, torch: Any, case: Case, own: OwnModel, share: slice, index: int) -> None:
        self._torch = torch
        self._case = case
        self._cuda = placement_named(case.placement).device_kind == "gpu"
        self._device = torch.device(f"cuda:{index}" if self._cuda else "cpu")
        self._loss_of = own.loss
        self._switches = Switches(torch, case.variant if is_own(case.workload) else "")
        with _explained(case):
            self._model = self._switches.on_model(own.model.to(self._device).train())
            self._batch = self._placed(own.batch, share)
            self._optimizer = self._switches.on_optimizer(_optimizer(torch, own))
        self._parts = self._switches.parts_of(self._batch, case.batch_size // case.device_count)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=precision_named(case.precision).loss_scaling)
        self._forward = torch.compile(self._model) if case.compiler == "inductor" else self._model
        self._flops: EngineFigure | None = None
        self.last_loss: Any = None

    def _placed(self, batch: Any, share: slice) -> Any:
        """Move every tensor of the batch to the device, this process's share of its first axis."""

        def place(leaf: Any) -> Any:
            tensor = self._torch.as_tensor(leaf)
            return self._switches.on_tensor((tensor[share] if tensor.ndim else tensor).to(self._device))

        if not isinstance(batch, dict) and not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise MeasurementError(
                f"the batch is {type(batch).__name__}, neither a dict nor (inputs, labels).",
                next_step="Return the tensors of one batch as (inputs, labels), or as the model's keyword arguments.",
            )
        return self._torch.utils._pytree.tree_map(place, batch if isinstance(batch, dict) else tuple(batch))

    def wrap(self, wrapper: Callable[[Any], Any]) -> None:
        """Train through ``wrapper(model)`` from now on. The count comes first: a wrapper's hooks wait for all ranks."""
        self._flops = self.flops()
        wrapped = wrapper(self._model)
        self._forward = self._torch.compile(wrapped) if self._case.compiler == "inductor" else wrapped

    def activate(self) -> None:
        """Set the process-wide switches of this case: TF32, and cuDNN's search for the fastest convolution."""
        set_tf32(self._torch, precision_named(self._case.precision).tf32)
        native = self._case.variant == NATIVE  # as torchvision's own training does
        self._torch.backends.cudnn.benchmark = native or self._switches.cudnn_benchmark

    def run(self, steps: int) -> None:
        """Run ``steps`` steps; returns when the device has finished the last one."""
        with _explained(self._case):
            for _ in range(steps):
                self._step(self._forward)
            if self._cuda:
                self._torch.cuda.synchronize(self._device)

    def _step(self, forward: Callable[..., Any]) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        total: Any = 0.0
        for part in self._parts:
            loss = self._loss(forward, part) / len(self._parts)
            self._scaler.scale(loss).backward()
            total = total + loss.detach()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.last_loss = total

    def _loss(self, forward: Callable[..., Any], batch: Any) -> Any:
        dtype = getattr(self._torch, precision_named(self._case.precision).dtype)
        reduced = dtype is not self._torch.float32
        with self._torch.autocast(self._device.type, dtype=dtype if reduced else None, enabled=reduced):
            if isinstance(batch, dict):
                outputs = forward(**batch)
                loss = outputs.loss if self._loss_of is None else self._loss_of(outputs, batch)
            else:
                inputs, labels = batch
                loss = self._loss_of(forward(inputs), labels)
        if not isinstance(loss, self._torch.Tensor) or loss.ndim or not loss.requires_grad:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, self._torch.Tensor) else type(loss).__name__
            raise MeasurementError(
                f"the loss of {self._case.workload} is no scalar that gradients flow from ({what}).",
                next_step="Return the mean over the batch, computed from the model's outputs without detach().",
            )
        return loss

    def loss(self) -> float | None:
        """Loss of the last step over this process's share of the batch."""
        return None if self.last_loss is None else float(self.last_loss)

    def flops(self) -> EngineFigure:
        """Count one more forward and backward pass; buffers and random numbers go on as if it had not run."""
        if self._flops is None:
            from torch.utils.flop_counter import FlopCounterMode

            counter = FlopCounterMode(display=False)
            with self._untrained(), counter:
                self._scaler.scale(self._loss(self._model, self._batch)).backward()
            self._flops = EngineFigure(
                float(counter.get_total_flops()) * self._case.device_count,
                "torch.utils.flop_counter on forward and backward: matrix products, convolutions and attention",
            )
        return self._flops

    def work(self) -> StepWork:
        """Count forward and backward of one more pass, run eagerly, and no update."""
        from rtxbench.engines.torch.work import count_work  # derives from PyTorch's own classes

        with self._untrained():
            counted = count_work(lambda: self._scaler.scale(self._loss(self._model, self._batch)).backward())
        if self._case.compiler == "inductor":
            how = "Inductor fuses operations: eager ones tell the shapes of products, not kernels or traffic"
            return StepWork(None, None, counted.unaligned_flops_ratio, how)
        return counted._replace(how=f"{counted.how}, without the update")

    @contextmanager
    def _untrained(self) -> Iterator[None]:
        kept = {name: buffer.detach().clone() for name, buffer in self._model.named_buffers()}
        with self._torch.random.fork_rng([self._device.index] if self._cuda else []), _explained(self._case):
            yield
            for name, buffer in self._model.named_buffers():
                buffer.data.copy_(kept[name])
        self._optimizer.zero_grad(set_to_none=True)

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of parameters, buffers and optimizer slots."""
        slots = self._torch.utils._pytree.tree_leaves(self._optimizer.state_dict()["state"])
        tensors = [*self._model.parameters(), *self._model.buffers(), *slots]
        return EngineFigure(_bytes_of(self._torch, tensors), "sum over parameters, buffers and optimizer slots")

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one replica's gradients."""
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        return EngineFigure(_bytes_of(self._torch, trained), "a dense gradient per trainable parameter")

    def notes(self) -> dict[str, str]:
        """Say which model, optimizer and attention it was, as the model's own settings tell."""
        parameters = sum(parameter.numel() for parameter in self._model.parameters())
        fused = ", fused" if self._optimizer.defaults.get("fused") else ""
        notes = {
            "model": f"{type(self._model).__name__}, {parameters:,} parameters, as a plain PyTorch module",
            "optimizer": f"{type(self._optimizer).__name__}{fused}",
        }
        attention = getattr(getattr(self._model, "config", None), "_attn_implementation", None)
        return notes if attention is None else notes | {"attention": str(attention)}


def native_model(name: str, batch_size: int, seed: int = 0) -> OwnModel:
    """Build a workload of the suite in its native form, with the batch, loss and optimizer of its Keras twin.

    Raises:
        UsageError: no such workload.
        UnavailableError: only its Keras form exists, or a package it needs is not installed.
    """
    import torch

    workload = workload_named(name)
    if workload.native is None:
        raise UnavailableError(f"{name} has no native PyTorch form, only that of Keras.", next_step="Use --form keras.")
    batch = workload.native.batch(workload.batch(batch_size, np.random.default_rng(seed)))
    torch.manual_seed(seed)
    try:
        model = workload.native.build()
    except ImportError as error:
        raise UnavailableError(
            f"{name} needs a package that is not installed: {error}.",
            next_step="`pip install 'rtxbench[torch]'`, or use --form keras.",
        ) from error
    adam = partial(torch.optim.Adam, lr=workload.learning_rate, eps=_KERAS_EPSILON, fused=True)
    return OwnModel(model, batch, workload.native.loss, adam)


def _bytes_of(torch: Any, tensors: Any) -> float:
    return float(sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor)))


def _optimizer(torch: Any, own: OwnModel) -> Any:
    """Take the user's optimizer, made or still to be made of the parameters; else AdamW, fused."""
    trained = [parameter for parameter in own.model.parameters() if parameter.requires_grad]
    if isinstance(own.optimizer, torch.optim.Optimizer):
        return own.optimizer
    if own.optimizer is not None:
        return own.optimizer(trained)
    return torch.optim.AdamW(trained, lr=_DEFAULT_LEARNING_RATE, fused=True)


def _explained(case: Case) -> AbstractContextManager[None]:
    return _translated(case.workload)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Whatever a model of somebody else's raises becomes one sentence with a next step.

    Raises:
        OutOfMemoryError: the message says that memory ran out.
        MeasurementError: anything else.
    """
    try:
        yield
    except RtxbenchError:
        raise
    except Exception as error:
        complaint = memory_complaint(f"{type(error).__name__}: {error}")
        if complaint is not None:
            raise OutOfMemoryError(complaint) from error
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise MeasurementError(
            f"a step of {name} raised {type(error).__name__}: {first}.",
            next_step="Run model, loss and backward() by hand on the same batch until they pass.",
        ) from error

"""Record what a PyTorch training step launches, with FLOPs and bytes, on a machine without the card.

The step runs on fake tensors, which have shapes and no data: every operation that eager PyTorch would launch passes
by (`TorchDispatchMode`), so the list is that of the program itself, whatever the card. FLOPs are PyTorch's own
(`torch.utils.flop_counter`); bytes are those of the tensors an operation reads and writes, each once.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rtxbench.catalog.programs import Kernel

__all__ = ["autocast", "fake_tensors", "recorded_step"]

_LAUNCHES_NOTHING: Final = frozenset(
    f"aten::{name}"
    for name in (
        "detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view",
        "lift_fresh", "item", "_local_scalar_dense", "resize_",
    )
)  # fmt: skip
_READS_NOTHING: Final = frozenset(
    f"aten::{name}" for name in ("fill_", "zero_", "zeros_like", "ones_like", "full_like")
)
_READS_WHAT_IT_WRITES: Final = frozenset(f"aten::{name}" for name in ("embedding", "index", "gather", "index_select"))
_HALF: Final = (torch.float16, torch.bfloat16)


def fake_tensors() -> AbstractContextManager[Any]:
    """Tensors made inside have shapes and no data."""
    mode: AbstractContextManager[Any] = FakeTensorMode(allow_non_fake_inputs=True)
    return mode


def autocast(width: str) -> AbstractContextManager[Any]:
    """Mixed precision for the width ``half``, nothing for ``full``."""
    chosen: AbstractContextManager[Any] = nullcontext()
    if width == "half":
        chosen = torch.autocast("cpu", dtype=torch.float16)
    return chosen


def recorded_step(step: Callable[[], object]) -> list[Kernel]:
    """Run ``step`` once and list its launches in order."""
    with _Recorder() as recorder:
        step()
    kernels: list[Kernel] = recorder.kernels
    return kernels


class _Recorder(TorchDispatchMode):  # type: ignore[misc]  # torch is skipped by the checker
    """Passes every operation on and notes those that launch a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Kernel] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note one operation."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if _launches(func):
            self.kernels.append(_kernel(func, args, kwargs, result))
        return result


def _launches(func: Any) -> bool:
    name = func._schema.name
    is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
    return not is_view and name.startswith("aten::") and name not in _LAUNCHES_NOTHING


def _kernel(func: Any, args: Any, kwargs: Any, result: Any) -> Kernel:
    name = func._schema.name
    inputs, outputs = _tensors((args, kwargs)), _tensors(result)
    read, written = _bytes(inputs), _bytes(outputs)
    if not outputs:  # a fused optimizer changes its lists of tensors in place and returns nothing
        written = sum(
            _bytes(_tensors(value))
            for value, argument in zip(args, func._schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        )
    if name in _READS_NOTHING:
        read = 0
    elif name in _READS_WHAT_IT_WRITES:
        read = written + _bytes(inputs[1:])
    packet = func._overloadpacket
    flops = float(flop_registry[packet](*args, **kwargs, out_val=result)) if packet in flop_registry else 0.0
    kind = "memory" if not flops else "conv" if "conv" in name else "gemm"
    is_half = bool(flops) and bool(inputs) and inputs[0].dtype in _HALF
    return Kernel(name.removeprefix("aten::"), kind, is_half, flops, float(read + written))


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

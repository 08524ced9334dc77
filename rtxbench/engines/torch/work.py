"""Kernels, memory traffic and channel alignment of an eager PyTorch training step, counted as it is dispatched."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rtxbench.engines.step_work import StepWork

__all__ = ["count_work"]

_METHOD: Final = "operations PyTorch dispatched in one eager step, each reading its inputs and writing its outputs"
_FREE: Final = frozenset(
    {
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "lift_fresh"),
        *("resize_", "set_", "_local_scalar_dense"),
    }
)
"""Operations that only allocate, alias or read a number back; views tell themselves by their schema."""
_PRODUCTS: Final = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}
"""Matrix products → which arguments are their factors."""
_WEIGHTS: Final = {"convolution": 1, "_convolution": 1, "convolution_backward": 2}
"""Convolutions → which argument is the kernel, shaped (outputs, inputs per group, …space)."""
_ALIGNMENT: Final = 8


def count_work(run: Callable[[], object]) -> StepWork:
    """Run one training step and count what it dispatches, below autograd: forward, backward and update."""
    counter = _Counter()
    with counter:
        run()
    share = counter.unaligned_flops / counter.flops if counter.flops else None
    return StepWork(float(counter.kernels), counter.traffic_bytes, share, _METHOD)


class _Counter(TorchDispatchMode):  # type: ignore[misc]  # torch is not typed here
    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0
        self.traffic_bytes = 0.0
        self.flops = 0.0
        self.unaligned_flops = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if not _is_free(func):
            self.kernels += 1
            self.traffic_bytes += _traffic_bytes(func, args, given, result)
            own = _flops(func, args, given, result)
            self.flops += own
            self.unaligned_flops += own if own and _unaligned(func, args) else 0.0
        return result


def _name(func: Any) -> str:
    return str(func._schema.name).partition("::")[2]


def _is_free(func: Any) -> bool:
    views = [r for r in func._schema.returns if r.alias_info is not None and not r.alias_info.is_write]
    return bool(views) or _name(func) in _FREE


def _traffic_bytes(func: Any, args: Any, kwargs: Any, result: Any) -> float:
    """Inputs are read, fresh results and arguments that the schema says are written to are written."""
    schema = func._schema
    written = [
        value
        for argument, value in _bound(schema, args, kwargs)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    aliased = any(r.alias_info is not None for r in schema.returns)
    read = _bytes((args, {name: value for name, value in kwargs.items() if name != "out"}))
    return read + _bytes(written) + (0.0 if aliased else _bytes(result))


def _bound(schema: Any, args: Any, kwargs: Any) -> Iterator[tuple[Any, Any]]:
    for index, argument in enumerate(schema.arguments):
        if index < len(args):
            yield argument, args[index]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]


def _bytes(tree: Any) -> float:
    tensors = (leaf for leaf in tree_leaves(tree) if hasattr(leaf, "element_size"))
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _flops(func: Any, args: Any, kwargs: Any, result: Any) -> float:
    formula = flop_registry.get(func._overloadpacket)
    return 0.0 if formula is None else float(formula(*args, **kwargs, out_val=result))


def _unaligned(func: Any, args: Any) -> bool:
    """Return whether a product's dimensions, or a convolution's channels, include one that is no multiple of 8."""
    name = _name(func)
    if name in _PRODUCTS:
        dimensions = [side for index in _PRODUCTS[name] for side in args[index].shape[-2:]]
    elif name in _WEIGHTS:
        dimensions = list(args[_WEIGHTS[name]].shape[:2])
    else:
        return False
    return any(side % _ALIGNMENT for side in dimensions)

"""FLOPs of a traced TensorFlow training step, counted on its own graph.

The graph of one step holds the forward, backward and update operations with static shapes. Operations that nothing
fetched depends on are left out, as the runtime prunes them too. Counted are matrix products and convolutions, two
FLOPs per multiply-add; elementwise work is not, which understates a step by a few per cent.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["METHOD", "needed_operations", "operation_flops", "training_step_flops"]

METHOD: Final = "matrix products and convolutions of the traced training graph, unused operations pruned"


def training_step_flops(fetches: Iterable[Any], *, static: Callable[[Any], Any]) -> float:
    """FLOPs of one execution of the graph that ``fetches`` belong to.

    Args:
        fetches: operations whose execution the caller needs, of the step's graph.
        static: ``tf.get_static_value``.

    Raises:
        ValueError: a counted operation has no static shape.
    """
    return sum(operation_flops(op, static) for op in needed_operations(fetches))


def needed_operations(fetches: Iterable[Any]) -> list[Any]:
    """Operations the fetches depend on through data or control edges."""
    pending, seen = list(fetches), {}
    while pending:
        op = pending.pop()
        if op.name not in seen:
            seen[op.name] = op
            pending += [tensor.op for tensor in op.inputs]
            pending += op.control_inputs
    return list(seen.values())


def operation_flops(op: Any, static: Callable[[Any], Any]) -> float:
    """FLOPs of one operation, calls included; 0 for what is no product."""
    if op.type in _COUNTERS:
        return _COUNTERS[op.type](op, static)
    if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
        body = op.graph._get_function(op.get_attr("f").name).graph  # no public way to a called function's graph
        return training_step_flops([tensor.op for tensor in body.outputs] + body.control_outputs, static=static)
    return 0.0


def _matmul(op: Any, static: Callable[[Any], Any]) -> float:
    inner = int(op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1])
    return 2.0 * float(math.prod(op.outputs[0].shape.as_list())) * inner


def _batch_matmul(op: Any, static: Callable[[Any], Any]) -> float:
    inner = int(op.inputs[0].shape[-2 if op.get_attr("adj_x") else -1])
    return 2.0 * float(math.prod(op.outputs[0].shape.as_list())) * inner


def _einsum(op: Any, static: Callable[[Any], Any]) -> float:
    """Product of all distinct index lengths: exact for the two-operand contractions of attention."""
    terms = op.get_attr("equation").decode().split("->")[0].split(",")
    lengths: dict[str, int] = {}
    for term, tensor in zip(terms, op.inputs, strict=True):
        lengths |= dict(zip(term, tensor.shape.as_list(), strict=True))
    return 2.0 * math.prod(lengths.values())


def _convolution(output: list[int], kernel: list[int], *, depthwise: bool) -> float:
    """Count the products; ``output`` is NHWC of the forward pass, ``kernel`` HWIO (depthwise: HWCM)."""
    taps = kernel[0] * kernel[1]
    return 2.0 * math.prod(output) * taps * (1 if depthwise else kernel[2])


def _forward_convolution(op: Any, static: Callable[[Any], Any]) -> float:
    return _convolution(
        op.outputs[0].shape.as_list(), op.inputs[1].shape.as_list(), depthwise=op.type.startswith("Depthwise")
    )


def _input_gradient(op: Any, static: Callable[[Any], Any]) -> float:
    return _convolution(
        op.inputs[2].shape.as_list(), op.inputs[1].shape.as_list(), depthwise=op.type.startswith("Depthwise")
    )


def _filter_gradient(op: Any, static: Callable[[Any], Any]) -> float:
    return _convolution(
        op.inputs[2].shape.as_list(), _held_shape(op.inputs[1], static), depthwise=op.type.startswith("Depthwise")
    )


def _held_shape(tensor: Any, static: Callable[[Any], Any]) -> list[int]:
    """Return the shape that a shape-valued tensor holds; gradients ask for it with ShapeN, not constant-folded."""
    if tensor.op.type in ("Shape", "ShapeN"):
        return list(tensor.op.inputs[tensor.value_index].shape.as_list())
    return [int(side) for side in static(tensor)]


_COUNTERS: Final[dict[str, Callable[[Any, Callable[[Any], Any]], float]]] = {
    "MatMul": _matmul,
    "BatchMatMulV2": _batch_matmul,
    "BatchMatMulV3": _batch_matmul,
    "Einsum": _einsum,
    "Conv2D": _forward_convolution,
    "Conv2DBackpropInput": _input_gradient,
    "Conv2DBackpropFilter": _filter_gradient,
    "DepthwiseConv2dNative": _forward_convolution,
    "DepthwiseConv2dNativeBackpropInput": _input_gradient,
    "DepthwiseConv2dNativeBackpropFilter": _filter_gradient,
}

"""Kernels, memory traffic and channel alignment of a traced TensorFlow training step, counted on its graph."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from rtxbench.engines.step_work import StepWork
from rtxbench.engines.tensorflow.flops import needed_operations, operation_flops

__all__ = ["step_work"]

_METHOD: Final = "operations of the traced training graph, each reading its inputs and writing its outputs"
_FREE: Final = frozenset(
    {
        *("Const", "Placeholder", "Identity", "IdentityN", "ReadVariableOp", "VarHandleOp", "NoOp", "StopGradient"),
        *("Shape", "ShapeN", "Reshape", "Squeeze", "ExpandDims", "BroadcastGradientArgs", "Assert", "Rank", "Size"),
        *("PartitionedCall", "StatefulPartitionedCall"),
    }
)
"""Operations that move no data: aliases, shapes, and calls (whose bodies are counted)."""
_CALLS: Final = ("PartitionedCall", "StatefulPartitionedCall")
_UPDATES: Final = {"AssignVariableOp": 1, "AssignAddVariableOp": 2, "AssignSubVariableOp": 2}
"""Variable updates → passes over the variable besides reading the value: one write, and one read where it adds."""
_ALIGNMENT: Final = 8


def step_work(graph: Any, *, static: Callable[[Any], Any]) -> StepWork:
    """Count one execution of a function's graph.

    Args:
        graph: of the concrete function.
        static: ``tf.get_static_value``.
    """
    kernels, traffic, flops, unaligned = 0, 0.0, 0.0, 0.0
    for op in _operations(graph):
        if op.type in _FREE:
            continue
        kernels += 1
        traffic += _traffic_bytes(op)
        own = operation_flops(op, static)
        flops += own
        unaligned += own if _unaligned(op) else 0.0
    return StepWork(float(kernels), traffic, unaligned / flops if flops else None, _METHOD)


def _operations(graph: Any) -> Iterator[Any]:
    fetches = [tensor.op for tensor in graph.outputs] + graph.control_outputs
    for op in needed_operations(fetches):
        yield op
        if op.type in _CALLS:
            yield from _operations(op.graph._get_function(op.get_attr("f").name).graph)


def _traffic_bytes(op: Any) -> float:
    inputs = sum(map(_bytes, op.inputs))
    return inputs * (1 + _UPDATES.get(op.type, 0)) + sum(map(_bytes, op.outputs))


def _bytes(tensor: Any) -> float:
    shape = tensor.shape
    if shape.rank is None or not shape.is_fully_defined() or tensor.dtype.size is None:
        return 0.0
    return float(math.prod(shape.as_list()) * tensor.dtype.size)


def _unaligned(op: Any) -> bool:
    """Return whether one of a product's channel dimensions (all but batch and space) is no multiple of 8."""
    if op.type in ("MatMul", "BatchMatMulV2", "BatchMatMulV3"):
        dimensions = [side for tensor in op.inputs for side in tensor.shape.as_list()[-2:]]
    elif op.type in ("Conv2D", "Conv2DBackpropInput"):
        dimensions = op.inputs[1].shape.as_list()[2:]
    elif op.type == "Conv2DBackpropFilter":
        dimensions = op.outputs[0].shape.as_list()[2:]
    else:
        return False
    return any(side is not None and side % _ALIGNMENT for side in dimensions)

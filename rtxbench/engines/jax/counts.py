"""Read XLA's own counts of a training step: FLOPs and bytes."""

from collections.abc import Callable
from typing import Any

from rtxbench.engines.contract import EngineFigure

__all__ = ["bytes_accessed", "step_flops"]

_METHOD = "XLA cost analysis of the lowered training step, elementwise operations included"


def bytes_accessed(program: Any) -> float | None:
    """Read the traffic of a lowered program (each operation's own) or of a compiled one (each fusion's)."""
    analysis = program.cost_analysis() or {}
    count = analysis.get("bytes accessed")
    return float(count) if count and count > 0 else None


def step_flops(jax: Any, lowered: Any, call: Callable[..., Any], arguments: Any) -> EngineFigure:
    """Count on the program as lowered: after optimisation, library calls on a GPU count as nothing.

    A GPU's backend analyses no lowered program (``NotImplementedError`` in every PJRT plugin, which JAX turns into
    ``None``), so the same function is then lowered once more for the host, from shapes alone: FLOPs are its own.

    Args:
        jax: the module.
        lowered: the program of the case's device.
        call: what was lowered.
        arguments: its arguments; only shapes and types are read.
    """
    flops = (lowered.cost_analysis() or {}).get("flops")
    if flops is None:
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)
        with jax.default_device(jax.devices("cpu")[0]):
            on_host = jax.jit(call).lower(*shapes)
        flops = (on_host.cost_analysis() or {}).get("flops")
    if not flops or flops < 0:
        return EngineFigure(None, "XLA's cost analysis gave no count for this program")
    return EngineFigure(float(flops), _METHOD)

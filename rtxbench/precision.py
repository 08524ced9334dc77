"""The precisions a case can train in, and what a device can do with each."""

from dataclasses import dataclass
from typing import Final

from rtxbench.lookup import named

__all__ = ["PRECISIONS", "Precision", "precision_named", "why_not"]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One row of `PRECISIONS`: a Keras dtype policy and the state of the TF32 switch."""

    name: str
    policy: str
    """Keras dtype policy of the model's layers."""
    tf32: bool
    """Whether float32 matrix products may round their inputs to TF32's 10-bit mantissa."""
    description: str


PRECISIONS: Final[dict[str, Precision]] = {
    row.name: row
    for row in (
        Precision(name="float32", policy="float32", tf32=False, description="strict float32, TF32 switched off"),
        Precision(name="tf32", policy="float32", tf32=True, description="float32 storage, TF32 matrix products"),
        # The layers of a mixed policy that stay in float32 must not silently run in TF32: off here too.
        Precision(
            name="mixed_float16",
            policy="mixed_float16",
            tf32=False,
            description="float16 compute, float32 weights, dynamic loss scaling",
        ),
        Precision(
            name="mixed_bfloat16",
            policy="mixed_bfloat16",
            tf32=False,
            description="bfloat16 compute, float32 weights",
        ),
    )
}


def precision_named(name: str) -> Precision:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    return named(PRECISIONS, name, "precision")


def why_not(
    precision: str,
    *,
    device_kind: str,
    compiler: str,
    compute_capability: float | None = None,
) -> str | None:
    """Why this precision is skipped on this device, or ``None`` where it should run.

    Args:
        precision: row of `PRECISIONS`.
        device_kind: ``cpu`` or ``gpu``.
        compiler: ``none``, ``xla`` or ``inductor``.
        compute_capability: of the GPU, for example 8.6; ``None`` where unknown, which skips nothing.
    """
    if device_kind == "cpu":
        return _why_not_on_cpu(precision, compiler)
    if compute_capability is None:
        return None
    if precision in ("tf32", "mixed_bfloat16") and compute_capability < 8.0:
        return f"{precision} needs compute capability 8.0 (Ampere) or newer; this GPU has {compute_capability}."
    if precision == "mixed_float16" and compute_capability < 7.0:
        return f"float16 Tensor Cores need compute capability 7.0 (Volta) or newer; this GPU has {compute_capability}."
    return None


def _why_not_on_cpu(precision: str, compiler: str) -> str | None:
    if precision == "tf32":
        return "TF32 is a number format of NVIDIA Tensor Cores (Ampere and newer); a CPU has none."
    if precision == "mixed_float16" and compiler == "none":
        return (
            "mixed_float16 on a CPU without XLA falls back to reference kernels, about 200 times slower than float32; "
            "not waited for. Use mixed_bfloat16, or compiler xla."
        )
    return None

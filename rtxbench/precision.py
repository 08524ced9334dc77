"""The precisions a case can train in, and what a device can do with each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from rtxbench.lookup import named

__all__ = ["PRECISIONS", "Precision", "precision_named", "reduced_precision_of", "why_not", "why_unproven"]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One row of `PRECISIONS`: everything in which one precision differs from another."""

    name: str
    policy: str
    """Keras dtype policy of the model's layers."""
    tf32: bool = False
    """Whether float32 matrix products may round their inputs to TF32's 10-bit mantissa. The layers of a mixed policy
    that stay in float32 must not silently run in TF32 either."""
    loss_scaling: bool = False
    """Whether gradients underflow without a scaled loss."""
    product_error: tuple[float, float]
    """Least and greatest relative error of a matrix product in this format against float64: the proof that it was one.
    Measured on this project's machines, and simulated for TF32 (2.9e-4 rounded, 7.7e-4 truncated)."""
    convolution_error: tuple[float, float]
    """The same for a convolution. A library may compute one allowed to round to TF32 without rounding, and a strict
    one by Winograd's method, which loses a digit."""
    products: Literal["vector", "matrix"]
    """Unit that computes the matrix products on an NVIDIA GPU: CUDA cores, or Tensor Cores."""
    compute_capability: float = 0.0
    """Least compute capability of a GPU whose Tensor Cores take this format."""
    format: str
    """The number format in words, for the sentence about a GPU that lacks it."""
    not_on_cpu: str = ""
    """Why no CPU trains in it; empty where one can."""
    not_on_cpu_uncompiled: str = ""
    """Why a CPU cannot train in it without a compiler; empty where it can."""
    usual_on: str = ""
    """Kind of device (cpu or gpu) whose users turn to this precision first when they leave float32."""
    peak: str
    """Field of `rtxbench.catalog.cards.Card` with the paper peak of its matrix products."""
    color: str
    """Of its marks in every figure: one per precision, apart from all others for colour-blind readers."""
    term: str
    """What a reader must know of it, as the report's glossary says it."""

    @property
    def dtype(self) -> str:
        """Type of the operands of matrix products."""
        return self.policy.removeprefix("mixed_")


PRECISIONS: Final[Mapping[str, Precision]] = MappingProxyType(
    {
        row.name: row
        for row in (
            Precision(
                name="float32",
                policy="float32",
                product_error=(0.0, 2e-6),
                convolution_error=(0.0, 2e-5),
                products="vector",
                format="float32",
                peak="fp32_flop_per_s",
                color="#0072b2",
                term="Strict single precision: TF32 is switched off, which is not the default of TensorFlow on recent "
                "GPUs.",
            ),
            Precision(
                name="tf32",
                policy="float32",
                tf32=True,
                product_error=(5e-5, 1e-3),
                convolution_error=(0.0, 1e-3),
                products="matrix",
                compute_capability=8.0,
                format="TF32",
                not_on_cpu="TF32 is a number format of NVIDIA Tensor Cores (Ampere and newer); a CPU has none.",
                peak="tf32_flop_per_s",
                color="#56b4e9",
                term="Single-precision storage; matrix products on Tensor Cores with a 10-bit mantissa.",
            ),
            Precision(
                name="mixed_float16",
                policy="mixed_float16",
                loss_scaling=True,
                product_error=(1e-4, 1e-3),
                convolution_error=(1e-4, 1e-3),
                products="matrix",
                compute_capability=7.0,
                format="float16",
                not_on_cpu_uncompiled="mixed_float16 on a CPU without XLA falls back to reference kernels, about 200 "
                "times slower than float32; not waited for. Use mixed_bfloat16, or compiler xla.",
                usual_on="gpu",
                peak="fp16_flop_per_s",
                color="#e69f00",
                term="16-bit float arithmetic with 32-bit master weights and loss scaling.",
            ),
            Precision(
                name="mixed_bfloat16",
                policy="mixed_bfloat16",
                product_error=(1e-3, 1e-2),
                convolution_error=(1e-3, 1e-2),
                products="matrix",
                compute_capability=8.0,
                format="bfloat16",
                usual_on="cpu",
                peak="bf16_flop_per_s",
                color="#009e73",
                term="As above with bfloat16, which has float32's range and needs no loss scaling.",
            ),
        )
    }
)

_ARCHITECTURES: Final = {7.0: "Volta", 8.0: "Ampere", 8.9: "Ada", 9.0: "Hopper", 10.0: "Blackwell"}
"""Compute capability → the first architecture that has it (NVIDIA, CUDA C++ programming guide)."""


def precision_named(name: str) -> Precision:
    """Look up a precision by name.

    Raises:
        UsageError: there is none of that name.
    """
    return named(PRECISIONS, name, "precision")


def reduced_precision_of(device_kind: str) -> Precision:
    """Give the precision that users of a kind of device turn to first when they leave float32."""
    return next(row for row in PRECISIONS.values() if row.usual_on == device_kind)


def why_not(
    precision: str,
    *,
    device_kind: str,
    compiler: str,
    compute_capability: float | None = None,
) -> str | None:
    """Give the reason to skip a precision on a device; ``None`` where it should run.

    Args:
        precision: row of `PRECISIONS`.
        device_kind: ``cpu`` or ``gpu``.
        compiler: ``none``, ``xla`` or ``inductor``.
        compute_capability: of the GPU, for example 8.6; ``None`` where unknown, which skips nothing.
    """
    row = precision_named(precision)
    if device_kind == "cpu":
        return row.not_on_cpu or (row.not_on_cpu_uncompiled if compiler == "none" else "") or None
    if compute_capability is None or compute_capability >= row.compute_capability:
        return None
    since = _ARCHITECTURES.get(row.compute_capability, "")
    least = f"{row.compute_capability} ({since})" if since else f"{row.compute_capability}"
    return f"{row.format} Tensor Cores need compute capability {least} or newer; this GPU has {compute_capability}."


def why_unproven(precision: str, numerics: Mapping[str, float]) -> str | None:
    """Compare the measured errors with the precision's name; ``None`` where they fit it or none is known.

    Args:
        precision: as a record names it; one that this version lacks is not judged.
        numerics: ``matmul_relative_error`` and ``convolution_relative_error``, where they were measured.
    """
    row = PRECISIONS.get(precision)
    if row is None:
        return None
    for what, key, (least, greatest) in (
        ("matrix product", "matmul_relative_error", row.product_error),
        ("convolution", "convolution_relative_error", row.convolution_error),
    ):
        error = numerics.get(key)
        if error is not None and not least <= error <= greatest:
            looks = " or ".join(other.format for other in PRECISIONS.values() if _fits(other, key, error)) or "none"
            expected = f"at most {greatest:.0e}" if least == 0 else f"{least:.0e} to {greatest:.0e}"
            return (
                f"a {what} errs by {error:.1e} against float64; {row.format} errs by {expected} (it looks like {looks})"
            )
    return None


def _fits(row: Precision, key: str, error: float) -> bool:
    least, greatest = row.product_error if key == "matmul_relative_error" else row.convolution_error
    return least <= error <= greatest

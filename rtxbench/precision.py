"""The precisions a case can train in, and what a device can do with each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from rtxbench.lookup import named

__all__ = ["PRECISIONS", "Precision", "precision_named", "reduced_precision_of", "why_not", "why_unproven"]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One row of `PRECISIONS`: everything in which one precision differs from another."""

    name: str
    """The name a user types; it is also the Keras dtype policy of the model's layers, unless the row is ``tf32``."""
    tf32: bool = False
    """Allows float32 matrix products to round their inputs to TF32's 10-bit mantissa. The layers of a mixed policy that
    stay in float32 must not silently run in TF32 either."""
    loss_scaling: bool = False
    """Gradients underflow without a scaled loss."""
    product_error: tuple[float, float]
    """Least and greatest relative error of a matrix product in this format against float64: the proof that it was one.
    Measured on this project's machines, and simulated for TF32 (2.9e-4 rounded, 7.7e-4 truncated)."""
    convolution_error: tuple[float, float] | None = None
    """The same for a convolution, where it differs. A library may compute one allowed to round to TF32 without
    rounding, and a strict one by Winograd's method, which loses a digit."""
    compute_capability: float = 0.0
    """Least compute capability of a GPU whose Tensor Cores take this format; 0: CUDA cores compute the products."""
    not_on_cpu: str = ""
    """Reason why no CPU trains in it; empty where one can."""
    not_on_cpu_uncompiled: str = ""
    """Reason why a CPU cannot train in it without a compiler; empty where it can."""
    usual_on: str = ""
    """Kind of device (cpu or gpu) whose users turn to this precision first when they leave float32."""
    term: str
    """The sentence of the report's glossary."""
    color: str = ""
    """Of its marks in every figure; `PRECISIONS` gives each row the next of the colours below."""

    @property
    def policy(self) -> str:
        """Keras dtype policy of the model's layers."""
        return "float32" if self.tf32 else self.name

    @property
    def dtype(self) -> str:
        """Type of the operands of matrix products."""
        return self.policy.removeprefix("mixed_")

    @property
    def bits(self) -> int:
        """Width of an operand in memory; TF32 is stored as float32."""
        return int(re.sub(r"\D", "", self.dtype))

    @property
    def format(self) -> str:
        """The number format in words, for the sentence about a GPU that lacks it."""
        return "TF32" if self.tf32 else self.dtype

    @property
    def peak(self) -> str:
        """Field of `rtxbench.catalog.cards.Card` with the paper peak of its matrix products."""
        return f"{self.format.lower().replace('float', 'fp').replace('bfp', 'bf')}_flop_per_s"

    @property
    def products(self) -> Literal["vector", "matrix"]:
        """Unit that computes the matrix products on an NVIDIA GPU: CUDA cores, or Tensor Cores."""
        return "matrix" if self.compute_capability else "vector"

    def error_range(self, metric: str) -> tuple[float, float]:
        """Least and greatest error of ``matmul_relative_error`` or ``convolution_relative_error``."""
        other = self.convolution_error if metric == "convolution_relative_error" else None
        return other or self.product_error


_COLORS: Final = ("#0072b2", "#56b4e9", "#e69f00", "#009e73", "#882255", "#cc79a7", "#d55e00", "#000000")
"""Apart from each other also for colour-blind readers (Okabe and Ito 2008; the fifth is Tol's wine)."""


def _coloured(rows: Iterable[Precision]) -> dict[str, Precision]:
    return {row.name: replace(row, color=_COLORS[position]) for position, row in enumerate(rows)}


PRECISIONS: Final[Mapping[str, Precision]] = MappingProxyType(
    _coloured(
        (
            Precision(
                name="float32",
                product_error=(0.0, 2e-6),
                convolution_error=(0.0, 2e-5),
                term="Strict single precision: TF32 is switched off, which is not the default of TensorFlow on recent "
                "GPUs.",
            ),
            Precision(
                name="tf32",
                tf32=True,
                product_error=(5e-5, 1e-3),
                convolution_error=(0.0, 1e-3),
                compute_capability=8.0,
                not_on_cpu="TF32 is a number format of NVIDIA Tensor Cores (Ampere and newer); a CPU has none.",
                term="Single-precision storage; matrix products on Tensor Cores with a 10-bit mantissa.",
            ),
            Precision(
                name="mixed_float16",
                loss_scaling=True,
                product_error=(1e-4, 1e-3),
                compute_capability=7.0,
                not_on_cpu_uncompiled="mixed_float16 on a CPU without XLA falls back to reference kernels, about 200 "
                "times slower than float32; not waited for. Use mixed_bfloat16, or compiler xla.",
                usual_on="gpu",
                term="16-bit float arithmetic with 32-bit master weights and loss scaling.",
            ),
            Precision(
                name="mixed_bfloat16",
                product_error=(1e-3, 1e-2),
                compute_capability=8.0,
                usual_on="cpu",
                term="As above with bfloat16, which has float32's range and needs no loss scaling.",
            ),
        )
    )
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
    for what, key in (("matrix product", "matmul_relative_error"), ("convolution", "convolution_relative_error")):
        least, greatest = row.error_range(key)
        error = numerics.get(key)
        if error is not None and not least <= error <= greatest:
            looks = " or ".join(other.format for other in PRECISIONS.values() if _fits(other, key, error)) or "none"
            expected = f"at most {greatest:.0e}" if least == 0 else f"{least:.0e} to {greatest:.0e}"
            return (
                f"a {what} errs by {error:.1e} against float64; {row.format} errs by {expected} (it looks like {looks})"
            )
    return None


def _fits(row: Precision, key: str, error: float) -> bool:
    least, greatest = row.error_range(key)
    return least <= error <= greatest

"""Tell which arithmetic unit ran: from kernel names on NVIDIA, from oneDNN's verbose lines on CPUs.

On GeForce 30 and 40 no counter tells Tensor Core work from other work, so a kernel's name is the best evidence there
is: every finding made of names is labelled *inferred*. xprof's own list misses ``nvjet_*``, ``sm86_xmma_*`` and
Triton's fused products, hence this table.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rtxbench.precision import precision_named

__all__ = [
    "KERNEL_PATTERNS",
    "KernelShare",
    "OnednnCall",
    "classify_kernel",
    "kernel_shares",
    "onednn_shares",
    "parse_onednn",
]


class _Pattern(NamedTuple):
    kind: str
    regex: re.Pattern[str]


def _pattern(kind: str, *alternatives: str) -> _Pattern:
    return _Pattern(kind, re.compile("|".join(alternatives), re.IGNORECASE))


KERNEL_PATTERNS: Final = (
    _pattern("communication", r"^nccl", r"all_?reduce", r"all_?gather", r"reduce_?scatter"),
    _pattern("copy", r"^memcpy", r"^memset", r"^\[?cuda memcpy"),
    # CUDA-core products first: their names also contain "xmma" or "cutlass".
    _pattern("vector", r"simt", r"_ffma", r"(^|_)[sd]gemm", r"scudnn", r"gemv", r"winograd(?!.*tensor)"),
    _pattern(
        "matrix",
        r"^nvjet",
        r"xmma",
        r"tensorop",
        r"wgmma|gmma|hmma|imma|qmma|tcgen05",
        r"[hsib](884|1688|16816|16832|161616|161664)",  # the instruction's shape: mma.m16n8k16 and its kin
        r"wmma",
        r"tensor16x8x",
        r"flash_(fwd|bwd)|fmha|sdpa",
        r"mma_sync",
    ),
    _pattern("triton-product", r"gemm_fusion", r"triton.*(gemm|dot|mm)"),
)
"""First match wins. A Triton product uses the matrix unit in reduced precision and CUDA cores in strict float32."""


class KernelShare(NamedTuple):
    """Time shares of one profiled pass; they add up to 1."""

    matrix_ratio: float
    vector_ratio: float
    communication_ratio: float
    copy_ratio: float
    other_ratio: float
    busy_s: float
    """Sum of kernel durations."""
    kernels: int
    how: str


def classify_kernel(name: str, precision: str = "mixed_float16") -> str:
    """Class a kernel by name: ``matrix``, ``vector``, ``communication``, ``copy`` or ``other``."""
    for pattern in KERNEL_PATTERNS:
        if pattern.regex.search(name):
            if pattern.kind == "triton-product":
                return precision_named(precision).products
            return pattern.kind
    return "other"


def kernel_shares(kernels: Iterable[tuple[str, float]], precision: str = "mixed_float16") -> KernelShare | None:
    """Time shares of (name, seconds) pairs; ``None`` where no kernel ran.

    Args:
        kernels: every kernel of the profiled steps.
        precision: of the case, which decides what a Triton product runs on.
    """
    seconds = dict.fromkeys(("matrix", "vector", "communication", "copy", "other"), 0.0)
    count = 0
    for name, duration_s in kernels:
        seconds[classify_kernel(name, precision)] += duration_s
        count += 1
    busy_s = sum(seconds.values())
    if busy_s == 0:
        return None
    return KernelShare(
        matrix_ratio=seconds["matrix"] / busy_s,
        vector_ratio=seconds["vector"] / busy_s,
        communication_ratio=seconds["communication"] / busy_s,
        copy_ratio=seconds["copy"] / busy_s,
        other_ratio=seconds["other"] / busy_s,
        busy_s=busy_s,
        kernels=count,
        how="inferred from kernel names",
    )


class OnednnCall(NamedTuple):
    """One executed oneDNN primitive."""

    primitive: str
    """matmul, convolution, inner_product, reorder, …"""
    implementation: str
    """For example ``brg_matmul:avx512_core_amx``; empty for the plain GEMM interface."""
    source_dtype: str
    duration_s: float

    @property
    def kind(self) -> str:
        """Unit and format: matrix (AMX), bfloat16, float16, int8, float32, reference or reorder."""
        if self.primitive == "reorder":
            return "reorder"
        if "amx" in self.implementation:
            return "matrix"
        if self.implementation.startswith(("ref:", "simple:any")):
            return "reference"
        return {"bf16": "bfloat16", "f16": "float16", "u8": "int8", "s8": "int8"}.get(self.source_dtype, "float32")


_SOURCE_DTYPE: Final = re.compile(r"\bsrc[:_]([a-z0-9]+):")


def parse_onednn(lines: Iterable[str]) -> list[OnednnCall]:
    """Executed primitives of ``ONEDNN_VERBOSE=1`` output (oneDNN 2 and 3); other lines are passed over."""
    calls = []
    for line in lines:
        fields = line.strip().split(",")
        if not fields[0].endswith("onednn_verbose") or "exec" not in fields[:4]:
            continue
        rest = fields[fields.index("exec") + 1 :]
        try:
            _engine, primitive, implementation, duration_ms = rest[0], rest[1], rest[2], float(rest[-1])
        except (IndexError, ValueError):
            continue  # a line cut by another thread's output
        source = _SOURCE_DTYPE.search(",".join(rest))
        calls.append(OnednnCall(primitive, implementation, source.group(1) if source else "", duration_ms / 1e3))
    return calls


def onednn_shares(calls: Sequence[OnednnCall]) -> dict[str, float]:
    """Share of oneDNN's own time by `OnednnCall.kind`; empty where nothing ran through oneDNN."""
    total = sum(call.duration_s for call in calls)
    if total == 0:
        return {}
    shares: dict[str, float] = {}
    for call in calls:
        shares[call.kind] = shares.get(call.kind, 0.0) + call.duration_s / total
    return shares

"""Kernels read from the text of a compiled program, by hand."""

import pytest

from rtxbench.engines.jax.hlo import kernels_of

PROGRAM = """HloModule step

%fused (p0: f32[64,128], p1: f32[64,128]) -> f32[64,128] {
  %p0 = f32[64,128]{1,0} parameter(0)
  %p1 = f32[64,128]{1,0} parameter(1)
  ROOT %sum = f32[64,128]{1,0} add(%p0, %p1)
}

%body (state: f32[8]) -> f32[8] {
  %state = f32[8]{0} parameter(0)
  ROOT %next = f32[8]{0} negate(%state)
}

ENTRY %main (a: bf16[64,32], b: bf16[32,128], c: f32[64,128], d: f32[8]) -> f32[64,128] {
  %a = bf16[64,32]{1,0} parameter(0)
  %b = bf16[32,128]{1,0} parameter(1)
  %c = f32[64,128]{1,0} parameter(2)
  %d = f32[8]{0} parameter(3)
  %loop = f32[8]{0} while(%d), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %dot = f32[64,128]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %out = f32[64,128]{1,0} fusion(%dot, %c), kind=kLoop, calls=%fused
}
"""


def test_products_fusions_and_loops_are_counted() -> None:
    """A product of 64×32 by 32×128, a fusion of two reads and a write, and five turns of a loop."""
    kernels = kernels_of(PROGRAM)
    assert [kernel.name for kernel in kernels] == ["negate"] * 5 + ["dot", "fusion"]
    product, fusion = kernels[5], kernels[6]
    assert (product.kind, product.is_half, product.flops) == ("gemm", True, 2 * 64 * 128 * 32)
    assert product.moved_bytes == 2 * (64 * 32 + 32 * 128) + 4 * 64 * 128
    assert (fusion.kind, fusion.flops, fusion.moved_bytes) == ("memory", 0.0, 3 * 4 * 64 * 128)


def test_what_is_no_program_is_refused() -> None:
    """Text without an entry computation is an error, not an empty list."""
    with pytest.raises(ValueError, match="ENTRY"):
        kernels_of("not HLO")

"""JAX's training steps compiled for NVIDIA cards that are not there: `tox -e gpu-sim`.

XLA's GPU compiler needs no driver. What it emits is what would run, but for the autotuner's choices, which need a card.
"""

from functools import cache

import pytest

from rtxbench.catalog.cards import find_card, load_cards
from rtxbench.diagnosis.kernels import classify_kernel
from rtxbench.planning.memory import step_memory
from rtxbench.precision import PRECISIONS, why_not
from rtxbench.records import Case
from rtxbench.workloads import workload_named
from tools.ahead_of_time import CompiledStep, compile_step, why_not_here

pytestmark = pytest.mark.skipif(why_not_here() is not None, reason=str(why_not_here()))

CARDS = ("RTX 3090", "RTX 4070", "H100 SXM5 80GB", "RTX 5090")
"""One of each architecture: sm_86, sm_89, sm_90, sm_120."""
OPERAND = {"tf32": ".tf32", "mixed_float16": ".f16", "mixed_bfloat16": ".bf16"}
"""Precision → the operand type that its Tensor Core instructions name."""


@cache
def step(card: str, precision: str, workload: str = "mlp-wide", batch_size: int = 1024) -> CompiledStep:
    case = Case(
        workload=workload, batch_size=batch_size, precision=precision, placement="gpu", engine="jax", compiler="xla"
    )
    return compile_step(case, card)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("card", CARDS)
def test_the_program_holds_the_instructions_that_its_precision_promises(card: str, precision: str) -> None:
    """Fault 3: float32 multiplies on CUDA cores alone; every other precision on Tensor Cores, in its own format."""
    capability = find_card(card, load_cards()).compute_capability
    assert why_not(precision, device_kind="gpu", compiler="xla", compute_capability=float(capability or 0)) is None
    compiled = step(card, precision)
    if compiled.library_calls:
        pytest.skip(f"products are left to {', '.join(compiled.library_calls)}, whose kernels are chosen on the card")
    print(f"{card} {precision}: {compiled.instructions or 'no Tensor Core instruction'}")
    if precision == "float32":
        assert compiled.instructions == {}
        assert compiled.float_products > 0
    else:
        assert compiled.instructions
        assert all(OPERAND[precision] in name for name in compiled.instructions)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_classifier_agrees_with_the_instructions(precision: str) -> None:
    """A product's kernel is classified as what its PTX holds.

    In mixed precision the float32 output layer multiplies on CUDA cores under a name like any other: names cannot tell
    it, which is why the share is called inferred.
    """
    compiled = step("RTX 4070", precision)
    products = [name for name in compiled.kernels if name.startswith("gemm_fusion")]
    assert products
    said = {name for name in products if classify_kernel(name, precision) == "matrix"}
    true = set(products) & set(compiled.tensor_core_kernels)
    print(f"{precision}: {len(true)} of {len(products)} products on Tensor Cores, {len(said)} said to be")
    assert true <= said
    if precision in ("float32", "tf32"):
        assert said == true


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("card", CARDS)
def test_the_packaged_memory_plan_is_the_compilers(card: str, precision: str) -> None:
    """Fault 7: what the plan of `rtxbench run` predicts is what XLA plans, on every architecture alike."""
    compiled = step(card, precision, "mlp-wide", 4096)
    held = step_memory(compiled.case)
    assert held is not None
    print(f"{card} {precision}: {compiled.argument_bytes / 2**30:.2f} + {compiled.temp_bytes / 2**30:.2f} GiB")
    assert compiled.argument_bytes == pytest.approx(held.state_bytes, rel=0.02)
    assert compiled.temp_bytes == pytest.approx(held.temp_bytes, rel=0.3)


WORKLOADS = ("mlp", "cnn", "resnet14-64px", "bert-mini", "gpt2-mini", "llama-mini-lora")
"""A perceptron, convolutions, a residual network, an encoder, a decoder, and an adapter on a frozen one."""


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("card", CARDS)
def test_every_kind_of_workload_compiles_for_every_architecture(card: str, workload: str) -> None:
    """At the suite's own batch the plan of `rtxbench run` holds, FLOPs are known, products are on Tensor Cores.

    A product that the compiler leaves to cuBLAS or cuDNN has no kernel before a card chooses one.
    """
    compiled = step(card, "mixed_bfloat16", workload, workload_named(workload).batch_sizes["gpu"])
    held = step_memory(compiled.case)
    assert held is not None
    peak, planned = compiled.peak_bytes, held.state_bytes + held.temp_bytes
    on_tensor_cores = {name for name in compiled.kernels if classify_kernel(name, "mixed_bfloat16") == "matrix"}
    print(
        f"{card} {workload} b{compiled.case.batch_size}: {peak / 2**20:.0f} MiB planned by the compiler, "
        f"{planned / 2**20:.0f} by rtxbench; {compiled.flops or 0:.3g} FLOP; {len(on_tensor_cores)} of "
        f"{len(compiled.kernels)} kernels on Tensor Cores; libraries {compiled.library_calls or 'none'}"
    )
    assert peak < planned * 1.3 + 2**25
    assert compiled.flops
    assert compiled.instructions or compiled.library_calls
    products = {name for name in compiled.tensor_core_kernels if name.startswith("gemm_fusion")}
    assert products <= on_tensor_cores


@pytest.mark.parametrize("card", CARDS)
def test_flops_are_known_for_a_gpus_program(card: str) -> None:
    """Fault 14: a plugin's backend counts nothing on a lowered program; the step's FLOPs are there all the same."""
    flops = step(card, "float32").flops
    assert flops is not None
    # Two square layers forward, their weights' gradients, and one input's: five products of 2·B·4096².
    assert flops > 5 * 2 * 1024 * 4096**2

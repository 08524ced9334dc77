"""The JAX engine on this machine's CPU: it trains, in the precision it says, on one device and on two."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from rtxbench.precision import why_unproven
from tests.engine_facts import facts, require

require("jax")

XLA = {"compiler": "xla"}
PROOFS = ("matmul", "convolution")
# Forward, weight gradients, and the one input gradient that is needed.
MLP_FLOPS = 2 * 32 * (2 * 784 * 512 + 3 * 512 * 10)


@pytest.fixture(scope="module")
def one_device() -> dict[str, dict[str, Any]]:
    """Facts of the article's MLP on one CPU, by what is special about the case."""
    cases = {
        "float32": XLA,
        "bfloat16": XLA | {"precision": "mixed_bfloat16"},
        "float16": XLA | {"precision": "mixed_float16"},
        "eager": {"compiler": "none"},
        "inductor": {"compiler": "inductor"},
        "mirrored": XLA | {"placement": "mirrored-logical", "device_count": 2},
        "fused": XLA | {"variant": "fused-norm"},
        "gpu": XLA | {"placement": "gpu"},
    }
    return dict(zip(cases, facts("jax", *cases.values()), strict=True))


def test_training_lowers_the_loss(one_device: dict[str, Any]) -> None:
    """Six steps on one batch fit it, in every precision: loss scaling keeps float16 alive."""
    for name in ("float32", "bfloat16", "float16"):
        losses = one_device[name]["losses"]
        assert losses[-1] < 0.8 * losses[0], name


def test_the_error_of_a_product_tells_the_precision(one_device: dict[str, Any]) -> None:
    """float32, float16 and bfloat16 differ from float64 by amounts that no two of them share."""
    assert one_device["float32"]["matmul_error"] < 1e-6
    assert 1e-4 < one_device["float16"]["matmul_error"] < 1e-3
    assert 1e-3 < one_device["bfloat16"]["matmul_error"] < 1e-2


def test_the_errors_of_product_and_convolution_fit_the_precision(one_device: dict[str, Any]) -> None:
    """Point 4: what is measured here lies inside the bounds that verdicts ask for, in no other precision's."""
    for name, precision in (("float32", "float32"), ("bfloat16", "mixed_bfloat16"), ("float16", "mixed_float16")):
        errors = {f"{what}_relative_error": one_device[name][f"{what}_error"] for what in PROOFS}
        assert why_unproven(precision, errors) is None, (name, errors)
        others = {"float32", "mixed_bfloat16", "mixed_float16"} - {precision}
        assert all(why_unproven(other, errors) for other in others)


def test_precisions_start_from_equal_weights(one_device: dict[str, Any]) -> None:
    """The first loss of every precision is float32's up to rounding."""
    first = one_device["float32"]["losses"][0]
    for name in ("bfloat16", "float16", "eager"):
        assert one_device[name]["losses"][0] == pytest.approx(first, rel=0.02)


def test_compiled_and_operation_by_operation_train_the_same(one_device: dict[str, Any]) -> None:
    """The compiler is an axis, not another experiment."""
    assert one_device["eager"]["losses"] == pytest.approx(one_device["float32"]["losses"], rel=1e-4)


def test_flops_are_the_products_and_a_little_elementwise_work(one_device: dict[str, Any]) -> None:
    """XLA's count of the training step holds its matrix products and at most a fifth more: Adam on a small batch."""
    value, how = one_device["float32"]["flops"]
    assert MLP_FLOPS <= value <= 1.2 * MLP_FLOPS
    assert "cost analysis" in how


def test_peak_memory_is_the_compilers_plan_and_holds_the_state(one_device: dict[str, Any]) -> None:
    """The plan exceeds the training state; operation by operation there is none, and the reason says so."""
    value, how = one_device["float32"]["peak"]
    assert one_device["float32"]["state_bytes"] < value < 10 * one_device["float32"]["state_bytes"]
    assert "memory_analysis" in how
    assert one_device["eager"]["peak"][0] is None
    assert "one by one" in one_device["eager"]["peak"][1]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("inductor", "UnavailableError", "no compiler 'inductor'"),
        ("mirrored", "UnavailableError", "mirrored-logical is a way of tensorflow"),
        ("fused", "UsageError", "TensorFlow's"),
    ],
)
def test_what_jax_has_not_is_refused_with_the_reason(
    one_device: dict[str, Any], name: str, error: str, words: str
) -> None:
    """No case quietly runs as another one."""
    assert one_device[name]["error"] == error
    assert words in one_device[name]["message"]


def test_a_missing_gpu_is_said_not_worked_around(one_device: dict[str, Any]) -> None:
    """A GPU case where JAX sees none is refused."""
    if any(kind == "gpu" for _, kind, _ in one_device["gpu"]["devices"]):
        pytest.skip("this machine has a GPU")
    assert "JAX sees no gpu" in one_device["gpu"]["message"]


def test_no_other_engine_is_imported(one_device: dict[str, Any]) -> None:
    """The JAX engine needs neither TensorFlow nor PyTorch on a dense workload."""
    assert "torch" not in one_device["float32"]["other_engines"]


@pytest.fixture(scope="module")
def two_devices() -> dict[tuple[str, str], dict[str, Any]]:
    """Facts of the same model over two logical CPU devices, by way of sharing and precision."""
    both = XLA | {"device_count": 2}
    keys = [(way, p) for way in ("data-parallel", "model-parallel") for p in ("float32", "mixed_bfloat16")]
    cases = [both | {"placement": f"{way}-logical", "precision": precision} for way, precision in keys]
    odd = both | {"placement": "data-parallel-logical", "batch_size": 33}
    return dict(zip([*keys, ("odd", "float32")], facts("jax", *cases, odd), strict=True))


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
@pytest.mark.parametrize("way", ["data-parallel", "model-parallel"])
def test_two_devices_train_what_one_does(
    one_device: dict[str, Any], two_devices: dict[Any, Any], way: str, precision: str, tolerance: float
) -> None:
    """Over two logical devices, losses follow one device's within the precision's rounding."""
    both = two_devices[way, precision]
    alone = one_device["bfloat16" if precision == "mixed_bfloat16" else "float32"]
    assert both["losses"] == pytest.approx(alone["losses"], rel=tolerance)
    assert both["flops"] == alone["flops"]


def test_a_split_model_holds_about_half_its_state_on_each_device(
    one_device: dict[str, Any], two_devices: dict[Any, Any]
) -> None:
    """ModelParallel really splits: state per device falls to about half, and DataParallel's does not."""
    whole = one_device["float32"]["state_bytes"]
    assert 0.5 <= two_devices["model-parallel", "float32"]["state_bytes"] / whole <= 0.51
    assert two_devices["data-parallel", "float32"]["state_bytes"] == whole


def test_batch_that_two_devices_cannot_share_is_refused(two_devices: dict[Any, Any]) -> None:
    """33 examples over two devices: refused, never padded or dropped."""
    assert "33 examples" in two_devices["odd", "float32"]["message"]


@pytest.mark.slow
def test_a_transformer_takes_a_finite_step() -> None:
    """A keras-hub model trains in bfloat16, and says how its attention is computed."""
    if find_spec("keras_hub") is None:
        pytest.skip("language workloads come from keras-hub")
    (fact,) = facts("jax", XLA | {"workload": "gpt2-mini", "batch_size": 2, "precision": "mixed_bfloat16"})
    assert fact["losses"][-1] < fact["losses"][0]
    assert "dropout" in fact["notes"]["attention"]


def test_tf32_leaves_products_at_the_default_precision_and_strict_float32_does_not() -> None:
    """Fault 3: XLA's Triton products use TF32 at DEFAULT alone; HIGH, which "tensorfloat32" stands for, is float32."""
    code = (
        "import jax\nfrom rtxbench.engines import load_engine\nengine = load_engine('jax')\n"
        "for allowed in (True, False):\n"
        "    engine.set_tf32(allowed)\n"
        "    text = jax.jit(lambda a: a @ a).lower(jax.numpy.ones((8, 8))).as_text()\n"
        "    print(text.split('precision = [')[1].split(',')[0] if 'precision = [' in text else 'DEFAULT')\n"
    )
    assert _printed(code) == ["DEFAULT", "HIGHEST"]


def test_flops_are_counted_where_the_device_counts_none() -> None:
    """Fault 14: a GPU's backend counts nothing on a lowered program; lowered for the host, the step has its count."""
    code = (
        "from rtxbench.engines import load_engine\nfrom rtxbench.records import Case\nengine = load_engine('jax')\n"
        "step = engine.build(Case(workload='mlp', batch_size=32, engine='jax', compiler='xla'), 0)\n"
        "step.activate()\nprint(step.flops().value)\n"
        "class OnAGpu:\n    def cost_analysis(self): return None\n"
        "step._program.lowered = OnAGpu()\nprint(step.flops().value)\n"
    )
    counted, on_a_gpu = _printed(code)
    assert float(counted) > 1e6
    assert counted == on_a_gpu


def _printed(code: str) -> list[str]:
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()

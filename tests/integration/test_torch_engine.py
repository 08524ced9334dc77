"""The PyTorch engine on this machine's CPU: it trains, in the precision it says, in one process and in two."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rtxbench.precision import why_unproven
from tests.engine_facts import facts, require

require("torch")

PROOFS = ("matmul", "convolution")
# Forward, weight gradients, and the one input gradient that is needed.
MLP_FLOPS = 2 * 32 * (2 * 784 * 512 + 3 * 512 * 10)


@pytest.fixture(scope="module")
def one_device() -> dict[str, dict[str, Any]]:
    """Facts of the article's MLP on one CPU, by what is special about the case."""
    cases: dict[str, dict[str, Any]] = {
        "float32": {},
        "bfloat16": {"precision": "mixed_bfloat16"},
        "float16": {"precision": "mixed_float16"},
        "xla": {"compiler": "xla"},
        "mirrored": {"placement": "mirrored-logical", "device_count": 2},
        "compiled ddp": {"placement": "ddp-logical", "device_count": 2, "compiler": "inductor"},
        "gpu": {"placement": "gpu"},
        "native": {"variant": "native"},
        "native float16": {"variant": "native", "precision": "mixed_float16"},
        "no native": {"variant": "native", "workload": "llama-mini-lora-int8"},
    }
    return dict(zip(cases, facts("torch", *cases.values()), strict=True))


def test_training_lowers_the_loss(one_device: dict[str, Any]) -> None:
    """Six steps on one batch fit it, in every precision: loss scaling keeps float16 alive."""
    for name in ("float32", "bfloat16", "float16", "native", "native float16"):
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


def test_flops_are_those_of_the_matrix_products(one_device: dict[str, Any]) -> None:
    """PyTorch's counter gives exactly the products of forward and backward."""
    value, how = one_device["float32"]["flops"]
    assert value == MLP_FLOPS
    assert "flop_counter" in how


def test_the_work_of_a_step_is_counted_as_dispatched(one_device: dict[str, Any]) -> None:
    """Kernels, traffic, and the share of FLOPs whose ten classes are no multiple of 8; bfloat16 adds its casts."""
    work = one_device["float32"]["work"]
    assert 30 < work["kernels"] < 200
    state = 3 * 4 * (784 * 512 + 512 + 512 * 10 + 10)
    assert 2 * state < work["traffic_bytes"] < 20 * state  # weights and both moments of Adam are read and written
    assert work["unaligned_flops_ratio"] == pytest.approx(2 * 32 * 3 * 512 * 10 / MLP_FLOPS)
    assert "dispatched" in work["how"]
    assert one_device["bfloat16"]["work"]["kernels"] > work["kernels"]


COUNTING = """
from rtxbench.engines import load_engine
from rtxbench.records import Case
engine = load_engine("torch")
losses = []
for counted in (False, True):
    step = engine.build(Case(workload="bert-small", batch_size=2, engine="torch"), 0)
    step.run(1)
    if counted:
        step.flops()
        step.work()
    step.run(1)
    losses.append(step.loss())
print(losses[0] == losses[1], losses)
fused = engine.build(Case(workload="mlp", batch_size=8, engine="torch", compiler="inductor"), 0).work()
print(fused.kernels, fused.traffic_bytes, fused.unaligned_flops_ratio > 0, fused.how)
"""


def test_counting_a_step_leaves_training_as_it_was() -> None:
    """Dropout draws the same masks and the loss is the same after a count; what Inductor fuses is not counted."""
    if find_spec("keras_hub") is None:
        pytest.skip("the model with dropout needs keras-hub, which is not installed")
    command = [sys.executable, "-c", COUNTING]
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    same, fused = done.stdout.splitlines()[-2:]
    assert same.startswith("True"), same
    assert fused.startswith("None None True Inductor fuses")


def test_no_allocator_statistics_on_a_cpu_is_said(one_device: dict[str, Any]) -> None:
    """A missing peak is ``None`` with its reason, never 0."""
    value, how = one_device["float32"]["peak"]
    assert value is None
    assert "CPU allocator" in how


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("xla", "no compiler 'xla'"),
        ("mirrored", "mirrored-logical is a way of tensorflow"),
        ("compiled ddp", "not shown to train the same model"),
        ("no native", "no native PyTorch form"),
    ],
)
def test_what_torch_has_not_is_refused_with_the_reason(one_device: dict[str, Any], name: str, words: str) -> None:
    """No case quietly runs as another one."""
    assert one_device[name]["error"] == "UnavailableError"
    assert words in one_device[name]["message"]


def test_a_missing_gpu_is_said_not_worked_around(one_device: dict[str, Any]) -> None:
    """A GPU case where PyTorch sees none is refused."""
    if any(kind == "gpu" for _, kind, _ in one_device["gpu"]["devices"]):
        pytest.skip("this machine has a GPU")
    assert "PyTorch sees no GPU" in one_device["gpu"]["message"]


def test_no_other_engine_is_imported(one_device: dict[str, Any]) -> None:
    """The PyTorch engine needs neither TensorFlow nor JAX on a dense workload."""
    assert "jax" not in one_device["float32"]["other_engines"]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
def test_two_processes_train_what_one_does(one_device: dict[str, Any], precision: str, tolerance: float) -> None:
    """DDP over gloo follows one process's losses within the precision's rounding, and counts the same FLOPs."""
    (both,) = facts("torch", {"placement": "ddp-logical", "device_count": 2, "precision": precision})
    alone = one_device["bfloat16" if precision == "mixed_bfloat16" else "float32"]
    assert both["losses"] == pytest.approx(alone["losses"], rel=tolerance)
    assert both["flops"] == alone["flops"]


def test_a_record_says_whose_layers_it_trained(one_device: dict[str, Any]) -> None:
    """Keras's on PyTorch, or a plain module with its fused optimizer; both do the same operations."""
    assert one_device["float32"]["notes"]["model"] == "Keras's layers on PyTorch"
    assert "plain PyTorch module" in one_device["native"]["notes"]["model"]
    assert one_device["native"]["notes"]["optimizer"] == "Adam, fused"
    assert one_device["native"]["flops"] == one_device["float32"]["flops"]


def test_two_processes_train_a_native_form_as_one_does(one_device: dict[str, Any]) -> None:
    """DDP around the plain module, each rank with its share of the batch."""
    (both,) = facts("torch", {"placement": "ddp-logical", "device_count": 2, "variant": "native"})
    assert both["losses"] == pytest.approx(one_device["native"]["losses"], rel=1e-5)


@pytest.mark.timeout(600)
def test_a_rank_that_dies_is_named_as_the_cause(tmp_path: Path) -> None:
    """The second rank cannot start: the case fails with what that rank said, and nothing hangs."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'rtxbench.engines.torch.ddp' in sys.orig_argv:\n    sys.exit('planted fault')\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    (fact,) = facts("torch", {"placement": "ddp-logical", "device_count": 2}, environment={"PYTHONPATH": path})
    assert fact["error"] == "MeasurementError"
    assert "planted fault" in fact["message"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler")
def test_torch_compile_trains_the_same_model(one_device: dict[str, Any]) -> None:
    """The compiler is an axis, not another experiment; a native form keeps it under DDP, too."""
    native = {"compiler": "inductor", "variant": "native"}
    compiled, alone = facts("torch", {"compiler": "inductor"}, native)
    if "error" in compiled and sys.platform != "linux":
        pytest.skip(compiled["message"])
    (both,) = facts("torch", {**native, "placement": "ddp-logical", "device_count": 2})
    assert compiled["losses"] == pytest.approx(one_device["float32"]["losses"], rel=1e-4)
    assert alone["losses"] == pytest.approx(one_device["native"]["losses"], rel=1e-4)
    assert both["losses"] == pytest.approx(one_device["native"]["losses"], rel=1e-4)


@pytest.mark.slow
def test_every_family_of_workload_takes_a_finite_step() -> None:
    """Convolution and a transformer train in bfloat16."""
    cases = [{"workload": w, "batch_size": 2, "precision": "mixed_bfloat16"} for w in ("cnn", "gpt2-mini")]
    for fact in facts("torch", *cases):
        assert fact["losses"][-1] < fact["losses"][0]
    assert "dropout" in fact["notes"]["attention"]


def test_a_waiting_rank_waits_in_the_hosts_memory() -> None:
    """Fault 4: what a rank waits for between blocks goes by gloo and a CPU tensor; NCCL's would spin on its GPU."""
    code = (
        "import torch\nfrom rtxbench.engines import load_engine\nfrom rtxbench.records import Case\n"
        "engine = load_engine('torch')\n"
        "case = Case(workload='mlp', batch_size=8, engine='torch', placement='ddp-logical', device_count=2)\n"
        "step = engine.build(case, 0)\nreal = torch.distributed.broadcast\n"
        "def noted(message, src, group=None):\n"
        "    apart = group is not None and group is not torch.distributed.group.WORLD\n"
        "    print(message.device.type, torch.distributed.get_backend(group), 'apart' if apart else 'shared')\n"
        "    return real(message, src=src, group=group)\n"
        "torch.distributed.broadcast = noted\nstep.run(1)\ntorch.distributed.broadcast = real\nstep.close()\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["cpu gloo apart"]

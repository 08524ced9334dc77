"""The TensorFlow engine on this machine's CPU: it really trains, in the precision it says, and counts its FLOPs."""

import math
import os
import subprocess
import sys

import pytest

from rtxbench.errors import UnavailableError
from rtxbench.precision import why_unproven
from rtxbench.records import Case

tensorflow = pytest.importorskip("tensorflow", reason="the TensorFlow engine needs TensorFlow")


@pytest.fixture(scope="module")
def engine():
    from rtxbench.engines import load_engine

    return load_engine("tensorflow")


def case(**changes: object) -> Case:
    return Case(**{"workload": "mlp", "batch_size": 32, **changes})  # type: ignore[arg-type]


def test_training_lowers_the_loss(engine) -> None:
    """Fifty steps on one batch fit it: the step that is timed is a step that learns."""
    step = engine.build(case(), seed=0)
    step.activate()
    step.run(1)
    first = step.loss()
    step.run(50)
    assert step.loss() < 0.5 * first


@pytest.mark.parametrize(
    ("precision", "low", "high"),
    [("float32", 0.0, 1e-6), ("mixed_bfloat16", 1e-3, 1e-2), ("mixed_float16", 1e-4, 1e-3)],
)
def test_the_error_of_a_product_tells_the_precision(engine, precision: str, low: float, high: float) -> None:
    """float32, float16 and bfloat16 differ from float64 by amounts that no two of them share."""
    measured = case(precision=precision)
    errors = {
        "matmul_relative_error": engine.matmul_error(measured).value,
        "convolution_relative_error": engine.convolution_error(measured).value,
    }
    assert low <= errors["matmul_relative_error"] <= high
    assert why_unproven(precision, errors) is None


def test_equal_seeds_start_every_precision_from_equal_weights(engine) -> None:
    """The first loss in bfloat16 is the float32 loss up to bfloat16's rounding."""
    losses = []
    for precision in ("float32", "mixed_bfloat16"):
        step = engine.build(case(precision=precision), seed=3)
        step.run(1)
        losses.append(step.loss())
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_flops_of_the_mlp_are_those_of_its_matrix_products(engine) -> None:
    """Forward, weight gradients, and the one input gradient that is needed: 2·B·(2·784·512 + 3·512·10)."""
    flops = engine.build(case(), seed=0).flops()
    assert flops.value == 2 * 32 * (2 * 784 * 512 + 3 * 512 * 10)


def test_the_flops_of_the_cnn_are_those_of_its_convolution_and_products(engine) -> None:
    """The first convolution has a filter gradient and no input gradient; the dense layer has both."""
    flops = engine.build(case(workload="cnn", batch_size=2), seed=0).flops()
    convolution = 222 * 222 * 32 * 9 * 3
    dense = 111 * 111 * 32 * 10
    assert flops.value == 2 * 2 * (2 * convolution + 3 * dense)


def test_xla_trains_the_same_model(engine) -> None:
    """XLA is an axis, not another experiment: the same seed gives the same first loss."""
    losses = []
    for compiler in ("none", "xla"):
        step = engine.build(case(compiler=compiler), seed=1)
        step.run(1)
        losses.append(step.loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_missing_gpu_is_said_not_worked_around(engine) -> None:
    """A GPU case on a machine where TensorFlow sees none is refused: it must never quietly run on the CPU."""
    if any(device.kind == "gpu" for device in engine.devices()):
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnavailableError, match="no GPU"):
        engine.build(case(placement="gpu"), seed=0)


_LOSSES = """
from rtxbench.engines import load_engine
from rtxbench.records import Case
import sys
placement, devices, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3]
engine = load_engine("tensorflow")
case = Case(workload="mlp", batch_size=32, placement=placement, device_count=devices, precision=precision)
step = engine.build(case, 0)
for _ in range(5):
    step.run(1)
    print("loss", step.loss())
"""


def losses(placement: str, devices: int, precision: str) -> list[float]:
    command = [sys.executable, "-c", _LOSSES, placement, str(devices), precision]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(line.split()[1]) for line in output.splitlines() if line.startswith("loss")]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
def test_two_mirrored_devices_train_what_one_does(precision: str, tolerance: float) -> None:
    """MirroredStrategy at the same global batch follows one device's losses within the precision's rounding."""
    assert losses("mirrored-logical", 2, precision) == pytest.approx(losses("cpu", 1, precision), rel=tolerance)


@pytest.mark.parametrize("workload", ["mlp-wide", "resnet14-64px", "bert-small", "gpt2-mini", "llama-mini-lora"])
def test_every_family_of_workload_takes_a_finite_step(engine, workload: str) -> None:
    """One step of each architecture, in bfloat16, gives a finite loss and a count of FLOPs."""
    step = engine.build(case(workload=workload, batch_size=2, precision="mixed_bfloat16"), seed=0)
    step.run(1)
    assert math.isfinite(step.loss())
    assert step.flops().value > 1e6


@pytest.mark.parametrize("workload", ["llama-mini-lora", "llama-mini-lora-int8"])
def test_lora_trains_its_adapters_and_nothing_else(engine, workload: str) -> None:
    """The loss falls while the optimizer holds slots for the adapters alone: the frozen decoder, int8 or not, stays."""
    step = engine.build(case(workload=workload, batch_size=2), seed=0)
    step.activate()
    step.run(1)
    first = step.loss()
    step.run(20)
    assert step.loss() < first
    model, optimizer, _ = step._parts
    assert all("lora" in variable.path for variable in model.trainable_variables)
    assert sum(v.shape.num_elements() for v in model.trainable_variables) < 0.05 * model.count_params()
    assert len(optimizer.variables) < 3 * len(model.trainable_variables) + 5


_LEAN_IMPORT = """
import sys
from rtxbench.engines import load_engine
from rtxbench.records import Case
engine = load_engine("tensorflow")
step = engine.build(Case(workload="mlp", batch_size=32), 0)
step.run(1)
print("imported", sorted({"pandas", "matplotlib", "matplotlib.pyplot"} & sys.modules.keys()))
import pandas, matplotlib.pyplot
from matplotlib.figure import Figure
print("works", int(pandas.Series([1, 2]).sum()), isinstance(matplotlib.pyplot.figure(), Figure))
"""


def test_a_worker_pays_neither_for_pandas_nor_for_pyplot() -> None:
    """An engine that has trained a step imported neither, though both are installed and work in that process."""
    command = [sys.executable, "-c", _LEAN_IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["imported []", "works 3 True"]

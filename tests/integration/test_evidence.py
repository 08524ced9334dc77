"""Evidence of a real case on this CPU, through the processes a run starts for it."""

import pytest

from rtxbench.diagnosis.gather import ceiling_observations, step_observations
from rtxbench.records import Case

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow


def test_a_step_says_what_it_asks_of_the_cpu():
    """Kernels, traffic and oneDNN's shares are found; a case that cannot be built carries its reason."""
    good = Case(workload="mlp", batch_size=64)
    bad = Case(workload="no-such-workload", batch_size=64)
    found = step_observations("run", [good, bad])
    by_metric = {o.metric: o for o in found if o.case == good}
    assert by_metric["kernels_per_step"].values[0] > 20
    assert by_metric["traffic_bytes_per_step"].values[0] > 4 * 4 * 784 * 512
    assert 0 <= by_metric["matrix_unit_time_ratio"].values[0] <= 1
    assert "oneDNN" in by_metric["matrix_unit_time_ratio"].labels["method"]
    (failure,) = [o for o in found if o.case == bad]
    assert failure.values == ()
    assert "no-such-workload" in failure.reason


def test_a_data_parallel_step_says_how_large_its_gradients_are():
    """Two logical CPU devices, a functional check: four bytes per trainable parameter of the article's MLP."""
    case = Case(workload="mlp", batch_size=64, placement="mirrored-logical", device_count=2)
    by_metric = {o.metric: o for o in step_observations("run", [case])}
    parameters = 784 * 512 + 512 + 512 * 10 + 10
    assert by_metric["gradient_bytes_per_step"].values == (4.0 * parameters,)
    assert "gradient" in by_metric["gradient_bytes_per_step"].labels["method"]


def test_ceilings_are_measured_in_a_process_of_their_own():
    """Rates and times with their labels; what a CPU has not carries its reason."""
    found = ceiling_observations("run", "tensorflow", "cpu", ["float32", "tf32"], 2.0)
    by_metric = {o.metric: o for o in found}
    product = by_metric["gemm_flop_per_s"]
    assert min(product.values) > 1e8
    assert product.labels["precision"] == "float32"
    assert product.labels["kind"] == "cpu"
    assert by_metric["memory_bandwidth_bytes_per_s"].values
    assert by_metric["host_to_device_bytes_per_s"].reason
    assert not [o for o in found if o.labels.get("precision") == "tf32"]


def test_an_engine_that_cannot_start_is_a_reason_not_an_error():
    """Evidence never fails a run."""
    (failure,) = ceiling_observations("run", "no-such-engine", "cpu", ["float32"], 1.0)
    assert failure.values == ()
    assert failure.reason

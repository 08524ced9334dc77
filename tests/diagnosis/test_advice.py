"""Advice fits the case: nothing that was measured to be slower, nothing the case already does."""

import pytest

from rtxbench.diagnosis.advice import Situation, fitting_advice
from rtxbench.diagnosis.rules import Evidence, diagnose

CPU = Situation("cpu", "float32", compiled=False, gains={}, rates={"float32": 1.0, "mixed_bfloat16": 0.3})


def test_half_the_bytes_is_no_advice_where_it_was_measured_slower() -> None:
    """A CPU that runs bfloat16 at 0.3× is never told to train in it, measured or by its ceilings."""
    for situation in (CPU, CPU._replace(gains={"mixed_bfloat16": 0.58}, rates={})):
        said = fitting_advice("memory-bandwidth-bound", situation)
        assert "bfloat16" not in said
        assert "mixed precision" not in said


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_a_mixed_case_is_not_told_to_be_mixed(precision: str) -> None:
    """What the case already does is no advice."""
    situation = CPU._replace(device_kind="gpu", precision=precision, rates={})
    assert "precision" not in fitting_advice("memory-bandwidth-bound", situation)
    assert "float16" not in fitting_advice("compute-bound-off-matrix-unit", situation)


def test_a_measured_gain_is_quoted_and_a_measured_loss_left_out() -> None:
    """Compiling is offered with its own figure, and not at all where it did not pay or is done already."""
    assert "1.75× as fast" in fitting_advice("memory-bandwidth-bound", CPU._replace(gains={"compiled": 1.75}))
    for situation in (CPU._replace(gains={"compiled": 0.6}), CPU._replace(compiled=True)):
        assert "ompil" not in fitting_advice("launch-bound", situation)


def test_an_unmeasured_gpu_is_offered_what_usually_helps() -> None:
    """Without a measurement that speaks against it, a float32 case on a GPU is offered mixed precision."""
    said = fitting_advice("memory-bandwidth-bound", Situation("gpu", "float32", compiled=False, gains={}, rates={}))
    assert "mixed precision" in said


def test_the_diagnosis_carries_the_fitting_step() -> None:
    """A memory-bound mixed case on a CPU without the hardware is not advised to halve its bytes."""
    found = diagnose(
        Evidence(device_kind="cpu", precision="mixed_bfloat16", step_time_s=1.0, traffic_bytes_per_step=9e9,
                 memory_bytes_per_s=1e10, gemm_flop_per_s={"float32": 1e11, "mixed_bfloat16": 3e10})
    )  # fmt: skip
    assert found.code == "memory-bandwidth-bound"
    assert "precision" not in found.next_step

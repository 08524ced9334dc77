"""Each planted cause is diagnosed as itself, and a healthy control as none of them."""

from dataclasses import replace

import pytest

from rtxbench.diagnosis.causes import CAUSES
from rtxbench.diagnosis.rules import Evidence, diagnose, diagnose_ratio

CARD = {"float32": 30e12, "tf32": 45e12, "mixed_float16": 95e12}
"""Measured product ceilings of a card like an RTX 3090."""

CONTROL = Evidence(
    precision="mixed_float16",
    step_time_s=0.1,
    flops_per_step=5e12,  # 50 TFLOP/s, over half of the float16 ceiling
    traffic_bytes_per_step=2e10,
    kernels_per_step=600,
    gemm_flop_per_s=CARD,
    memory_bytes_per_s=8e11,
    kernel_launch_s=4e-6,
    step_call_s=1e-4,
    gpu_idle_ratio=0.02,
    matrix_unit_ratio=0.8,
    unaligned_flops_ratio=0.02,
    thermal_ratio=0.0,
    hardware_slowdown_ratio=0.0,
    power_cap_ratio=0.9,
    clock_loss_ratio=0.03,
)
AMX = {"float32": 0.15e12, "mixed_bfloat16": 1.1e12}
NO_AMX = {"float32": 0.05e12, "mixed_bfloat16": 0.01e12}


def test_the_control_is_compute_bound_on_the_matrix_unit():
    """A big product in float16, cool, busy and aligned: the hardware's own limit and nothing else."""
    found = diagnose(CONTROL)
    assert found.code == "compute-bound-matrix-unit"
    assert "53 %" in found.text


@pytest.mark.parametrize(
    ("planted", "code"),
    [
        # a model too small
        ({"flops_per_step": 1e9, "step_time_s": 0.003, "traffic_bytes_per_step": 1e7}, "launch-bound"),
        ({"gpu_idle_ratio": 0.6, "flops_per_step": 1e12, "input_wait_ratio": 0.0}, "launch-bound"),
        # an idle GPU, and nothing that tells launches from input
        ({"gpu_idle_ratio": 0.6, "flops_per_step": 1e12}, "host-bound"),
        # a sleep in the input pipeline, which leaves the GPU idle too
        ({"input_wait_ratio": 0.5, "gpu_idle_ratio": 0.5, "flops_per_step": 1e12}, "input-bound"),
        # channels of 31 instead of 32: the products fall off the unit
        (
            {"unaligned_flops_ratio": 1.0, "matrix_unit_ratio": None, "flops_per_step": 2e12},
            "compute-bound-off-matrix-unit",
        ),
        ({"matrix_unit_ratio": 0.0, "flops_per_step": 2e12}, "compute-bound-off-matrix-unit"),
        # strict float32 on a card that has the unit
        ({"precision": "float32", "flops_per_step": 2e12}, "compute-bound-off-matrix-unit"),
        # an elementwise-heavy model
        ({"flops_per_step": 1e11, "traffic_bytes_per_step": 6e10}, "memory-bandwidth-bound"),
        ({"flops_per_step": 1e11, "memory_activity_ratio": 0.9}, "memory-bandwidth-bound"),
        # heat, a power brake, a power limit that costs clocks
        ({"thermal_ratio": 0.1}, "throttled"),
        ({"hardware_slowdown_ratio": 0.02}, "throttled"),
        ({"power_cap_ratio": 0.9, "clock_loss_ratio": 0.2}, "throttled"),
        # gradients exchanged between two cards
        ({"device_count": 2, "communication_ratio": 0.4}, "communication-bound"),
        # nothing recorded explains it
        ({"flops_per_step": 1e12, "matrix_unit_ratio": 0.9}, "undetermined"),
    ],
)
def test_each_planted_cause_is_diagnosed_as_itself(planted, code):
    """One change to the healthy control, one diagnosis."""
    assert diagnose(replace(CONTROL, **planted)).code == code


def test_nvml_memory_utilisation_accuses_only_when_high_and_alone():
    """It counts time with any access: 60 % is normal for products, and counted traffic is better evidence."""
    unknown = replace(CONTROL, traffic_bytes_per_step=None)
    assert diagnose(replace(unknown, memory_busy_ratio=0.6)).code == "compute-bound-matrix-unit"
    assert diagnose(replace(unknown, memory_busy_ratio=0.95)).code == "memory-bandwidth-bound"
    assert diagnose(replace(CONTROL, memory_busy_ratio=0.95)).code == "compute-bound-matrix-unit"


def test_kernel_time_outweighs_shapes():
    """Libraries pad odd channels: where the kernels are known to be the unit's, odd shapes are no accusation."""
    assert diagnose(replace(CONTROL, unaligned_flops_ratio=1.0)).code == "compute-bound-matrix-unit"


def test_a_power_cap_without_loss_of_clocks_is_no_throttling():
    """Running at the power limit is how cards work."""
    assert diagnose(replace(CONTROL, power_cap_ratio=1.0)).code == "compute-bound-matrix-unit"


def test_a_cpu_without_a_matrix_unit_says_so():
    """bfloat16 emulated on AVX-512: the cause is the missing unit, whatever share the arithmetic reaches."""
    slow = Evidence(
        device_kind="cpu",
        precision="mixed_bfloat16",
        step_time_s=1.0,
        flops_per_step=2e9,
        gemm_flop_per_s=NO_AMX,
    )
    assert diagnose(slow).code == "no-matrix-unit"
    assert diagnose(replace(slow, flops_per_step=8e9)).code == "no-matrix-unit"
    assert diagnose(replace(slow, precision="float32", flops_per_step=4e10)).code == "compute-bound"


def test_a_cpu_with_amx_uses_it():
    """bfloat16 on AMX: limited by the matrix unit."""
    amx = Evidence(
        device_kind="cpu",
        precision="mixed_bfloat16",
        step_time_s=1.0,
        flops_per_step=6e11,
        gemm_flop_per_s=AMX,
        matrix_unit_ratio=0.9,
    )
    assert diagnose(amx).code == "compute-bound-matrix-unit"


def test_nothing_known_is_undetermined_with_a_next_step():
    """No evidence is no accusation."""
    found = diagnose(Evidence())
    assert found.code == "undetermined"
    assert found.next_step
    assert "no ceilings" in found.text


def pair(ratio, baseline, candidate):
    return diagnose_ratio(replace(CONTROL, **baseline), replace(CONTROL, **candidate), ratio).code


def test_tf32_left_on_is_found_in_the_baseline():
    """A baseline named float32 whose products err like TF32 explains why mixed precision gains little."""
    rounded = {"precision": "float32", "matmul_relative_error": 3e-4}
    assert pair(1.2, rounded, {}) == "baseline-already-tf32"
    assert pair(1.2, {"precision": "tf32"}, {}) == "baseline-already-tf32"


def test_strict_float32_is_not_accused_of_tf32():
    """A baseline with errors of 1e-7 is strict: the candidate's own limit is the cause."""
    strict = {"precision": "float32", "matmul_relative_error": 2e-7}
    assert pair(1.2, strict, {}) == "compute-bound-matrix-unit"
    tiny = {"flops_per_step": 1e9, "step_time_s": 0.003, "traffic_bytes_per_step": 1e7}
    assert pair(1.0, strict, tiny) == "launch-bound"


def test_a_gain_near_the_ceilings_is_explained_by_the_unit():
    """3.0× where the product ceilings promise 3.2×: the unit is used and pays."""
    strict = {"precision": "float32", "matmul_relative_error": 2e-7}
    assert pair(3.0, strict, {}) == "matrix-unit-pays"


def test_throttling_of_either_arm_comes_first():
    """A throttled baseline makes the ratio look good: said before anything else."""
    assert pair(3.0, {"precision": "float32", "thermal_ratio": 0.3}, {}) == "throttled"


@pytest.mark.parametrize(
    ("ratio", "baseline", "candidate", "code"),
    [
        (1.2, {}, {"communication_ratio": 0.4}, "communication-bound"),
        (1.2, {}, {}, "communication-bound"),
        (1.9, {}, {}, "compute-bound-matrix-unit"),
        (
            1.1,
            {"gpu_idle_ratio": 0.6, "flops_per_step": 1e12},
            {"gpu_idle_ratio": 0.7, "flops_per_step": 1e12},
            "host-bound",
        ),
    ],
)
def test_scaling(ratio, baseline, candidate, code):
    """Two devices: observed communication, inferred communication, good scaling, and a host too slow for one."""
    two = {"device_count": 2, "flops_per_step": 1e13, **candidate}
    assert pair(ratio, baseline, two) == code


def test_every_cause_has_a_title_and_one_next_step():
    """A diagnosis always ends with what to do."""
    for cause in CAUSES.values():
        assert cause.title
        assert cause.next_step.endswith(".")

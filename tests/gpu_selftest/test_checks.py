"""What a bundle must show, on bundles of a simulated card: the good one, and one planted fault each."""

import pytest
from msgspec.structs import replace

from rtxbench.gpu_selftest.bundle import Bundle, ObservedKernel, Part, StepKernels
from rtxbench.gpu_selftest.checks import CHECKS, check_bundle, checks_text
from tests.gpu_bundles import BFLOAT16, FLOAT32, good_bundle, ramp


def states(bundle: Bundle) -> dict[str, str]:
    return {check.name: check.state for check in check_bundle(bundle)}


def test_everything_holds_on_a_card_that_behaves() -> None:
    """The control: no check cries wolf on a good card."""
    bundle = good_bundle()
    assert states(bundle) == dict.fromkeys(CHECKS, "holds"), checks_text(bundle, check_bundle(bundle))


def _proof(bundle: Bundle, number: int, **changes: float) -> Bundle:
    proofs = list(bundle.proofs)
    proofs[number] = replace(proofs[number], **changes)
    return replace(bundle, proofs=tuple(proofs))


def _without_clock(bundle: Bundle) -> Bundle:
    lines = [
        replace(line, error_code=3, reason="Not Supported") if getattr(line, "sensor", "") == "sm_clock" else line
        for line in bundle.trace
    ]
    return replace(bundle, trace=tuple(lines))


def _hot(bundle: Bundle) -> Bundle:
    lines = [
        replace(line, values={**line.values, "clock_event_reasons_bitmask": 8.0}) if hasattr(line, "values") else line
        for line in bundle.trace
    ]
    return replace(bundle, trace=tuple(lines))


def _kernels(bundle: Bundle, case: object, name: str) -> Bundle:
    steps = [
        StepKernels(case=s.case, kernels=(ObservedKernel(name=name, calls=1, busy_s=1.0),)) if s.case == case else s
        for s in bundle.kernels
    ]
    return replace(bundle, kernels=tuple(steps))


GOOD = good_bundle()
OTHERS_BLOCKS = GOOD.turns[0].in_turns_ns
"""Activity of one arm that is told of the other."""
PLANTED = {
    "sensors": _without_clock(GOOD),
    "clock ramp": replace(GOOD, ramp=ramp(rise_s=1.2)),
    "utilisation window": replace(GOOD, ramp=ramp(averaged_s=2.0)),
    "precisions": _proof(GOOD, 0, matmul_relative_error=3e-4),
    "peak memory": _proof(GOOD, 1, peak_memory_bytes=1.5e9),
    "kernel names": _kernels(GOOD, BFLOAT16, "ampere_sgemm_128x64_tn"),
    "Tensor activity": replace(
        GOOD, turns=(GOOD.turns[0], replace(GOOD.turns[1], in_turns_ns=GOOD.turns[0].in_turns_ns))
    ),
    "flags of a good run": _hot(GOOD),
}


@pytest.mark.parametrize("name", CHECKS)
def test_each_planted_fault_breaks_its_own_check(name: str) -> None:
    """What is wrong with a card is found by the check that is named after it, and by no other."""
    found = states(PLANTED[name])
    assert [check for check, state in found.items() if state == "broken"] == [name]


def test_strict_float32_on_tensor_cores_is_found_by_its_kernels() -> None:
    """TF32 that was not switched off shows in the names, too."""
    assert states(_kernels(GOOD, FLOAT32, "sm80_xmma_gemm_f32f32_tf32f32_tensor16x8x8"))["kernel names"] == "broken"


def test_without_a_card_every_check_says_why() -> None:
    """Nothing is called right that was not seen; the reason is the first part's."""
    part = Part(name="engines", status="skipped", took_s=0.0, reason="NVML cannot start.")
    empty = replace(GOOD, parts=(part,), ramp=None, turns=(), proofs=(), kernels=(), trace=())
    checked = check_bundle(empty)
    assert {check.state for check in checked} == {"unknown"}
    assert all(check.sentence for check in checked)
    assert sum(check.sentence == "NVML cannot start." for check in checked) >= 6

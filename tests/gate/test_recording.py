"""Which card a gated step runs on, told from how busy it was; what voids a launch and what is only a caution."""

import pytest

from rtxbench.gate import recording
from rtxbench.gate.session import GateLaunch, ProcessPair
from rtxbench.records import Launch
from tests.hardware_traces import GPU, SECOND_NS, trace


def launch() -> GateLaunch:
    """Four seconds of each arm in turn."""
    starts = [second * SECOND_NS for second in range(2, 10, 2)]

    def arm(offset: int) -> Launch:
        blocks = tuple((start + offset, start + offset + SECOND_NS) for start in starts)
        return Launch(
            steps_per_block=10, blocks_ns=blocks, warmup_ok=True, warmup_s=0.1, build_s=0.1, first_step_s=0.01
        )

    return GateLaunch("a:f", 1, (ProcessPair(0.0, arm(0), arm(SECOND_NS)),))


@pytest.mark.parametrize(("utilization", "voids"), [(0.19, False), (0.21, True)])
def test_a_card_counts_as_used_from_a_fifth_of_the_time_on(utilization: float, voids: bool) -> None:
    """A card that a desktop draws on may throttle without voiding a launch; the one the step runs on may not."""
    slowdown = {"gpu_utilization_ratio": utilization, "clock_event_reasons_bitmask": float(0x8)}
    flags = recording._flags(trace(gpu=slowdown), launch(), [GPU])
    assert any(flag.severity == "invalid" for flag in flags) is voids


def test_what_hits_both_arms_alike_is_a_caution() -> None:
    """A hypervisor that takes a fifth of the time voids a figure that stands alone, and only widens a gate's."""
    flags = recording._flags(trace(host={"steal_ratio": 0.2}), launch(), [])
    assert {flag.code: flag.severity for flag in flags}["steal"] == "warn"

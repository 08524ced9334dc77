"""Validity flags: each threshold of the protocol, both sides of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from rtxbench.hardware import flags
from rtxbench.hardware.flags import pair_flags, window_flags
from rtxbench.hardware.trace import Event, GpuProcessSeen, Mark
from tests.hardware_traces import GPU, SECOND_NS, trace

WINDOWS = [(5 * SECOND_NS, 15 * SECOND_NS), (16 * SECOND_NS, 26 * SECOND_NS)]


def codes(found):
    return {flag.code: flag.severity for flag in found}


def test_a_healthy_machine_has_no_flags():
    """The control: nothing is flagged on a busy, cool, quiet machine."""
    assert window_flags(trace(gpu={}), WINDOWS, [GPU]) == ()
    assert window_flags(trace(), WINDOWS) == ()


@pytest.mark.parametrize(
    ("host", "code", "severity"),
    [
        ({"steal_ratio": 0.02}, "steal", "warn"),
        ({"steal_ratio": 0.06}, "steal", "invalid"),
        ({"cgroup_throttled_ratio": 0.02}, "cgroup-throttled", "warn"),
        ({"cgroup_throttled_ratio": 0.06}, "cgroup-throttled", "invalid"),
        ({"psi_cpu_some_ratio": 0.3}, "cpu-pressure", "warn"),
        ({"watched_cpu_cores": 0.0}, "no-work", "invalid"),
    ],
)
def test_host_flags(host, code, severity):
    """Each host threshold of the protocol."""
    assert codes(window_flags(trace(host=host), WINDOWS)) == {code: severity}


def test_a_machine_that_slept_within_the_timed_blocks_is_flagged():
    """A suspension noticed within a second of the blocks is told beside the figure; an earlier one is not."""
    for second, expected in ((4, {}), (10, {"suspended": "warn"}), (26.5, {"suspended": "warn"}), (30, {})):
        event = Event(t=int(second * SECOND_NS), code="suspended", device="host", detail="suspended for 30 s")
        slept = trace(events=(event,))
        assert codes(window_flags(slept, WINDOWS)) == expected


@pytest.mark.parametrize(
    ("gpu", "code", "severity"),
    [
        ({"clock_event_reasons_bitmask": lambda t: np.where(t % 10 < 0.05, 8.0, 0)}, "hw-slowdown", "warn"),
        ({"clock_event_reasons_bitmask": 0x80}, "hw-slowdown", "invalid"),
        ({"clock_event_reasons_bitmask": lambda t: np.where(t % 3 < 0.05, 32.0, 0)}, "thermal-slowdown", "warn"),
        ({"clock_event_reasons_bitmask": 0x20}, "thermal-slowdown", "invalid"),
        ({"temperature_c": lambda t: 50 + t / 2}, "temperature-drift", "warn"),
        ({"temperature_c": lambda t: 50 + t}, "temperature-drift", "invalid"),
        ({"sm_clock_hz": lambda t: 2.5e9 * (1 + 0.05 * np.sin(t))}, "clock-variation", "warn"),
        ({"sm_clock_hz": lambda t: 2.5e9 * (1 + 0.2 * np.sin(t))}, "clock-variation", "invalid"),
        ({"gpu_utilization_ratio": 0.5}, "host-bound", "warn"),
        ({"gpu_utilization_ratio": 0.0}, "no-work", "invalid"),
        ({"energy_j": lambda t: 330 * t}, "energy-disagreement", "warn"),
    ],
)
def test_gpu_flags(gpu, code, severity):
    """Each GPU threshold of the protocol, and the rejection of a trace that shows no work."""
    assert codes(window_flags(trace(gpu=gpu), WINDOWS, [GPU])) == {code: severity}


def test_utilisation_and_clocks_are_judged_only_where_one_arm_had_two_seconds():
    """Blocks of half a second raise no such flag, whatever the sensor shows of the neighbours; a stretch alone does."""
    shared = trace(gpu={"gpu_utilization_ratio": 0.6, "sm_clock_hz": lambda t: 2.5e9 * (1 + 0.2 * np.sin(t))})
    blocks = [(t * SECOND_NS, t * SECOND_NS + SECOND_NS // 2) for t in range(5, 15)]
    assert window_flags(shared, blocks, [GPU]) == ()
    alone = [(20 * SECOND_NS, 29 * SECOND_NS)]
    assert codes(window_flags(shared, blocks, [GPU], alone)) == {"clock-variation": "invalid", "host-bound": "warn"}


def test_the_power_cap_alone_is_no_flag():
    """A card at its power limit is how cards work: not flagged for a case, only between unequal arms."""
    capped = trace(gpu={"clock_event_reasons_bitmask": 4})
    assert window_flags(capped, WINDOWS, [GPU]) == ()
    assert pair_flags(capped, WINDOWS[:1], WINDOWS[1:]) == ()


def test_unequal_power_cap_between_arms_warns():
    """One arm capped, the other not: the comparison is flagged."""
    unequal = trace(gpu={"clock_event_reasons_bitmask": lambda t: np.where(t > 15.5, 4.0, 0.0)})
    assert codes(pair_flags(unequal, WINDOWS[:1], WINDOWS[1:], [GPU])) == {"power-cap-unequal": "warn"}


def test_unequal_thermal_slowdown_between_arms_voids():
    """Six points of thermal slowdown between the arms make the comparison invalid."""
    hot = trace(gpu={"clock_event_reasons_bitmask": lambda t: np.where((t > 16) & (t % 1 < 0.15), 32.0, 0.0)})
    assert codes(pair_flags(hot, WINDOWS[:1], WINDOWS[1:])) == {"thermal-slowdown-unequal": "invalid"}


@pytest.mark.parametrize(
    ("half_width", "expected"), [(None, {}), (0.02, {}), (0.05, {"cpu-pressure-shows": "invalid"})]
)
def test_cpu_pressure_voids_only_with_a_wide_interval(half_width, expected):
    """A busy host is a caution; that it hurt is shown by the interval."""
    busy = trace(host={"psi_cpu_some_ratio": 0.6})
    assert codes(pair_flags(busy, WINDOWS[:1], WINDOWS[1:], half_width_ratio=half_width)) == expected


def mark(t_s, pid, sm, watched):
    return Mark(int(t_s * SECOND_NS), "edge", {GPU: (GpuProcessSeen(pid, None, sm, watched),)})


@pytest.mark.parametrize(("sm", "severity"), [(None, "warn"), (0.3, "invalid")])
def test_foreign_gpu_process(sm, severity):
    """Another process with a context warns; one that uses the SMs voids."""
    found = window_flags(trace(gpu={}, marks=(mark(1, 99, sm, False),)), WINDOWS, [GPU])
    assert codes(found) == {"foreign-gpu-process": severity}


def test_own_gpu_process_is_not_foreign():
    """The measured program's own process is expected on the GPU."""
    assert window_flags(trace(gpu={}, marks=(mark(1, 99, 0.9, True),)), WINDOWS, [GPU]) == ()


def test_in_a_container_only_earlier_processes_are_foreign():
    """Where process ids differ from the driver's, one that appeared after the first mark may be our own."""
    empty = Mark(0, "start", {GPU: ()})
    later = trace(gpu={}, marks=(empty, mark(4, 99, 0.9, False)), pids_comparable=False)
    assert window_flags(later, WINDOWS, [GPU]) == ()
    earlier = trace(gpu={}, marks=(mark(0, 99, 0.9, False), mark(4, 99, 0.9, False)), pids_comparable=False)
    assert codes(window_flags(earlier, WINDOWS, [GPU])) == {"foreign-gpu-process": "invalid"}


SHORT_NS = SECOND_NS // 4
GPU_BLOCKS = [(5 * SECOND_NS + n * 2 * SHORT_NS, 5 * SECOND_NS + (2 * n + 1) * SHORT_NS) for n in range(40)]
"""Blocks of a quarter of a second with as long of another arm between them."""


def test_utilisation_shared_with_another_arm_is_no_host_bound():
    """Fault 11: a card that is 97 % busy in its own blocks, with CPU blocks between, reads about half busy."""
    interleaved = trace(gpu={"gpu_utilization_ratio": 0.48})
    assert window_flags(interleaved, GPU_BLOCKS, [GPU]) == ()
    assert codes(window_flags(interleaved, WINDOWS, [GPU])) == {"host-bound": "warn"}


def test_a_display_card_between_frames_has_no_clock_variation():
    """Fault 10: a desktop's card sits at its idle clock between frames; only clocks under work are judged."""
    display = trace(
        gpu={
            "gpu_utilization_ratio": 0.03,
            "sm_clock_hz": lambda t: np.where(t % 1 < 0.3, 2.5e9, 3e8),
        }
    )
    assert "clock-variation" not in codes(window_flags(display, WINDOWS, [GPU]))
    working = trace(gpu={"sm_clock_hz": lambda t: np.where(t % 1 < 0.3, 2.5e9, 3e8)})
    assert codes(window_flags(working, WINDOWS, [GPU]))["clock-variation"] == "invalid"


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        ({"power_w": lambda t: np.where(t > 4, 200.0, 30.0)}, {"work-unproven": "warn"}),
        ({"power_w": 30.0}, {"no-work": "invalid"}),
    ],
)
def test_utilisation_stuck_at_zero_needs_a_second_witness(power, expected):
    """Fault 17: WSL2 drivers answer 0 for unknown; power above its lowest keeps the figure, at its lowest voids it."""
    stuck = trace(gpu={"gpu_utilization_ratio": 0.0, "energy_j": lambda t: 0 * t, **power})
    found = codes(window_flags(stuck, WINDOWS, [GPU]))
    found.pop("energy-disagreement", None)
    assert found == expected


def test_a_lost_gpu_voids():
    """A GPU that fell off the bus during the windows voids them."""
    lost = trace(gpu={}, events=(Event(12 * SECOND_NS, "gpu-lost", GPU, "GPU is lost"),))
    assert codes(window_flags(lost, WINDOWS, [GPU])) == {"gpu-lost": "invalid"}


def test_windows_outside_the_recording_are_noted():
    """Blocks the recorder did not see are flagged as not recorded instead of passing for clean."""
    late = [(100 * SECOND_NS, 110 * SECOND_NS)]
    assert codes(window_flags(trace(), late)) == {"not-recorded": "warn"}


def test_a_gpu_case_on_a_machine_without_nvml_is_unproven():
    """Without utilisation nothing shows that the work ran on the device: said, with NVML's reason."""
    (flag,) = window_flags(trace(), WINDOWS, ["GPU-elsewhere"])
    assert flag.code == "work-unproven"
    assert "no NVML here" in flag.detail


def test_every_flag_is_documented():
    """A code printed beside a figure can be looked up."""
    text = (Path(__file__).parents[2] / "docs" / "hardware.md").read_text(encoding="utf-8")
    source = Path(flags.__file__).read_text(encoding="utf-8")
    codes_used = set(re.findall(r'_flag\(\s*"([a-z-]+)"|_Limit\("([a-z-]+)"', source))
    for pair in codes_used:
        assert f"`{pair[0] or pair[1]}`" in text

"""A simulated card: one timeline of work is seen through NVML's averages and judged by the real flags and energies.

A good run yields no flag; each planted fault yields its own. The timeline is a millisecond grid: which arm runs, how
busy it keeps the card, the clock with its ramp, the power. The sensors average as the driver does: utilisation over a
second, power over a tenth, Tensor activity between two reads.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtxbench.hardware.flags import pair_flags, window_flags
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import GpuProcessSeen, Mark, Trace, load_trace, summarize
from rtxbench.hardware.windows import Samples
from tests.hardware_traces import GPU, SECOND_NS, trace
from tests.nvml_stub import GPU0, build, compiler

_MS_NS = 1_000_000
Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Card:
    """A card and what befalls it while two arms take turns in blocks."""

    block_s: float = 0.5
    rounds: int = 20
    busy: tuple[float, float] = (0.98, 0.98)
    """How busy each arm keeps the card; 0 is an arm of the CPU."""
    tensor: tuple[float, float] = (0.0, 0.6)
    ramp_s: float = 0.0
    """Time in which the clock climbs after the card was idle."""
    temperature_c: Callable[[Grid], Grid] = field(default=lambda t: 60 + 0 * t)
    reasons: Callable[[Grid], Grid] = field(default=lambda t: 0 * t)
    display: bool = False
    """Short kernels of a desktop, at low clocks, whenever no arm works."""
    utilisation_stuck: bool = False
    foreign_sm: float | None = None
    counter_factor: float = 1.0


def simulate(card: Card) -> tuple[Trace, list[list[tuple[int, int]]]]:
    """The trace, and each arm's blocks."""
    length_s = 3 + 2 * card.rounds * card.block_s
    t = np.arange(0, length_s, 0.001)
    arm = np.where(t < 2, -1, ((t - 2) // card.block_s).astype(int) % 2)
    arm[t >= 2 + 2 * card.rounds * card.block_s] = -1
    working = np.select([arm == 0, arm == 1], card.busy, 0.03 if card.display else 0.0)
    since_idle = _since(working < 0.5)
    ramp = np.clip(since_idle / card.ramp_s, 0.17, 1.0) if card.ramp_s else np.ones(t.size)
    clock = np.where(working > 0.5, 2.5e9 * ramp, 3.4e8)
    power = 30 + 270 * working
    ticks = np.arange(99, t.size, 100)

    def averaged(values: Grid, over: int) -> Samples:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        begins = np.maximum(ticks + 1 - over, 0)
        means = (sums[ticks + 1] - sums[begins]) / (ticks + 1 - begins)
        return Samples((ticks + 1) * _MS_NS, means)

    tensor = np.select([arm == 0, arm == 1], card.tensor, 0.0)
    columns = {
        "gpu_utilization_ratio": averaged(0 * t if card.utilisation_stuck else working, 1000),
        "power_w": averaged(power, 100),
        "energy_j": Samples((ticks + 1) * _MS_NS, card.counter_factor * np.cumsum(power)[ticks] * 1e-3),
        "sm_clock_hz": Samples((ticks + 1) * _MS_NS, clock[ticks]),
        "clock_event_reasons_bitmask": Samples((ticks + 1) * _MS_NS, card.reasons(t[ticks])),
        "temperature_c": Samples((ticks + 1) * _MS_NS, card.temperature_c(t[ticks])),
        "tensor_activity_ratio": averaged(tensor, 100),
    }
    marks = ()
    if card.foreign_sm is not None:
        marks = (Mark(SECOND_NS, "edge", {GPU: (GpuProcessSeen(99, None, card.foreign_sm, False),)}),)
    recorded = trace(gpu={}, marks=marks)
    recorded = replace(recorded, series={**recorded.series, GPU: columns})
    starts = [int((2 + number * card.block_s) * 1000) * _MS_NS for number in range(2 * card.rounds)]
    ends = [start + int(card.block_s * 1000) * _MS_NS for start in starts]
    blocks = list(zip(starts, ends, strict=True))
    return recorded, [blocks[0::2], blocks[1::2]]


def _since(idle: NDArray[np.bool_]) -> Grid:
    """Seconds since the card was last idle."""
    index = np.arange(idle.size)
    last = np.maximum.accumulate(np.where(idle, index, 0))
    return (index - last) * 0.001


def codes(card: Card, arm: int) -> dict[str, str]:
    recorded, blocks = simulate(card)
    found = [*window_flags(recorded, blocks[arm], [GPU] if card.busy[arm] else [])]
    found += pair_flags(recorded, blocks[0], blocks[1], [GPU])
    return {flag.code: flag.severity for flag in found}


@pytest.mark.parametrize(
    "card",
    [
        Card(),
        Card(block_s=0.15, rounds=60),
        Card(busy=(0.0, 0.97), block_s=0.25, rounds=40),
        Card(busy=(0.0, 0.97), display=True),
        Card(busy=(0.98, 0.98), display=True),
        Card(reasons=lambda t: 0 * t + 4),
        Card(utilisation_stuck=False, foreign_sm=None, block_s=6.0, rounds=3),
    ],
    ids=["two GPU arms", "quick blocks", "GPU against CPU", "with a desktop", "desktop, GPU arms", "power cap", "long"],
)
def test_a_good_run_yields_no_flag(card: Card) -> None:
    """Faults 9 to 11: no false flag on a card that does what it should, whatever runs between an arm's blocks."""
    assert codes(card, 1) == {}


PLANTED = {
    "hw-slowdown": Card(reasons=lambda t: np.where(t % 5 < 0.6, 8.0, 0.0)),
    "thermal-slowdown": Card(reasons=lambda t: np.where(t % 5 < 0.6, 32.0, 0.0)),
    "temperature-drift": Card(temperature_c=lambda t: 50 + t),
    "clock-variation": Card(busy=(0.0, 0.97), ramp_s=3.0, block_s=6.0, rounds=3),
    "foreign-gpu-process": Card(foreign_sm=0.3),
    "host-bound": Card(busy=(0.98, 0.6), block_s=6.0, rounds=3),
    "energy-disagreement": Card(counter_factor=1.2, block_s=6.0, rounds=3),
    "no-work": Card(busy=(0.98, 0.001), block_s=6.0, rounds=3),
    "work-unproven": Card(utilisation_stuck=True),
}


@pytest.mark.parametrize("code", PLANTED)
def test_each_planted_fault_yields_its_own_flag(code: str) -> None:
    """What is planted is found, and nothing else is said of the run."""
    found = codes(PLANTED[code], 1)
    assert code in found
    allowed = {code, f"{code}-unequal", "host-bound"} if code != "host-bound" else {code}
    assert found.keys() <= allowed, found


def test_tensor_activity_of_interleaved_arms_is_each_arms_own() -> None:
    """Fault 9: 0.0 in one arm and 0.6 in the other are read as such, not as 0.3 in both."""
    recorded, blocks = simulate(Card(block_s=0.35, rounds=40))
    means = [summarize(recorded, arm).devices[GPU]["tensor_activity_ratio"].mean for arm in blocks]
    assert means == pytest.approx([0.0, 0.6], abs=0.02)


def test_energy_of_long_blocks_is_power_times_time() -> None:
    """Energy per arm follows the simulated power within the sensor's quantisation."""
    recorded, blocks = simulate(Card(busy=(0.98, 0.5), block_s=6.0, rounds=3))
    for arm, busy in zip(blocks, (0.98, 0.5), strict=True):
        seconds = sum(end - start for start, end in arm) / 1e9
        assert summarize(recorded, arm).energy_j[GPU] == pytest.approx((30 + 270 * busy) * seconds, rel=0.04)


def timeline_text(card: Card) -> str:
    """What NVML would answer, a line a tenth of a second, for the stand-in at its C interface."""
    recorded, _blocks = simulate(card)
    names = ("gpu_utilization_ratio", "sm_clock_hz", "power_w", "tensor_activity_ratio")
    names += ("clock_event_reasons_bitmask", "temperature_c")
    scales = (100, 1e-6, 1, 100, 1, 1)
    columns = [recorded.series[GPU][name].values * scale for name, scale in zip(names, scales, strict=True)]
    times_ms = recorded.series[GPU][names[0]].times_ns / _MS_NS
    return "".join(" ".join(f"{value:.3f}" for value in row) + "\n" for row in zip(times_ms, *columns, strict=True))


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (Card(block_s=0.5, rounds=3), set()),
        (Card(block_s=0.5, rounds=3, reasons=lambda t: 0 * t + 8), {"hw-slowdown"}),
        (Card(block_s=0.5, rounds=3, temperature_c=lambda t: 50 + 4 * t), {"temperature-drift"}),
    ],
    ids=["good", "slowdown", "drift"],
)
def test_the_timeline_through_the_driver_and_the_real_recorder(
    card: Card, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same card, seen by the real recorder through a C library: no flag on a good run, a fault its own."""
    if compiler() is None:
        pytest.skip("no C compiler to build the NVML stand-in with")
    (tmp_path / "timeline").write_text(timeline_text(card))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(build(tmp_path)))
    words = f"timeline={tmp_path / 'timeline'} go={tmp_path / 'go'} tensor=1 fail:nvmlDeviceGetTotalEnergyConsumption=3"
    monkeypatch.setenv("NVML_STUB", words)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    path = tmp_path / "run.trace.jsonl"
    with Recorder(path) as recorder:
        began_ns = time.monotonic_ns()
        (tmp_path / "go").touch()
        time.sleep(3 + 2 * card.rounds * card.block_s)
        recorder.mark("end")
    length_ns = int(card.block_s * SECOND_NS)
    blocks = [began_ns + 2 * SECOND_NS + number * length_ns for number in range(2 * card.rounds)]
    seen = load_trace(path)
    flags = window_flags(seen, [(start, start + length_ns) for start in blocks], [GPU0])
    found = {flag.code for flag in flags if not flag.detail.startswith("host:")}
    assert found == expected, flags

"""A measured pairing becomes records."""

import dataclasses
import math

import pytest
from msgspec import structs

from rtxbench.errors import MeasurementError
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.paired.result import ArmResult, PairedResult, Stretch
from rtxbench.measure.summary import MeasuredGroup, case_record, ratio_records
from rtxbench.records import Case, Launch, Sustained
from rtxbench.results.plausible import step_time_s
from rtxbench.workers.process import WorkerSpec
from rtxbench.workers.protocol import Described
from tests.hardware_traces import GPU, SECOND_NS, trace

SPEC = WorkerSpec(engine="tensorflow")


def launch(step_s: float, *, steps: int = 10, solo: float | None = None, warm: bool = True) -> Launch:
    block_ns = round(step_s * steps * 1e9)
    return Launch(
        steps_per_block=steps,
        blocks_ns=((0, block_ns), (block_ns, 2 * block_ns)),
        warmup_ok=warm,
        warmup_s=1.0,
        build_s=0.1,
        first_step_s=0.2,
        loss=0.5,
        solo_ratio=solo,
    )


def result(step_s: float, batch_size: int = 8, launches: int = 5, **options: object) -> ArmResult:
    arm = Arm(Case(workload="mlp", batch_size=batch_size), SPEC, name=f"{step_s}/{batch_size}")
    described = Described(loss=0.5, peak_memory_bytes=None, flops_per_step=1e9, flops_method="counted")
    return ArmResult(arm, [launch(step_s, **options) for _ in range(launches)], described)  # type: ignore[arg-type]


def ratios(baseline: ArmResult, candidate: ArmResult, slower: list[float]) -> list:
    pairing = PairedResult([baseline, candidate], {candidate.arm.key: slower})
    cases = {r.arm.key: case_record("run", "g", r, None, (), adaptive=False) for r in (baseline, candidate)}
    return ratio_records(MeasuredGroup("run", "g", pairing, cases, None, (), adaptive=False))


def test_step_time_is_total_over_total() -> None:
    """Blocks of different length weigh by their steps, not one each."""
    uneven = Launch(
        steps_per_block=1,
        blocks_ns=((0, 10**9), (0, 3 * 10**9)),
        warmup_ok=True,
        warmup_s=0,
        build_s=0,
        first_step_s=0,
    )
    assert step_time_s(uneven) == 2.0


def test_throughput_is_the_batch_over_the_step_time() -> None:
    """8 examples in 10 ms are 800 per second, with the interval of five equal launches at zero width."""
    record = case_record("run", "g", result(0.01), None, (), adaptive=False)
    throughput = record.measurement.throughput_per_s
    assert throughput.value == pytest.approx(800)
    assert throughput.low == pytest.approx(800)
    assert throughput.n == 5


def test_one_launch_has_no_interval() -> None:
    """A single launch gives a figure that no verdict can rest on."""
    record = case_record("run", "g", result(0.01, launches=1), None, (), adaptive=False)
    assert record.measurement.throughput_per_s.low is None


def test_the_ratio_of_weak_scaling_counts_examples_not_steps() -> None:
    """Twice the batch in the same step time is twice the throughput."""
    (ratio,) = ratios(result(0.01), result(0.01, batch_size=16), [0.0] * 5)
    assert ratio.ratio.value == pytest.approx(2.0)


def test_a_slower_candidate_has_a_ratio_below_one() -> None:
    """A step time of 1.25 times the baseline's is a throughput of 0.8."""
    (ratio,) = ratios(result(0.01), result(0.0125), [math.log(1.25)] * 5)
    assert ratio.ratio.value == pytest.approx(0.8)


def test_a_failed_arm_keeps_its_reason_and_gives_no_ratio() -> None:
    """The record of an arm out of memory says so, with what to do."""
    failed = result(0.01, launches=0)
    failed.failure = MeasurementError("out of device memory.", next_step="Lower the batch size.")
    record = case_record("run", "g", failed, None, (), adaptive=False)
    assert record.status == "failed"
    assert "Lower the batch size" in record.reason
    assert ratios(result(0.01), failed, [0.0]) == []


def test_interference_is_flagged_only_beyond_noise() -> None:
    """Alone 5 % faster in every launch is a flag; scattered about 1 is not."""
    steady = result(0.01)
    steady.launches = [launch(0.01, solo=value) for value in (0.95, 0.951, 0.949, 0.95, 0.95)]
    (flagged,) = ratios(steady, result(0.01, batch_size=16), [0.0] * 5)
    assert "interference" in {flag.code for flag in flagged.flags}
    noisy = result(0.01)
    noisy.launches = [launch(0.01, solo=value) for value in (0.9, 1.1, 0.95, 1.08, 1.0)]
    (clean,) = ratios(noisy, result(0.01, batch_size=16), [0.0] * 5)
    assert clean.flags == ()


def test_one_cold_launch_makes_the_pair_cold() -> None:
    """warmup_ok of a ratio needs every launch of both arms steady."""
    cold = result(0.01, batch_size=16)
    cold.launches[2] = launch(0.01, warm=False)
    (ratio,) = ratios(result(0.01), cold, [0.0] * 5)
    assert not ratio.warmup_ok


def sustained_of(gpu: dict[str, object], seconds: int = 20) -> Sustained:
    """The record of a stretch on a card with these sensors: 10 steps of 8 examples in each second."""
    on_gpu = result(0.01)
    on_gpu.arm = Arm(Case(workload="mlp", batch_size=8, placement="gpu"), SPEC)
    blocks = tuple((t * SECOND_NS, (t + 1) * SECOND_NS) for t in range(5, 5 + seconds))
    on_gpu.stretch = Stretch(blocks, steps=10 * seconds, discarded_s=5.0)
    record = case_record("run", "g", on_gpu, trace(gpu=gpu), (GPU,), adaptive=False)
    assert record.measurement is not None
    assert record.measurement.sustained is not None
    return record.measurement.sustained


def test_sustained_power_and_energy_are_those_of_the_stretch() -> None:
    """80 examples a second at 300 W are 3.75 J each."""
    found = sustained_of({})
    assert found.throughput_per_s == pytest.approx(80)
    assert found.power_w == pytest.approx(300)
    assert found.energy_per_example_j == pytest.approx(3.75)
    assert found.steady


def test_an_average_over_a_second_is_no_power_figure() -> None:
    """A card with neither instant power nor a counter gets no watts and no joules, with the reason."""
    bare = trace(gpu={})
    columns = {name: series for name, series in bare.series[GPU].items() if name not in ("power_w", "energy_j")}
    columns["power_average_w"] = bare.series[GPU]["power_w"]
    blind = dataclasses.replace(bare, series={**bare.series, GPU: columns})
    on_gpu = result(0.01)
    on_gpu.stretch = Stretch(((5 * SECOND_NS, 15 * SECOND_NS), (15 * SECOND_NS, 25 * SECOND_NS)), 100, 5.0)
    record = case_record("run", "g", on_gpu, blind, (GPU,), adaptive=False)
    found = record.measurement.sustained
    assert found.power_w is None
    assert found.energy_per_example_j is None
    assert found.missing["power_w"]


def test_interleaved_blocks_give_no_arm_an_energy() -> None:
    """Of arms that take turns the common-state summary holds no joules, and says where one arm's own are."""
    blocks = ((5 * SECOND_NS, 15 * SECOND_NS), (15 * SECOND_NS, 25 * SECOND_NS))
    shared = result(0.01)
    shared.launches = [structs.replace(launch, blocks_ns=blocks) for launch in shared.launches[:1]]
    several = case_record("run", "g", shared, trace(gpu={}), (GPU,), adaptive=False)
    alone = case_record("run", "g", shared, trace(gpu={}), (GPU,), adaptive=False, alone=True)
    assert several.hardware.energy_j == {}
    assert "sustained" in several.hardware.missing["energy_j"]
    assert alone.hardware.energy_j[GPU] == pytest.approx(6000)

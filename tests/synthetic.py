"""A synthetic results folder: three made-up machines, deterministic, with every state a report must show.

The figures are invented, chosen to look like what such machines give. Nothing here is a measurement.
"""

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import structs
from msgspec.structs import replace

from rtxbench.records import (
    SCHEMA_VERSION,
    Case,
    CaseRecord,
    Cpu,
    Environment,
    Flag,
    Gpu,
    HardwareSummary,
    Launch,
    Measurement,
    Observation,
    RatioRecord,
    Record,
    Run,
    Summary,
    Sustained,
)
from rtxbench.results.store import RunWriter
from rtxbench.stats import launch_estimate, ratio_estimate, smallest_effect
from tests.synthetic_trace import write_trace

__all__ = [
    "BIG_GPU",
    "CPU_ONLY",
    "LAPTOP",
    "records_of",
    "run_header",
    "write_results",
]

_FINISHED = "2026-03-14T10:00:00+00:00"
_LAUNCHES = 5
_LANE_NS = 480_000_000
"""Interleaved arms take turns this far apart."""
_GROUP_NS = 130_000_000_000
"""Five launches of twelve rounds, and a pause."""

BIG_GPU = Environment(
    machine="epyc-9354-2x-rtx-4090-1f0c",
    cpu=Cpu(name="AMD EPYC 9354", physical_cores=32, logical_cores=64, memory_bytes=256 * 2**30, features=("avx512",)),
    gpus=tuple(
        Gpu(
            uuid=f"GPU-0000000{index}-synthetic",
            name="NVIDIA GeForce RTX 4090",
            index=index,
            memory_bytes=24 * 2**30,
            driver="570.86.10",
            cuda_driver="12.8",
            vbios="95.02.18.80.01",
            power_limit_w=450.0,
            compute_capability="8.9",
            pcie_width=16,
            pcie_generation=4,
            persistence_mode=True,
        )
        for index in range(2)
    ),
    operating_system="Debian GNU/Linux 13",
    python="3.12.9",
    packages={"tensorflow": "2.21.0", "keras": "3.15.0", "numpy": "2.2.4"},
    libraries={"cuda": "12.8", "cudnn": "9.8"},
    commit="0a1b2c3",
    dirty=False,
)
CPU_ONLY = Environment(
    machine="xeon-8481c-2c-77aa",
    cpu=Cpu(
        name="Intel Xeon Platinum 8481C",
        physical_cores=1,
        logical_cores=2,
        memory_bytes=24 * 2**30,
        features=("avx512_bf16", "amx_bf16"),
    ),
    operating_system="Debian GNU/Linux 13",
    python="3.11.2",
    packages={"tensorflow": "2.21.0", "keras": "3.15.0", "numpy": "2.2.4"},
    libraries={"onednn": "3.7"},
    commit="0a1b2c3",
    dirty=True,
    virtualization="kvm",
    missing={"gpus": "no NVIDIA driver (libnvidia-ml.so.1 not found)"},
)
LAPTOP = Environment(
    machine="core-i7-12700h-rtx-3060-laptop-9d31",
    cpu=Cpu(name="Intel Core i7-12700H", physical_cores=14, logical_cores=20, memory_bytes=32 * 2**30),
    gpus=(
        Gpu(
            uuid="GPU-0000000a-synthetic",
            name="NVIDIA GeForce RTX 3060 Laptop GPU",
            index=0,
            memory_bytes=6 * 2**30,
            driver="560.35.03",
            compute_capability="8.6",
            missing={"power_limit_w": "NotSupported", "vbios": "NotSupported"},
        ),
    ),
    operating_system="Ubuntu 24.04 (WSL2)",
    python="3.12.3",
    packages={"tensorflow": "2.21.0", "keras": "3.15.0", "numpy": "2.2.4"},
    libraries={"cuda": "12.8", "cudnn": "9.8"},
    virtualization="wsl",
)


class _Workload(NamedTuple):
    name: str
    gpu_batch: int
    cpu_batch: int
    gpu_per_s: float
    cpu_per_s: float
    flops_per_example: float
    tokens: int | None = None


_WORKLOADS = (
    _Workload("mlp", 512, 512, 410_000.0, 152_000.0, 2.4e6),
    _Workload("mlp-wide", 1024, 256, 96_000.0, 2_300.0, 2.0e8),
    _Workload("cnn", 64, 16, 5_200.0, 210.0, 1.7e8),
    _Workload("resnet50", 64, 8, 610.0, 4.3, 2.46e10),
    _Workload("bert-base", 32, 4, 130.0, 0.9, 8.5e10, 128),
)
_GPU_GAIN = {"float32": 1.0, "tf32": 1.31, "mixed_float16": 1.83, "mixed_bfloat16": 1.79}
_CPU_GAIN = {"float32": 1.0, "mixed_bfloat16": 1.74}
_SPEED = {BIG_GPU.machine: 1.0, CPU_ONLY.machine: 1.0, LAPTOP.machine: 0.31}


def run_header(environment: Environment, run_id: str) -> Run:
    """A run header with fixed times."""
    return Run(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        started_at="2026-03-14T09:00:00+00:00",
        monotonic_ns=1_000_000_000,
        realtime_ns=1_773_478_800_000_000_000,
        environment=environment,
        command=("rtxbench", "run", "--profile", "quick"),
        profile="quick",
        rtxbench_version="0.1.0",
    )


def _gain(workload: _Workload, precision: str, *, gpu: bool) -> float:
    gain = (_GPU_GAIN if gpu else _CPU_GAIN)[precision]
    return 1.0 + (gain - 1.0) * (0.05 if workload.name == "mlp" else 1.0)


def _launches(rng: random.Random, step_s: float, start_ns: int, lane: int = 0) -> tuple[Launch, ...]:
    launches = []
    for _ in range(_LAUNCHES):
        speed = math.exp(rng.gauss(0, 0.006))
        steps = max(1, round(0.4 / step_s))
        blocks, now = [], start_ns
        for _block in range(12):
            block_ns = round(steps * step_s * speed * math.exp(rng.gauss(0, 0.004)) * 1e9)
            offset = lane * _LANE_NS
            blocks.append((now + offset, now + offset + block_ns))
            now += 4 * _LANE_NS
        launches.append(
            Launch(
                steps_per_block=steps,
                blocks_ns=tuple(blocks),
                warmup_ok=True,
                warmup_s=round(rng.uniform(2, 4), 2),
                build_s=0.81,
                first_step_s=round(rng.uniform(1.5, 2.5), 2),
                loss=2.31,
                peak_memory_bytes=3 * 2**30,
                solo_ratio=1.002,
            )
        )
        start_ns = now + 4_000_000_000
    return tuple(launches)


def _measurement(
    rng: random.Random, workload: _Workload, case: Case, per_s: float, start_ns: int, lane: int = 0
) -> Measurement:
    launches = _launches(rng, case.batch_size / per_s, start_ns, lane)
    times = [sum(e - s for s, e in launch.blocks_ns) / 12e9 / launch.steps_per_block for launch in launches]
    return Measurement(
        launches=launches,
        step_time_s=launch_estimate(times),
        throughput_per_s=launch_estimate([case.batch_size / time for time in times]),
        warmup_ok=True,
        peak_memory_bytes=3 * 2**30,
        peak_memory_method="allocator peak" if case.placement == "gpu" else "resident set above the idle worker",
        flops_per_step=workload.flops_per_example * case.batch_size,
        flops_method="compiler cost analysis",
        tokens_per_example=workload.tokens,
        numerics={"matmul_relative_error": 2e-3 if case.precision == "mixed_bfloat16" else 3e-7},
    )


def _summary(mean: float, spread: float) -> Summary:
    return Summary(mean=mean, p50=mean, p95=mean + spread, minimum=mean - spread, maximum=mean + 2 * spread, n=80)


def _hardware(environment: Environment, gpu: bool) -> HardwareSummary:
    devices = {"host": {"cpu_utilization_ratio": _summary(0.3 if gpu else 0.97, 0.01), "rss_bytes": _summary(2e9, 1e7)}}
    if gpu:
        devices[environment.gpus[0].uuid] = {
            "gpu_utilization_ratio": _summary(0.97, 0.01),
            "power_w": _summary(362.0, 9.0),
            "temperature_c": _summary(64.0, 1.0),
            "sm_clock_hz": _summary(2.52e9, 1e7),
        }
    return HardwareSummary(devices=devices, missing={} if gpu else {"gpu": "no NVIDIA device"})


def _with_stretch(measurement: Measurement, environment: Environment, gpu: bool) -> Measurement:
    """On a GPU, a stretch of 30 s at 98 % of the common state's throughput and the board's own power."""
    if not gpu:
        return measurement
    per_s = 0.98 * measurement.throughput_per_s.value
    end_ns = measurement.launches[-1].blocks_ns[-1][1]
    sustained = Sustained(
        window_ns=(end_ns + 30_000_000_000, end_ns + 60_000_000_000),
        discarded_s=30.0,
        throughput_per_s=per_s,
        steady=True,
        power_w=362.0,
        energy_per_example_j=362.0 / per_s,
        hardware=_hardware(environment, gpu),
    )
    return replace(measurement, sustained=sustained)


def _unmeasured(run: Run, group: str, case: Case, status: str, reason: str) -> CaseRecord:
    return CaseRecord(
        record_id=f"{run.run_id}-{case.label}",
        run_id=run.run_id,
        group=group,
        case=case,
        status=status,  # type: ignore[arg-type]
        finished_at=_FINISHED,
        reason=reason,
    )


def _ratio(rng: random.Random, run: Run, baseline: CaseRecord, candidate: CaseRecord) -> RatioRecord:
    assert baseline.measurement and candidate.measurement
    centre = math.log(candidate.measurement.throughput_per_s.value / baseline.measurement.throughput_per_s.value)
    logs = tuple(rng.gauss(centre, 0.008) for _ in range(_LAUNCHES))
    return RatioRecord(
        record_id=f"{candidate.record_id}-over-{baseline.record_id}",
        run_id=run.run_id,
        group=baseline.group,
        baseline=baseline.case,
        candidate=candidate.case,
        baseline_record=baseline.record_id,
        candidate_record=candidate.record_id,
        metric="throughput",
        replicate="launch",
        log_ratios=logs,
        ratio=ratio_estimate(logs),
        smallest_effect_ratio=smallest_effect(logs),
        warmup_ok=True,
        finished_at=_FINISHED,
    )


def _group_records(rng: random.Random, run: Run, workload: _Workload, start_ns: int) -> Iterator[Record]:
    environment = run.environment
    gpu = bool(environment.gpus)
    placement = "gpu" if gpu else "cpu"
    batch = workload.gpu_batch if gpu else workload.cpu_batch
    base_per_s = (workload.gpu_per_s if gpu else workload.cpu_per_s) * _SPEED[environment.machine]
    group = f"{workload.name}-precisions"
    measured: list[CaseRecord] = []
    for precision in _GPU_GAIN:
        case = Case(workload=workload.name, batch_size=batch, precision=precision, placement=placement)
        if not gpu and precision not in _CPU_GAIN:
            reason = (
                "mixed_float16 on a CPU without XLA is about 200× slower than float32"
                if precision == "mixed_float16"
                else "TF32 is a mode of NVIDIA Tensor Cores; this machine has none"
            )
            yield _unmeasured(run, group, case, "skipped", reason)
            continue
        per_s = base_per_s * _gain(workload, precision, gpu=gpu)
        record = CaseRecord(
            record_id=f"{run.run_id}-{case.label}",
            run_id=run.run_id,
            group=group,
            case=case,
            status="measured",
            finished_at=_FINISHED,
            measurement=_with_stretch(
                _measurement(rng, workload, case, per_s, start_ns, len(measured)), environment, gpu
            ),
            hardware=_hardware(environment, gpu),
            flags=(Flag(code="steal", severity="warn", detail="steal 1.4 % of CPU time"),) if not gpu else (),
            missing={} if gpu else {"gpu_power_w": "no NVIDIA device"},
        )
        measured.append(record)
        yield record
    for candidate in measured[1:]:
        yield _ratio(rng, run, measured[0], candidate)
    yield from _parallel_records(rng, run, workload, measured[0], start_ns)


def _parallel_records(
    rng: random.Random, run: Run, workload: _Workload, one: CaseRecord, start_ns: int
) -> Iterator[Record]:
    if workload.name not in {"resnet50", "bert-base"}:
        return
    case = Case(
        workload=workload.name,
        batch_size=one.case.batch_size * 2,
        precision="float32",
        placement="mirrored",
        device_count=2,
    )
    group = f"{workload.name}-parallel"
    if len(run.environment.gpus) < 2:
        yield _unmeasured(run, group, case, "skipped", "needs two GPUs; this machine has fewer")
        return
    if workload.name == "bert-base":
        yield _unmeasured(run, group, case, "failed", "out of device memory at batch 64 (23.4 of 23.6 GiB in use)")
        return
    assert one.measurement
    two = CaseRecord(
        record_id=f"{run.run_id}-{case.label}",
        run_id=run.run_id,
        group=group,
        case=case,
        status="measured",
        finished_at=_FINISHED,
        measurement=_measurement(rng, workload, case, one.measurement.throughput_per_s.value * 1.86, start_ns, 3),
        hardware=_hardware(run.environment, True),
    )
    yield two
    yield _ratio(rng, run, one, two)


def _quality_ratios(rng: random.Random, run: Run, records: Sequence[Record]) -> Iterator[RatioRecord]:
    """Final accuracy of each reduced precision against float32, over five seeds."""
    measured = [r for r in records if isinstance(r, CaseRecord) and r.measurement and r.case.device_count == 1]
    cases = {record.case.precision: record for record in measured if record.case.workload == "resnet50"}
    for precision, record in cases.items():
        if precision != "float32" and "float32" in cases:
            logs = tuple(rng.gauss(0.0, 0.002) for _ in range(_LAUNCHES))
            yield structs.replace(
                _ratio(rng, run, cases["float32"], record),
                record_id=f"{record.record_id}-accuracy",
                metric="validation_accuracy",
                replicate="seed",
                log_ratios=logs,
                ratio=ratio_estimate(logs),
                smallest_effect_ratio=smallest_effect(logs),
            )


def _observations(rng: random.Random, run: Run) -> Iterator[Observation]:
    peak = 7.4e13 if run.environment.gpus else 1.5e11
    for precision, gain in (("float32", 1.0), ("mixed_bfloat16", 1.9)):
        values = tuple(peak * gain * math.exp(rng.gauss(0, 0.01)) for _ in range(_LAUNCHES))
        yield Observation(
            record_id=f"{run.run_id}-gemm-{precision}",
            run_id=run.run_id,
            topic="ceiling",
            metric="gemm_flop_per_s",
            values=values,
            replicate="launch",
            finished_at=_FINISHED,
            estimate=launch_estimate(values),
            labels={"precision": precision},
        )


def records_of(run: Run, workloads: Sequence[str] = ()) -> list[Record]:
    """Every record of one synthetic run; all workloads unless some are named."""
    rng = random.Random(run.run_id)
    records: list[Record] = []
    for index, workload in enumerate(_WORKLOADS):
        if not workloads or workload.name in workloads:
            records.extend(_group_records(rng, run, workload, 1_000_000_000 + index * _GROUP_NS))
    if run.environment is not LAPTOP:
        records.extend(_quality_ratios(rng, run, records))
    records.extend(_observations(rng, run))
    return records


def write_results(
    folder: Path, environments: Sequence[Environment] = (BIG_GPU, CPU_ONLY, LAPTOP), runs: int = 1, traces: bool = True
) -> Path:
    """Write ``runs`` results files per machine, each with its trace, under ``folder`` and return it."""
    for environment in environments:
        for number in range(runs):
            header = run_header(environment, f"20260314T09{number:02d}00-{environment.machine[-4:]}")
            records = records_of(header)
            with RunWriter(folder, header) as writer:
                for record in records:
                    writer.append(record)
            if traces and environment is not LAPTOP:
                write_trace(writer.path.with_suffix(".trace.jsonl"), environment, records)
    return folder

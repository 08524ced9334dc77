"""Bundles of a card that behaves, made by hand: every figure is simulated."""

import msgspec
import numpy as np

from rtxbench.gpu_selftest.bundle import (
    Bundle,
    CardSample,
    ClockRamp,
    ObservedKernel,
    Part,
    Proof,
    StepKernels,
    TurnTaking,
)
from rtxbench.hardware.trace import TraceLine
from rtxbench.records import Case, Cpu, Environment, Gpu

UUID = "GPU-00000000-aaaa-bbbb-cccc-dddddddddddd"
SECOND_NS = 1_000_000_000
FLOAT32 = Case(workload="mlp-wide", batch_size=4096, placement="gpu", engine="jax", compiler="xla")
BFLOAT16 = msgspec.structs.replace(FLOAT32, precision="mixed_bfloat16")
_TENSOR = {FLOAT32: 0.0, BFLOAT16: 0.6}
_ERRORS = {FLOAT32: 3e-7, BFLOAT16: 2.6e-3}
_KERNELS = {FLOAT32: "ampere_sgemm_128x64_tn", BFLOAT16: "sm80_xmma_gemm_bf16bf16_tensor16x8x16"}


def ramp(rise_s: float = 0.15, averaged_s: float = 0.5) -> ClockRamp:
    """Two idle seconds, three of work, two idle: the clock rises in ``rise_s``, utilisation is an average."""
    times = np.arange(0.0, 7.0, 0.02)
    clock = np.where((times < 2) | (times > 5), 345e6, 345e6 + np.clip((times - 2) / rise_s, 0, 1) * 2.2e9)
    busy = np.clip((times - 2) / averaged_s, 0, 1) - np.clip((times - 5) / averaged_s, 0, 1)
    samples = tuple(
        CardSample(t=int(t * 1e9), sm_clock_hz=float(c), gpu_utilization_ratio=float(u), power_w=30 + 270 * float(u))
        for t, c, u in zip(times, clock, busy, strict=True)
    )
    return ClockRamp(case=BFLOAT16, device=UUID, start_ns=2 * SECOND_NS, end_ns=5 * SECOND_NS, samples=samples)


def turns() -> tuple[TurnTaking, ...]:
    """Each arm alone for two seconds from 10 s on, then blocks of half a second in turns from 15 s on."""
    blocks = [(int((15 + 0.5 * k) * 1e9), int((15.5 + 0.5 * k) * 1e9)) for k in range(20)]
    alone = [((10 * SECOND_NS, 12 * SECOND_NS),), ((12 * SECOND_NS, 14 * SECOND_NS),)]
    return tuple(
        TurnTaking(case=case, device=UUID, alone_ns=alone[k], in_turns_ns=tuple(blocks[k::2]))
        for k, case in enumerate((FLOAT32, BFLOAT16))
    )


def trace_lines() -> tuple[TraceLine, ...]:
    """A recording of those turns: a sample a tenth of a second, Tensor activity since the sample before."""
    owner = {window: arm.case for arm in turns() for window in (*arm.alone_ns, *arm.in_turns_ns)}
    lines: list[object] = [
        {
            "kind": "trace", "version": 1, "interval_s": 0.1, "monotonic_ns": 0, "realtime_ns": 0, "watch_pids": [1],
            "logical_cores": 2, "pids_comparable": True, "gpu_missing": None,
            "gpus": [{"uuid": UUID, "name": "NVIDIA GeForce RTX 4090", "index": 0, "parent_uuid": None}],
        },
        *(
            {
                "kind": "probe", "device": UUID, "sensor": sensor, "metrics": [sensor], "median_s": 1e-5, "p99_s": 2e-5,
                "error_code": None, "reason": None, "period_s": 0.1,
            }
            for sensor in ("utilization", "sm_clock", "event_reasons", "temperature", "memory", "gpm")
        ),
    ]  # fmt: skip
    for k in range(70, 280):
        t = k * 100_000_000
        case = next((c for (start, end), c in owner.items() if start < t <= end), None)
        busy = case is not None
        values = {
            "gpu_utilization_ratio": 0.98 if busy else 0.0, "power_w": 300.0 if busy else 30.0,
            "sm_clock_hz": 2.5e9 if busy else 345e6, "temperature_c": 60.0, "clock_event_reasons_bitmask": 0.0,
            "tensor_activity_ratio": _TENSOR[case] if case is not None else 0.0,
        }  # fmt: skip
        lines.append({"kind": "sample", "t": t, "device": UUID, "values": values})
    return tuple(msgspec.convert(line, TraceLine) for line in lines)


def good_bundle() -> Bundle:
    """Everything holds in it."""
    gpu = Gpu(uuid=UUID, name="NVIDIA GeForce RTX 4090", index=0, memory_bytes=24 * 2**30, compute_capability="8.9")
    proofs = tuple(
        Proof(
            case=case, matmul_relative_error=error, convolution_relative_error=error, loss=1.0,
            peak_memory_bytes=0.7e9, planned_bytes=0.74e9,
        )
        for case, error in _ERRORS.items()
    )  # fmt: skip
    return Bundle(
        rtxbench="0.1.0",
        started_at="2026-03-14T09:00:00Z",
        environment=Environment(machine="simulated", cpu=Cpu(name="a processor", physical_cores=8, logical_cores=16,
                                                             memory_bytes=2**35), gpus=(gpu,)),
        parts=(Part(name="engines", status="done", took_s=1.0),),
        engines={"jax": "sees 1 GPU"},
        ramp=ramp(),
        turns=turns(),
        proofs=proofs,
        kernels=tuple(
            StepKernels(case=case, kernels=(ObservedKernel(name=name, calls=5, busy_s=0.01),))
            for case, name in _KERNELS.items()
        ),
        trace=trace_lines(),
    )  # fmt: skip

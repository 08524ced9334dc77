"""A recorder's trace to go with a synthetic run."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from rtxbench.records import CaseRecord, Environment, Record

__all__ = ["write_trace"]


def write_trace(path: Path, environment: Environment, records: Sequence[Record]) -> Path:
    """A recorder's trace beside a run: one sample a second, loaded while a timed block runs and idle otherwise."""
    blocks = sorted(
        block
        for record in records
        if isinstance(record, CaseRecord) and record.measurement
        for launch in record.measurement.launches
        for block in launch.blocks_ns
    )
    rng = random.Random(path.name)
    lines: list[dict[str, object]] = [_trace_header(environment)]
    now, end, busy = 0, blocks[-1][1] + 3_000_000_000, iter(blocks)
    block = next(busy)
    while now < end:
        while block[1] < now and (following := next(busy, None)):
            block = following
        loaded = block[0] - 2_000_000_000 <= now <= block[1] + 1_000_000_000
        lines += _samples(rng, environment, now, loaded)
        now += 1_000_000_000
    lines.append(
        {"kind": "end", "t": now, "realtime_ns": 0, "elapsed_s": now / 1e9, "cpu_s": now / 1e9 * 0.004,
         "samples": len(lines) - 1, "missed": 0, "reason": "stopped"}
    )  # fmt: skip
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def _trace_header(environment: Environment) -> dict[str, object]:
    return {
        "kind": "trace",
        "version": 1,
        "interval_s": 1.0,
        "monotonic_ns": 0,
        "realtime_ns": 0,
        "watch_pids": [4242],
        "logical_cores": environment.cpu.logical_cores,
        "pids_comparable": True,
        "gpus": [{"uuid": g.uuid, "name": g.name, "index": g.index, "parent_uuid": None} for g in environment.gpus],
        "gpu_missing": None if environment.gpus else "no NVIDIA driver (libnvidia-ml.so.1 not found)",
    }


def _samples(rng: random.Random, environment: Environment, now: int, loaded: bool) -> Iterator[dict[str, object]]:
    share = (0.28 if environment.gpus else 0.96) if loaded else 0.03
    host = {
        "cpu_utilization_ratio": min(1.0, share + rng.uniform(0, 0.03)),
        "steal_ratio": rng.uniform(0, 0.01),
        "rss_bytes": 2.1e9 if loaded else 0.4e9,
        "cpu_frequency_hz": 3.1e9 + rng.gauss(0, 2e7),
    }
    yield {"kind": "sample", "t": now, "device": "host", "values": host}
    for gpu in environment.gpus:
        works = loaded and gpu.index == 0
        values = {
            "gpu_utilization_ratio": min(1.0, rng.uniform(0.95, 1.0)) if works else rng.uniform(0, 0.02),
            "power_w": rng.gauss(362, 6) if works else rng.gauss(24, 1),
            "sm_clock_hz": 2.52e9 if works else 2.1e8,
            "temperature_c": 64.0 + rng.gauss(0, 0.5) if works else 38.0,
            "memory_used_bytes": 2.1e10 if works else 5e8,
        }
        yield {"kind": "sample", "t": now, "device": gpu.uuid, "values": values}

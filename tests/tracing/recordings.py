"""Recordings of programs that never ran."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from rtxbench.hardware.trace import Trace, load_trace

SECOND = 1_000_000_000


def recorded(path: Path, cores: Sequence[float], marks: Sequence[tuple[float, str]] = ()) -> Trace:
    """A recording of five samples a second whose command used so many cores, with marks at these seconds."""
    lines: list[dict[str, object]] = [
        {
            "kind": "trace",
            "version": 1,
            "interval_s": 0.2,
            "monotonic_ns": 0,
            "realtime_ns": 0,
            "watch_pids": [1],
            "logical_cores": 8,
            "pids_comparable": True,
            "gpus": [],
            "gpu_missing": "no NVIDIA driver",
        }
    ]
    for number, used in enumerate(cores, 1):
        values = {"watched_cpu_cores": used, "rss_bytes": 1e9}
        lines.append({"kind": "sample", "t": number * SECOND // 5, "device": "host", "values": values})
    lines += [{"kind": "mark", "t": int(at * SECOND), "label": label, "processes": {}} for at, label in marks]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return load_trace(path)

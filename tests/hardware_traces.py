"""Traces made by hand for tests: known values at known times, no machine involved."""

from collections.abc import Callable, Mapping

import numpy as np

from rtxbench.hardware.trace import End, Event, GpuListing, Header, Mark, Trace
from rtxbench.hardware.windows import Samples

GPU = "GPU-test"
SECOND_NS = 1_000_000_000
Value = float | Callable[[np.ndarray], np.ndarray]

BUSY_GPU: Mapping[str, Value] = {
    "gpu_utilization_ratio": 0.98,
    "power_w": 300.0,
    "energy_j": lambda t: 300.0 * t,
    "sm_clock_hz": 2.5e9,
    "clock_event_reasons_bitmask": 0.0,
    "temperature_c": 60.0,
}
BUSY_HOST: Mapping[str, Value] = {"cpu_utilization_ratio": 0.5, "watched_cpu_cores": 1.0, "steal_ratio": 0.0}


def series(value: Value, duration_s: float = 30.0, interval_s: float = 0.1) -> Samples:
    """Samples every ``interval_s`` from 0; a function is of the time in seconds."""
    times_s = np.arange(0, duration_s, interval_s)
    values = value(times_s) if callable(value) else np.full(times_s.size, value)
    return Samples((times_s * 1e9).astype(np.int64), np.asarray(values, dtype=float))


def trace(
    gpu: Mapping[str, Value] | None = None,
    host: Mapping[str, Value] | None = None,
    *,
    marks: tuple[Mark, ...] = (),
    events: tuple[Event, ...] = (),
    pids_comparable: bool = True,
) -> Trace:
    """A 30 s trace of a busy machine with what the caller changes; ``gpu=None`` is a machine without one."""
    columns = {"host": {name: series(v) for name, v in {**BUSY_HOST, **(host or {})}.items()}}
    listing: tuple[GpuListing, ...] = ()
    if gpu is not None:
        columns[GPU] = {name: series(v) for name, v in {**BUSY_GPU, **gpu}.items()}
        listing = (GpuListing(GPU, "NVIDIA GeForce RTX 4090", 0, None),)
    header = Header(1, 0.1, 0, 0, (1,), 2, pids_comparable, listing, None if gpu is not None else "no NVML here")
    end = End(30 * SECOND_NS, 0, 30.0, 0.1, 300, 0, "stopped")
    return Trace(header=header, series=columns, marks=marks, events=events, end=end)

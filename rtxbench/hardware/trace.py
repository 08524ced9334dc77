"""Load a recorder's trace and reduce it to what happened inside measured windows.

A trace is JSON lines (written by `rtxbench.hardware.sampling`): a header, one probe line per sensor, samples,
failures, marks and events, an end line. Loading is strict, as traces may come from strangers; an unfinished last
line (the recorder was killed) is forgiven and noted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import RecordError
from rtxbench.fields import Figure, Nanoseconds
from rtxbench.hardware.energy import EnergyFinding, idle_power_w, power_of_counter, window_energy
from rtxbench.hardware.sensors import HOST, TRACE_VERSION
from rtxbench.hardware.windows import AVERAGED_OVER_S, Samples, Windows, metric_values_in, values_in
from rtxbench.records import HardwareSummary, Summary
from rtxbench.results.foreign import decoded_lines

__all__ = [
    "HOST",
    "Event",
    "GpuListing",
    "Mark",
    "ProbeResult",
    "Samples",
    "Trace",
    "TraceLine",
    "energy_in",
    "load_trace",
    "sampling_jitter_s",
    "summarize",
    "trace_lines",
    "trace_of",
    "values_in",
]

_MAX_LINE_BYTES: Final = 2**20
EVENT_REASONS: Final = {
    "sw_power_cap_ratio": 0x4,
    "hw_slowdown_ratio": 0x8 | 0x40 | 0x80,
    "sw_thermal_slowdown_ratio": 0x20,
    "idle_clock_ratio": 0x1,
}
"""Share of samples with any of these bits in ``clock_event_reasons_bitmask`` (nvml.h, nvmlClocksEventReasons)."""


class _Line(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    pass


class GpuListing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GPU or MIG instance the recorder found."""

    uuid: str
    name: str
    index: int
    parent_uuid: str | None


class GpuProcessSeen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A process with a compute context at a mark; ``watched`` when it belongs to the measured program."""

    pid: int
    memory_bytes: int | None
    sm_utilization_ratio: float | None
    watched: bool


class Header(_Line, frozen=True, tag="trace"):
    """First line: who was watched, by which clock."""

    version: int
    interval_s: float
    monotonic_ns: int
    realtime_ns: int
    watch_pids: tuple[int, ...]
    logical_cores: int
    pids_comparable: bool
    gpus: tuple[GpuListing, ...]
    gpu_missing: str | None


class ProbeResult(_Line, frozen=True, tag="probe"):
    """Findings of the start-up probe about one sensor."""

    device: str
    sensor: str
    metrics: tuple[str, ...]
    median_s: float | None
    p99_s: float | None
    error_code: int | None
    reason: str | None
    period_s: float


class _Sample(_Line, frozen=True, tag="sample"):
    t: Nanoseconds
    device: str
    values: dict[str, Figure | list[Figure]]


class Failure(_Line, frozen=True, tag="failure"):
    """A read that failed while recording."""

    t: Nanoseconds
    device: str
    sensor: str
    metrics: tuple[str, ...]
    code: int | None
    policy: str
    reason: str


class Mark(_Line, frozen=True, tag="mark"):
    """A labelled point between windows with the compute processes on each GPU."""

    t: Nanoseconds
    label: str
    processes: dict[str, tuple[GpuProcessSeen, ...]]


class Event(_Line, frozen=True, tag="event"):
    """gpu-lost, gpu-refused, read-hung, interval-doubled, processes-unknown, suspended."""

    t: Nanoseconds
    code: str
    device: str
    detail: str


class End(_Line, frozen=True, tag="end"):
    """Last line of a complete trace, with what the recorder itself cost."""

    t: Nanoseconds
    realtime_ns: int
    elapsed_s: float
    cpu_s: float
    samples: int
    missed: int
    reason: str


TraceLine: TypeAlias = Header | ProbeResult | _Sample | Failure | Mark | Event | End
_decoder: msgspec.json.Decoder[TraceLine] = msgspec.json.Decoder(TraceLine)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A loaded recording."""

    header: Header
    series: Mapping[str, Mapping[str, Samples]]
    """Device (GPU UUID or ``host``) → metric → samples."""
    cores: Samples | None = None
    """Per-core utilisation: values have shape (samples, cores); ``None`` where not recorded."""
    probes: tuple[ProbeResult, ...] = ()
    failures: tuple[Failure, ...] = ()
    marks: tuple[Mark, ...] = ()
    events: tuple[Event, ...] = ()
    end: End | None = None
    """``None`` when the recording was cut off."""
    truncated: bool = False
    path: Path | None = field(default=None, compare=False)

    def get(self, device: str, metric: str) -> Samples | None:
        """Return the metric's series in the unit its name ends in, or ``None`` if never sampled."""
        return self.series.get(device, {}).get(metric)

    def power(self, device: str) -> Samples | None:
        """Read instant power, never the average over a second in its place; of the host, its energy counter's rate."""
        counter = self.get(device, "cpu_energy_j") if device == HOST else None
        return power_of_counter(counter) if counter is not None else self.get(device, "power_w")

    def reason_missing(self, device: str, metric: str) -> str:
        """Give the recorder's reason why there is no such series."""
        reports: tuple[Failure | ProbeResult, ...] = (*self.failures, *self.probes)
        for report in reports:
            if report.device == device and metric in report.metrics and report.reason:
                return report.reason
        if device != HOST and self.header.gpu_missing:
            return self.header.gpu_missing
        return "not sampled inside the measured windows"


def load_trace(path: Path) -> Trace:
    """Load a trace file.

    Raises:
        RecordError: unreadable, not a trace, malformed before its last line, or of a newer version.
    """
    lines, truncated = _decoded(path)
    return trace_of(lines, path, truncated=truncated)


def trace_of(lines: Sequence[TraceLine], path: Path, *, truncated: bool = False) -> Trace:
    """Put the lines of a recording together.

    Args:
        lines: the header first, in the order they were written.
        path: the file they are from, for messages.
        truncated: the last line was cut off.

    Raises:
        RecordError: not a trace, or of a newer version.
    """
    header = lines[0] if lines else None
    if not isinstance(header, Header):
        raise RecordError(f"{path} does not start with a trace header.", next_step="Pass a *.trace.jsonl file.")
    if header.version > TRACE_VERSION:
        raise RecordError(f"{path} has trace version {header.version}.", next_step="Upgrade rtxbench.")
    samples = [line for line in lines if isinstance(line, _Sample)]
    end = lines[-1]
    return Trace(
        header=header,
        series=_columns(samples),
        cores=_core_series(samples),
        probes=tuple(line for line in lines if isinstance(line, ProbeResult)),
        failures=tuple(line for line in lines if isinstance(line, Failure)),
        marks=tuple(line for line in lines if isinstance(line, Mark)),
        events=tuple(line for line in lines if isinstance(line, Event)),
        end=end if isinstance(end, End) else None,
        truncated=truncated,
        path=path,
    )


def trace_lines(path: Path) -> list[TraceLine]:
    """Read the lines of a trace file as they were written; a last line that was cut off is left out.

    Raises:
        RecordError: unreadable, or malformed before its last line.
    """
    return _decoded(path)[0]


def _decoded(path: Path) -> tuple[list[TraceLine], bool]:
    lines = [line for _, line in decoded_lines(path, _decoder.decode, _MAX_LINE_BYTES)]
    return [line for line in lines if line is not None], None in lines


def _columns(samples: Sequence[_Sample]) -> dict[str, dict[str, Samples]]:
    columns: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for sample in samples:
        device = columns.setdefault(sample.device, {})
        for metric, value in sample.values.items():
            if not isinstance(value, list):
                times, values = device.setdefault(metric, ([], []))
                times.append(sample.t)
                values.append(value)
    return {
        device: {
            metric: Samples(np.array(t, dtype=np.int64), np.array(v, dtype=float)) for metric, (t, v) in by.items()
        }
        for device, by in columns.items()
    }


def _core_series(samples: Sequence[_Sample]) -> Samples | None:
    rows: list[tuple[int, list[float]]] = []
    for sample in samples:
        row = sample.values.get("core_utilization_ratio")
        if sample.device == HOST and isinstance(row, list) and (not rows or len(rows[0][1]) == len(row)):
            rows.append((sample.t, row))
    if not rows:
        return None
    return Samples(np.array([t for t, _ in rows], dtype=np.int64), np.array([row for _, row in rows], dtype=float))


def summarize(trace: Trace, windows_ns: Windows, gpu_uuids: Sequence[str] | None = None) -> HardwareSummary:
    """Distribution of every recorded metric inside the windows.

    Args:
        trace: the recording that spans the windows.
        windows_ns: timed blocks, monotonic nanoseconds.
        gpu_uuids: the GPUs the work ran on, beside the host; ``None`` for all that were recorded.

    Clock event reasons become shares of samples (`EVENT_REASONS`). Energy is the sum over the windows, idle power
    what the device drew before the first of them. ``missing`` maps ``device/metric`` to the reason for each absence.
    """
    devices: dict[str, dict[str, Summary]] = {}
    missing: dict[str, str] = {}
    for device, metric in _expected(trace):
        if gpu_uuids is not None and device != HOST and device not in gpu_uuids:
            continue
        series = trace.get(device, metric)
        values = metric_values_in(metric, series, windows_ns) if series is not None else np.array([])
        if values.size:
            devices.setdefault(device, {}).update(_summaries(metric, values))
        elif series is not None and metric in AVERAGED_OVER_S and values_in(series, windows_ns).size:
            missing[f"{device}/{metric}"] = "each reading is an average over longer than a timed block"
        else:
            missing[f"{device}/{metric}"] = trace.reason_missing(device, metric)
    if trace.header.gpu_missing:
        missing["gpu"] = trace.header.gpu_missing
    listed = [gpu.uuid for gpu in trace.header.gpus if gpu_uuids is None or gpu.uuid in gpu_uuids]
    energy_j, idle_w = _energies(trace, (HOST, *listed), windows_ns, missing)
    return HardwareSummary(devices=devices, energy_j=energy_j, idle_power_w=idle_w, missing=missing)


def _energies(
    trace: Trace, devices: Sequence[str], windows_ns: Windows, missing: dict[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    energy_j: dict[str, float] = {}
    idle_w: dict[str, float] = {}
    for device in devices:
        finding = energy_in(trace, device, windows_ns)
        if finding.value_j is None:
            missing[f"{device}/energy_j"] = finding.how
        else:
            energy_j[device] = finding.value_j
        power, busy = trace.power(device), trace.get(device, "gpu_utilization_ratio")
        before_ns = min((start for start, _end in windows_ns), default=0)
        watts = idle_power_w(power, busy, before_ns)
        if watts is not None:
            idle_w[device] = watts
        elif device != HOST:
            missing[f"{device}/idle_power_w"] = "not idle for a second before the first window, or no power sensor"
    return energy_j, idle_w


def energy_in(trace: Trace, device: str, windows_ns: Windows) -> EnergyFinding:
    """Energy of one device over the windows: see `rtxbench.hardware.energy.window_energy`."""
    counter = trace.get(device, "cpu_energy_j" if device == HOST else "energy_j")
    finding = window_energy(counter, trace.power(device), windows_ns)
    if counter is None and finding.value_j is None:
        return finding._replace(how=trace.reason_missing(device, "cpu_energy_j" if device == HOST else "energy_j"))
    return finding


def _expected(trace: Trace) -> list[tuple[str, str]]:
    pairs = {(p.device, metric): None for p in trace.probes for metric in p.metrics}
    pairs.update({(device, metric): None for device, by in trace.series.items() for metric in by})
    skip = {"energy_j", "cpu_energy_j", "core_utilization_ratio"}
    return [pair for pair in pairs if pair[1] not in skip]


def _summaries(metric: str, values: NDArray[np.float64]) -> dict[str, Summary]:
    if metric != "clock_event_reasons_bitmask":
        return {metric: summary_of(values)}
    bits = values.astype(np.int64)
    return {name: summary_of(((bits & mask) != 0).astype(float)) for name, mask in EVENT_REASONS.items()}


def summary_of(values: NDArray[np.float64]) -> Summary:
    """Mean, percentiles and range of at least one value, in its unit. ``values`` has shape (samples,)."""
    p50, p95 = np.percentile(values, [50, 95])
    return Summary(
        mean=float(values.mean()),
        p50=float(p50),
        p95=float(p95),
        minimum=float(values.min()),
        maximum=float(values.max()),
        n=int(values.size),
    )


def sampling_jitter_s(trace: Trace, device: str = HOST) -> Summary | None:
    """Measure how far the time between samples was from the interval, seconds; ``None`` below two samples."""
    metric = "cpu_utilization_ratio" if device == HOST else "sm_clock_hz"
    series = trace.get(device, metric) or next(iter(trace.series.get(device, {}).values()), None)
    if series is None or series.times_ns.size < 2:
        return None
    return summary_of(np.abs(np.diff(series.times_ns) / 1e9 - trace.header.interval_s))

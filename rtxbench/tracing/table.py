"""The figures of a recording that are shown: their titles and units, and a recording's samples as CSV."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import UsageError
from rtxbench.hardware.trace import Trace
from rtxbench.records import Summary
from rtxbench.units import format_bytes, format_percent, format_quantity

__all__ = ["GPU_ROWS", "HOST_ROWS", "Row", "row_lines", "text_of", "write_csv"]


class Row(NamedTuple):
    """One figure."""

    title: str
    metric: str
    unit: str
    """``%``, ``B`` or a unit that takes an SI prefix."""


HOST_ROWS: Final = (
    Row("CPU utilisation, all cores", "cpu_utilization_ratio", "%"),
    Row("busiest core", "busiest_core_utilization_ratio", "%"),
    Row("cores used by the command", "watched_cpu_cores", "cores"),
    Row("memory of the command", "rss_bytes", "B"),
    Row("CPU frequency", "cpu_frequency_hz", "Hz"),
    Row("time waiting for a CPU (PSI)", "psi_cpu_some_ratio", "%"),
    Row("CPU time taken by other guests", "steal_ratio", "%"),
)
GPU_ROWS: Final = (
    Row("time with a kernel running", "gpu_utilization_ratio", "%"),
    Row("SM activity", "sm_activity_ratio", "%"),
    Row("Tensor Core activity", "tensor_activity_ratio", "%"),
    Row("memory in use", "memory_used_bytes", "B"),
    Row("power", "power_w", "W"),
    Row("SM clock", "sm_clock_hz", "Hz"),
    Row("temperature", "temperature_c", "°C"),
    Row("held back by the power limit", "sw_power_cap_ratio", "%"),
    Row("held back by heat", "sw_thermal_slowdown_ratio", "%"),
    Row("hardware slowdown", "hw_slowdown_ratio", "%"),
)


def row_lines(metrics: dict[str, Summary], rows: Iterable[Row]) -> list[str]:
    """Lines of mean, 95th percentile and maximum of what was sampled."""
    lines = []
    for row in rows:
        summary = metrics.get(row.metric)
        if summary is not None:
            mean, p95, most = (text_of(value, row.unit) for value in (summary.mean, summary.p95, summary.maximum))
            lines.append(f"  {row.title:<32} mean {mean:>10}   p95 {p95:>10}   max {most:>10}")
    return lines


def text_of(value: float, unit: str) -> str:
    """Write a figure in its unit."""
    if unit == "%":
        return format_percent(value, 0)
    return format_bytes(value) if unit == "B" else format_quantity(value, unit)


def write_csv(trace: Trace, window_ns: tuple[int, int], path: Path) -> None:
    """Write every sample from the command's start to its end: seconds since the start, device, metric, value (SI).

    Raises:
        UsageError: the file cannot be written.
    """
    began, ended = window_ns
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["time_s", "device", "metric", "value"])
            for device, metrics in trace.series.items():
                for metric, samples in metrics.items():
                    for time_ns, value in zip(samples.times_ns.tolist(), samples.values.tolist(), strict=True):
                        if began <= time_ns <= ended:
                            writer.writerow([f"{(time_ns - began) / 1e9:.3f}", device, metric, f"{value:.6g}"])
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", next_step="Name another file.") from error

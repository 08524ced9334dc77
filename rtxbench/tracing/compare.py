"""Two recordings side by side, before and after a change: what differs, in words."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from rtxbench.errors import RecordError
from rtxbench.hardware.trace import HOST, Trace, load_trace, summarize
from rtxbench.records import HardwareSummary
from rtxbench.tracing.table import GPU_ROWS, HOST_ROWS, Row, text_of
from rtxbench.units import format_duration, format_percent

__all__ = ["Comparison", "Difference", "compare_traces", "comparison_text"]

_TOLD: Final = 0.1
"""Means that lie closer, relative to the larger, are not told of: two runs of one program differ by as much."""
_LEAST: Final = {"%": 0.02, "cores": 0.1, "W": 2.0, "°C": 2.0, "B": 16e6, "Hz": 50e6}
"""Unit → difference of means that is worth a line at all."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that differs."""

    device: str
    metric: str
    title: str
    unit: str
    before: float
    after: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two recordings of a command, before and after a change; ``rtxbench trace compare --json`` prints it."""

    before: str
    after: str
    duration_s: tuple[float, float]
    differences: tuple[Difference, ...]
    cause: tuple[str | None, str | None]
    """The likely cause that held each back."""


def command_window(trace: Trace) -> tuple[int, int]:
    """Find when the command ran: between the recorder's marks; in a recording without them, all of it."""
    times = [
        samples.times_ns for device in trace.series.values() for samples in device.values() if len(samples.times_ns)
    ]
    if not times:
        raise RecordError(
            f"{trace.path} holds no sample.", next_step="Trace a command that runs for more than a second."
        )
    marks = {mark.label.partition(":")[0]: mark.t for mark in trace.marks}
    first, last = min(int(t[0]) for t in times), max(int(t[-1]) for t in times)
    return marks.get("command started", first), marks.get("command ended", last)


def compare_traces(before: Path, after: Path) -> Comparison:
    """Hold the second recording against the first.

    Raises:
        RecordError: one of them is no trace, or holds nothing.
    """
    from rtxbench.diagnosis.facts import recording_diagnosis

    traces = load_trace(before), load_trace(after)
    windows = [command_window(trace) for trace in traces]
    hardware = [summarize(trace, [window]) for trace, window in zip(traces, windows, strict=True)]
    causes = [recording_diagnosis(summary) for summary in hardware]
    first, second = ((end - begin) / 1e9 for begin, end in windows)
    return Comparison(
        before=str(before),
        after=str(after),
        duration_s=(first, second),
        differences=tuple(_differences(hardware[0], hardware[1])),
        cause=(causes[0].text if causes[0] else None, causes[1].text if causes[1] else None),
    )


def _differences(before: HardwareSummary, after: HardwareSummary) -> Iterator[Difference]:
    for device in dict.fromkeys((*before.devices, *after.devices)):
        rows: Sequence[Row] = HOST_ROWS if device == HOST else GPU_ROWS
        for row in rows:
            pair = [summary.devices.get(device, {}).get(row.metric) for summary in (before, after)]
            if pair[0] is None or pair[1] is None:
                continue
            a, b = pair[0].mean, pair[1].mean
            if abs(b - a) > max(_TOLD * max(abs(a), abs(b)), _LEAST.get(row.unit, 0.0)):
                yield Difference(device=device, metric=row.metric, title=row.title, unit=row.unit, before=a, after=b)


def comparison_text(found: Comparison) -> str:
    """Say for a terminal how long each ran, what differs, and what held each back."""
    first, second = found.duration_s
    change = second / first - 1 if first > 0 else 0.0
    word = "longer" if change > 0 else "shorter"
    lines = [
        f"before: {found.before}",
        f"after:  {found.after}",
        "",
        f"It ran for {format_duration(second)} instead of {format_duration(first)}"
        + (f": {format_percent(abs(change), 0)} {word}." if abs(change) >= 0.005 else ": no difference."),
    ]
    for difference in found.differences:
        where = "" if difference.device == HOST else f" of GPU {difference.device}"
        more = "rose" if difference.after > difference.before else "fell"
        values = f"from {text_of(difference.before, difference.unit)} to {text_of(difference.after, difference.unit)}"
        lines.append(f"{difference.title[:1].upper()}{difference.title[1:]}{where} {more} {values} on average.")
    if not found.differences:
        lines.append("No sensor's mean differs by more than a tenth.")
    lines += _cause_lines(found.cause)
    lines.append("One run each: runs of one program differ, too. Repeat both to see by how much.")
    return "\n".join(lines)


def _cause_lines(cause: tuple[str | None, str | None]) -> list[str]:
    before, after = cause
    if before == after:
        return [] if before is None else [f"Likely held back as before: {before}."]
    told = "nothing that was recorded"
    return [f"Likely held back, before: {before or told}.", f"Likely held back, after: {after or told}."]

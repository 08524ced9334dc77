"""Two recordings side by side, before and after a change: what differs, in words."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from rtxbench.diagnosis.facts import recording_diagnosis
from rtxbench.errors import RecordError
from rtxbench.hardware.trace import HOST, Trace, load_trace, summarize
from rtxbench.records import HardwareSummary
from rtxbench.tracing.profile import ProgramProfile, load_profile, profile_diagnosis
from rtxbench.tracing.table import GPU_ROWS, HOST_ROWS, Row, text_of
from rtxbench.units import format_duration, format_percent

__all__ = ["RecordingComparison", "RecordingDifference", "compare_traces", "comparison_text"]

_TOLD: Final = 0.1
"""Means that lie closer, relative to the larger, are not told of: two runs of one program differ by as much."""
_LEAST: Final = {"%": 0.02, "cores": 0.1, "W": 2.0, "°C": 2.0, "B": 16e6, "Hz": 50e6}
"""Unit → difference of means that is worth a line at all."""
_PROGRAM: Final = "program"
"""Stands for a device where a figure is the profile's."""
_SHARES: Final = (
    Row("waiting for input", "input_wait_ratio", "%"),
    Row("time in operators", "operator_ratio", "%"),
    Row("time in Python", "rest_ratio", "%"),
    Row("time with work on the GPU", "device_ratio", "%"),
)


class RecordingDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that differs."""

    device: str
    metric: str
    title: str
    unit: str
    before: float
    after: float


class RecordingComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two recordings of a command, before and after a change; ``rtxbench trace compare --json`` prints it."""

    before: str
    after: str
    duration_s: tuple[float, float]
    differences: tuple[RecordingDifference, ...]
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


def compare_traces(before: Path, after: Path) -> RecordingComparison:
    """Hold the second recording against the first.

    Raises:
        RecordError: one of them is no trace, or holds nothing.
    """
    traces = load_trace(before), load_trace(after)
    windows = [command_window(trace) for trace in traces]
    hardware = [summarize(trace, [window]) for trace, window in zip(traces, windows, strict=True)]
    profiles = load_profile(before), load_profile(after)
    causes = [profile_diagnosis(p) or recording_diagnosis(h) for p, h in zip(profiles, hardware, strict=True)]
    first, second = ((end - begin) / 1e9 for begin, end in windows)
    return RecordingComparison(
        before=str(before),
        after=str(after),
        duration_s=(first, second),
        differences=(*_differences(hardware[0], hardware[1]), *_of_profiles(*profiles)),
        cause=(causes[0].text if causes[0] else None, causes[1].text if causes[1] else None),
    )


def _differences(before: HardwareSummary, after: HardwareSummary) -> Iterator[RecordingDifference]:
    for device in dict.fromkeys((*before.devices, *after.devices)):
        rows: Sequence[Row] = HOST_ROWS if device == HOST else GPU_ROWS
        for row in rows:
            pair = [summary.devices.get(device, {}).get(row.metric) for summary in (before, after)]
            if pair[0] is None or pair[1] is None:
                continue
            a, b = pair[0].mean, pair[1].mean
            if _differ(a, b, row.unit):
                yield _difference(device, row, a, b)


def _of_profiles(before: ProgramProfile | None, after: ProgramProfile | None) -> Iterator[RecordingDifference]:
    for row in _SHARES:
        a, b = getattr(before, row.metric, None), getattr(after, row.metric, None)
        if a is not None and b is not None and _differ(a, b, row.unit):
            yield _difference(_PROGRAM, row, a, b)


def _differ(before: float, after: float, unit: str) -> bool:
    return abs(after - before) > max(_TOLD * max(abs(before), abs(after)), _LEAST.get(unit, 0.0))


def _difference(device: str, row: Row, before: float, after: float) -> RecordingDifference:
    return RecordingDifference(
        device=device, metric=row.metric, title=row.title, unit=row.unit, before=before, after=after
    )


def comparison_text(found: RecordingComparison) -> str:
    """Say for a terminal the duration of each, what differs, and what held each back."""
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
        of_profile = difference.device == _PROGRAM
        where = "" if of_profile or difference.device == HOST else f" of GPU {difference.device}"
        more = "rose" if difference.after > difference.before else "fell"
        values = f"from {text_of(difference.before, difference.unit)} to {text_of(difference.after, difference.unit)}"
        how = "of the profiled steps" if of_profile else "on average"
        lines.append(f"{difference.title[:1].upper()}{difference.title[1:]}{where} {more} {values} {how}.")
    if all(difference.device == _PROGRAM for difference in found.differences):
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

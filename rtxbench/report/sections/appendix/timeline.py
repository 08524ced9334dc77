"""Draw what the hardware did while a run was measured: its trace, with the timed blocks marked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.errors import RecordError
from rtxbench.hardware.trace import HOST, Samples, Trace, load_trace, sampling_jitter_s
from rtxbench.records import CaseRecord, Environment
from rtxbench.report.drawing.canvas import Sheet, round_ticks, short_number
from rtxbench.report.drawing.style import GRID, MUTED, PAGE_WIDTH_IN, SERIES_COLORS, precision_color
from rtxbench.report.labels import anchor, machine_headings
from rtxbench.report.parts import Block, Context, Figure, Paragraph, Section
from rtxbench.report.titles import machine_title
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_duration, format_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

__all__ = ["Lane", "_Lane", "draw_timeline", "timeline_section", "tracks_of"]

_BINS: Final = 420
"""Points a line is drawn with; a longer trace is shown as the mean and the range of each stretch of time."""
_LEFT_IN: Final = 1.35
_RIGHT_IN: Final = 0.75
_TRACK_IN: Final = 0.62
_GAP_IN: Final = 0.16
_LANES_IN: Final = 0.58


class _Quantity(NamedTuple):
    metric: str
    title: str
    unit: str
    scale: float
    """Multiplies the stored value to give the unit."""
    full: float | None = None
    """Top of the axis, in the unit, where there is a natural one."""


_GPU_QUANTITIES: Final = (
    _Quantity("gpu_utilization_ratio", "GPU busy", "%", 100, 100),
    _Quantity("power_w", "GPU power", "W", 1),
    _Quantity("sm_clock_hz", "SM clock", "GHz", 1e-9),
    _Quantity("temperature_c", "GPU temperature", "°C", 1),
    _Quantity("memory_used_bytes", "GPU memory", "GiB", 2**-30),
)
_HOST_QUANTITIES: Final = (
    _Quantity("cpu_utilization_ratio", "CPU busy", "%", 100, 100),
    _Quantity("rss_bytes", "Worker memory", "GiB", 2**-30),
    _Quantity("cpu_frequency_hz", "CPU clock", "GHz", 1e-9),
    _Quantity("steal_ratio", "CPU stolen", "%", 100),
)


class Lane(NamedTuple):
    """Timed blocks of one precision of one workload, nanoseconds."""

    workload: str
    precision: str
    blocks_ns: tuple[tuple[int, int], ...]


class _Lane(NamedTuple):
    """One quantity over time; one line per device."""

    title: str
    unit: str
    full: float | None
    lines: tuple[tuple[str, Samples], ...]


def timeline_section(context: Context) -> Section | None:
    """Draw the latest recorded run of each machine. ``None`` where no run has a trace beside it."""
    latest: dict[str, tuple[LoadedRun, Path]] = {}
    for loaded in context.runs:
        path = loaded.path.with_suffix(".trace.jsonl")
        only_checks = any(r.purpose != "result" for r in loaded.records) and not loaded.of_kind(CaseRecord)
        if path.exists() and not only_checks:
            latest[loaded.run.environment.machine] = (loaded, path)
    if not latest:
        return None
    blocks: list[Block] = [
        Paragraph(
            "What sensors read while a run was measured, from a process of its own, by the measuring workers' clock. "
            "Coloured ticks on top are the timed blocks; between them a worker starts, compiles or warms up."
        )
    ]
    for machine, heading in machine_headings(context, latest):
        blocks.extend(heading)
        blocks.extend(_recording(context.machines[machine], *latest[machine]))
    return Section(id="hardware", title="Hardware timeline", blocks=tuple(blocks))


def _recording(environment: Environment, loaded: LoadedRun, path: Path) -> list[Block]:
    try:
        trace = load_trace(path)
    except RecordError as error:
        return [Paragraph(f"The recording of run {loaded.run.run_id} is left out: {error}", tone="caution")]
    tracks, lanes = tracks_of(trace, environment), _lanes(loaded)
    blocks: list[Block] = [
        Paragraph(f"Recorder: {event.code}, {event.detail}", tone="caution") for event in trace.events
    ]
    if trace.header.gpu_missing:
        blocks.append(Paragraph(f"No GPU was recorded: {trace.header.gpu_missing.rstrip('.')}.", tone="muted"))
    if tracks:
        blocks.append(_figure(environment, loaded, trace, tracks, lanes))
    return blocks


def _figure(
    environment: Environment, loaded: LoadedRun, trace: Trace, tracks: Sequence[_Lane], lanes: Sequence[Lane]
) -> Figure:
    title = machine_title(environment)
    names = ", ".join(f"{track.title} ({track.unit})" for track in tracks)
    return Figure(
        name=anchor(f"timeline-{environment.machine}"),
        build=partial(draw_timeline, tuple(tracks), tuple(lanes)),
        alt=f"Hardware of {title} during run {loaded.run.run_id} over time: {names}.",
        caption=(
            f"Run {loaded.run.run_id} on {title}. Line: mean of each stretch of time; shade: its range. "
            f"{_recorder_cost(trace)}{' The recording was cut off.' if trace.truncated or trace.end is None else ''}"
        ),
    )


def _recorder_cost(trace: Trace) -> str:
    parts = [f"Sampled every {format_duration(trace.header.interval_s)}"]
    jitter = sampling_jitter_s(trace)
    if jitter is not None:
        parts.append(f"95 % of samples within {format_duration(jitter.p95)} of their time")
    if trace.end is not None and trace.end.elapsed_s > 0:
        parts.append(f"the recorder took {format_percent(trace.end.cpu_s / trace.end.elapsed_s)} of one core")
    return ", ".join(parts) + "."


def tracks_of(trace: Trace, environment: Environment) -> list[_Lane]:
    """Quantities with at least two samples, GPUs' first; one line per GPU."""
    names = {gpu.uuid: f"GPU {gpu.index}" for gpu in environment.gpus}
    gpus = {device: names.get(device, device) for device in trace.series if device != HOST}
    tracks = [_track(trace, quantity, gpus) for quantity in _GPU_QUANTITIES]
    tracks += [_track(trace, quantity, {HOST: "host"}) for quantity in _HOST_QUANTITIES]
    return [track for track in tracks if track.lines]


def _track(trace: Trace, quantity: _Quantity, devices: dict[str, str]) -> _Lane:
    lines = []
    for device, name in devices.items():
        series = trace.get(device, quantity.metric)
        if series is not None and series.times_ns.size > 1:
            lines.append((name, Samples(series.times_ns, series.values * quantity.scale)))
    return _Lane(quantity.title, quantity.unit, quantity.full, tuple(lines))


def _lanes(loaded: LoadedRun) -> list[Lane]:
    lanes = []
    for record in loaded.of_kind(CaseRecord):
        launches = record.measurement.launches if record.measurement else ()
        blocks = tuple(block for launch in launches for block in launch.blocks_ns)
        if blocks:
            lanes.append(Lane(record.case.workload, record.case.precision, blocks))
    return lanes


def draw_timeline(tracks: Sequence[_Lane], lanes: Sequence[Lane]) -> Drawing:
    """Timed blocks on top, one track per quantity below, on one time axis that starts with the recording."""
    start = min(int(series.times_ns[0]) for track in tracks for _, series in track.lines)
    end = max(int(series.times_ns[-1]) for track in tracks for _, series in track.lines)
    axis = _TimeAxis(start, max(end, start + 1))
    legend_in = 0.26 if any(len(track.lines) > 1 for track in tracks) else 0.0
    sheet = Sheet(legend_in + _LANES_IN + len(tracks) * (_TRACK_IN + _GAP_IN) + 0.5)
    if legend_in:
        _draw_legend(sheet, max(tracks, key=lambda track: len(track.lines)))
    _draw_lanes(sheet, lanes, axis, legend_in)
    top = legend_in + _LANES_IN
    for track in tracks:
        _draw_track(sheet, track, axis, top)
        top += _TRACK_IN + _GAP_IN
    for tick_s in round_ticks((end - start) / 1e9, 7):
        sheet.text(axis.at(start + tick_s * 1e9), top + 0.02, f"{tick_s:g}", align="center", size=8.5, color=MUTED)
    middle = (_LEFT_IN + PAGE_WIDTH_IN - _RIGHT_IN) / 2
    sheet.text(middle, top + 0.24, "seconds since the recording began", align="center", size=8.5, color=MUTED)
    return sheet.figure


class _TimeAxis(NamedTuple):
    start_ns: int
    end_ns: int

    def at(self, time_ns: float) -> float:
        """Locate an instant on the sheet, inches."""
        share = (time_ns - self.start_ns) / (self.end_ns - self.start_ns)
        return _LEFT_IN + (PAGE_WIDTH_IN - _LEFT_IN - _RIGHT_IN) * min(1.0, max(0.0, share))


def _draw_legend(sheet: Sheet, track: _Lane) -> None:
    x = _LEFT_IN
    for color, (name, _series) in zip(SERIES_COLORS, track.lines, strict=False):
        sheet.line([(x, 0.15), (x + 0.22, 0.15)], color, 2)
        sheet.text(x + 0.28, 0.15, name, size=8.5, color=MUTED)
        x += 0.45 + 0.075 * len(name)


def _draw_lanes(sheet: Sheet, lanes: Sequence[Lane], axis: _TimeAxis, top: float) -> None:
    """Draw every timed block as a tick in its precision's colour; each workload's name where it begins."""
    for lane in lanes:
        ticks = [(axis.at((a + b) / 2), top + 0.28, axis.at((a + b) / 2), top + 0.42) for a, b in lane.blocks_ns]
        sheet.lines(ticks, precision_color(lane.precision), 1.0)
    sheet.text(_LEFT_IN - 0.1, top + 0.35, "Timed blocks", align="right", size=9)
    blocks = sorted((start, lane.workload) for lane in lanes for start, _end in lane.blocks_ns)
    named, free_from = "", 0.0
    for start, workload in blocks:
        if workload != named and axis.at(start) >= free_from:
            sheet.text(axis.at(start), top + 0.14, workload, size=8.5, color=MUTED)
            named, free_from = workload, axis.at(start) + 0.075 * len(workload) + 0.1


def _draw_track(sheet: Sheet, track: _Lane, axis: _TimeAxis, top: float) -> None:
    highest = track.full or max(float(series.values.max()) for _, series in track.lines) or 1.0
    scale = _TRACK_IN / (highest * 1.05)
    right, base = PAGE_WIDTH_IN - _RIGHT_IN, top + _TRACK_IN
    ceiling = base - highest * scale
    sheet.lines([(_LEFT_IN, y, right, y) for y in (base, ceiling)], GRID, 0.8)
    sheet.text(_LEFT_IN - 0.1, top + _TRACK_IN / 2, track.title, align="right", size=9)
    sheet.text(right + 0.06, ceiling, f"{short_number(highest)} {track.unit}", size=8, color=MUTED)
    sheet.text(right + 0.06, base, "0", size=8, color=MUTED)
    for color, (_name, series) in zip(SERIES_COLORS, track.lines, strict=False):
        times, means, lows, highs = _binned(series)
        xs = [axis.at(time) for time in times]
        upper = [(x, base - value * scale) for x, value in zip(xs, highs, strict=True)]
        lower = [(x, base - value * scale) for x, value in zip(xs, lows, strict=True)]
        if lows != highs:
            sheet.area([*upper, *reversed(lower)], color, alpha=0.2)
        sheet.line([(x, base - value * scale) for x, value in zip(xs, means, strict=True)], color, 1.2)


def _binned(series: Samples) -> tuple[list[float], list[float], list[float], list[float]]:
    """Time, mean, lowest and highest of at most `_BINS` stretches of equally many samples (the last may be short)."""
    import numpy as np

    size = -(-series.times_ns.size // _BINS)
    cuts = np.arange(size, series.times_ns.size, size)
    times, values = np.split(series.times_ns, cuts), np.split(series.values, cuts)
    return (
        [float(part.mean()) for part in times],
        [float(part.mean()) for part in values],
        [float(part.min()) for part in values],
        [float(part.max()) for part in values],
    )

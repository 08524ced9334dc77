"""Draw what the hardware did while a run was measured: its trace, with the timed blocks marked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import RecordError
from rtxbench.hardware.trace import HOST, Samples, Trace, load_trace, sampling_jitter_s
from rtxbench.records import CaseRecord, Environment
from rtxbench.report.drawing.timeline import Channel, Lane, draw_timeline
from rtxbench.report.labels import anchor, machine_headings
from rtxbench.report.parts import Block, Context, Figure, Paragraph, Section
from rtxbench.report.titles import machine_title
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_duration, format_percent
from rtxbench.wording import name_of, say_flag

__all__ = ["timeline_section", "tracks_of"]


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
        Paragraph(f"Recorder: {say_flag(event.code)} ({event.detail}).", tone="caution") for event in trace.events
    ]
    if trace.header.gpu_missing:
        blocks.append(Paragraph(f"No GPU was recorded: {trace.header.gpu_missing.rstrip('.')}.", tone="muted"))
    if tracks:
        blocks.append(_figure(environment, loaded, trace, tracks, lanes))
    return blocks


def _figure(
    environment: Environment, loaded: LoadedRun, trace: Trace, tracks: Sequence[Channel], lanes: Sequence[Lane]
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


def tracks_of(trace: Trace, environment: Environment) -> list[Channel]:
    """Quantities with at least two samples, GPUs' first; one line per GPU."""
    names = {gpu.uuid: f"GPU {gpu.index}" for gpu in environment.gpus}
    gpus = {device: names.get(device, device) for device in trace.series if device != HOST}
    tracks = [_track(trace, quantity, gpus) for quantity in _GPU_QUANTITIES]
    tracks += [_track(trace, quantity, {HOST: "host"}) for quantity in _HOST_QUANTITIES]
    return [track for track in tracks if track.lines]


def _track(trace: Trace, quantity: _Quantity, devices: dict[str, str]) -> Channel:
    lines = []
    for device, name in devices.items():
        series = trace.get(device, quantity.metric)
        if series is not None and series.times_ns.size > 1:
            lines.append((name, Samples(series.times_ns, series.values * quantity.scale)))
    return Channel(quantity.title, quantity.unit, quantity.full, tuple(lines))


def _lanes(loaded: LoadedRun) -> list[Lane]:
    lanes = []
    for record in loaded.of_kind(CaseRecord):
        launches = record.measurement.launches if record.measurement else ()
        blocks = tuple(block for launch in launches for block in launch.blocks_ns)
        if blocks:
            lanes.append(Lane(name_of(record.case.workload), record.case.precision, blocks))
    return lanes

"""Stretches of a recorded program: between its own marks, or between gaps in which it did next to nothing."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import msgspec
import numpy as np

from rtxbench.hardware.trace import HOST, Trace
from rtxbench.hardware.windows import Samples, values_in
from rtxbench.tracing.marks import PHASE
from rtxbench.units import format_duration, format_percent

__all__ = ["Phase", "phase_lines", "phases_of"]

_QUIET_RATIO: Final = 0.1
"""Below this share of its usual busiest, a program does next to nothing."""
_GAP_S: Final = 0.5
"""Shorter pauses are part of a phase."""
_SHOWN: Final = 12


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of a program."""

    name: str
    start_s: float
    """After the command started."""
    duration_s: float
    by: Literal["mark", "gap"]
    cpu_cores: float | None = None
    """That the command used, on average."""
    gpu_busy_ratio: float | None = None
    """Of the GPUs that did something, on average."""


def phases_of(trace: Trace, window_ns: tuple[int, int], gpus: Sequence[str]) -> tuple[Phase, ...]:
    """List a program's phases: by its own marks where it made any, else by gaps; none where it had no gap.

    Args:
        trace: the recording.
        window_ns: when the command began and ended.
        gpus: UUIDs of those that did something.
    """
    marks = [mark for mark in trace.marks if mark.label.startswith(PHASE)]
    if marks:
        begins = [
            (window_ns[0], "before the first mark"),
            *((mark.t, mark.label.removeprefix(PHASE)) for mark in marks),
        ]
        ends = [*(begin for begin, _ in begins[1:]), window_ns[1]]
        stretches = [(name, (begin, end)) for (begin, name), end in zip(begins, ends, strict=True) if end > begin]
        return tuple(_phase(trace, name, stretch, window_ns[0], gpus, "mark") for name, stretch in stretches)
    busy = _busy_stretches(_work(trace, gpus), window_ns)
    if len(busy) < 2:
        return ()
    named = ((f"phase {number}", stretch) for number, stretch in enumerate(busy, 1))
    return tuple(_phase(trace, name, stretch, window_ns[0], gpus, "gap") for name, stretch in named)


def _work(trace: Trace, gpus: Sequence[str]) -> Samples | None:
    """Take the series that shows the program at work: its busiest GPU's, else the cores that it used."""
    found = [series for uuid in gpus if (series := trace.get(uuid, "gpu_utilization_ratio")) is not None]
    return max(found, key=lambda s: float(s.values.mean()), default=trace.get(HOST, "watched_cpu_cores"))


def _busy_stretches(work: Samples | None, window_ns: tuple[int, int]) -> list[tuple[int, int]]:
    """Cut the window where work pauses for longer than a moment."""
    if work is None:
        return []
    inside = (work.times_ns >= window_ns[0]) & (work.times_ns <= window_ns[1])
    times, values = work.times_ns[inside], work.values[inside]
    if len(values) < 3:
        return []
    busy = times[values > _QUIET_RATIO * float(np.percentile(values, 90))]
    if not len(busy):
        return []
    interval = int(np.median(np.diff(times)))
    cuts = [index for index, (a, b) in enumerate(pairwise(busy), 1) if b - a - interval > _GAP_S * 1e9]
    parts = np.split(busy, cuts)
    return [(max(window_ns[0], int(part[0]) - interval), int(part[-1])) for part in parts]


def _phase(
    trace: Trace,
    name: str,
    stretch_ns: tuple[int, int],
    began_ns: int,
    gpus: Sequence[str],
    by: Literal["mark", "gap"],
) -> Phase:
    busy = [mean for uuid in gpus if (mean := _mean(trace.get(uuid, "gpu_utilization_ratio"), stretch_ns)) is not None]
    return Phase(
        name=name,
        start_s=(stretch_ns[0] - began_ns) / 1e9,
        duration_s=(stretch_ns[1] - stretch_ns[0]) / 1e9,
        by=by,
        cpu_cores=_mean(trace.get(HOST, "watched_cpu_cores"), stretch_ns),
        gpu_busy_ratio=sum(busy) / len(busy) if busy else None,
    )


def _mean(series: Samples | None, stretch_ns: tuple[int, int]) -> float | None:
    values = None if series is None else values_in(series, [stretch_ns])
    return float(values.mean()) if values is not None and len(values) else None


def phase_lines(phases: Sequence[Phase]) -> list[str]:
    """List the phases for a terminal; of many, the first ones and the range of the others."""
    if not phases:
        return []
    head = (
        "phases, by the program's own marks" if phases[0].by == "mark" else "phases, by pauses of half a second or more"
    )
    lines = ["", head]
    for phase in phases[:_SHOWN]:
        used = [] if phase.cpu_cores is None else [f"{phase.cpu_cores:.2f} cores"]
        used += [] if phase.gpu_busy_ratio is None else [f"GPU busy {format_percent(phase.gpu_busy_ratio, 0)}"]
        at = f"from {format_duration(phase.start_s)}"
        lines.append(f"  {phase.name:<32} {format_duration(phase.duration_s):>10}   {at:<18} {', '.join(used)}")
    if len(phases) > _SHOWN:
        rest = [phase.duration_s for phase in phases[_SHOWN:]]
        mean = format_duration(sum(rest) / len(rest))
        lines.append(f"  and {len(rest)} more of {mean} on average")
    if phases[0].by == "gap":
        pauses = sum(max(0.0, b.start_s - a.start_s - a.duration_s) for a, b in pairwise(phases))
        lines.append(f"  pauses between them: {format_duration(pauses)} in all")
    return lines

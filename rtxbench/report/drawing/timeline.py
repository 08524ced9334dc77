"""The drawing of a recording: timed blocks on top, one track per quantity below, on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.hardware.trace import Samples
from rtxbench.report.drawing.canvas import Marker, Sheet, legend_height_in, short_number, text_width_in
from rtxbench.report.drawing.panel import Panel, Scale, linear_scale
from rtxbench.report.drawing.placing import Box
from rtxbench.report.drawing.style import MUTED, PAGE_WIDTH_IN, SERIES_COLORS, precision_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Channel", "Lane", "draw_timeline"]

_BINS: Final = 420
"""Points a line is drawn with; a longer trace is shown as the mean and the range of each stretch of time."""
_LEFT_IN: Final = 1.35
_RIGHT_IN: Final = 0.75
_TRACK_IN: Final = 0.62
_GAP_IN: Final = 0.16
_LANES_IN: Final = 0.58


class Lane(NamedTuple):
    """Timed blocks of one precision of one workload, nanoseconds."""

    workload: str
    precision: str
    blocks_ns: tuple[tuple[int, int], ...]


class Channel(NamedTuple):
    """One quantity over time; one line per device."""

    title: str
    unit: str
    full: float | None
    """Top of the axis where there is a natural one; the highest sample where ``None``."""
    lines: tuple[tuple[str, Samples], ...]


def draw_timeline(tracks: Sequence[Channel], lanes: Sequence[Lane]) -> Figure:
    """Draw the lanes' blocks and every track on one axis that starts with the recording."""
    start = min(int(series.times_ns[0]) for track in tracks for _, series in track.lines)
    end = max(int(series.times_ns[-1]) for track in tracks for _, series in track.lines)
    legend = _device_legend(max(tracks, key=lambda track: len(track.lines)))
    seconds = linear_scale(0, max(end - start, 1) / 1e9, count=7)
    top = legend_height_in(legend) + _LANES_IN
    sheet = Sheet(top + len(tracks) * (_TRACK_IN + _GAP_IN) + 0.5)
    sheet.legend(legend)
    _draw_lanes(Panel(sheet, _box(top - _LANES_IN, _LANES_IN), seconds, Scale(0, 1, ())), lanes, start)
    for number, track in enumerate(tracks):
        highest = track.full or max(float(series.values.max()) for _, series in track.lines) or 1.0
        levels = Scale(0, 1.05 * highest, ((0, "0"), (highest, f"{short_number(highest)} {track.unit}")))
        last = number == len(tracks) - 1
        times = seconds if last else seconds._replace(ticks=())
        panel = Panel(sheet, _box(top + number * (_TRACK_IN + _GAP_IN), _TRACK_IN), times, levels)
        panel.frame("y", axis="seconds since the recording began" if last else "", rows_named=False)
        _draw_track(panel, track, levels, start)
    return sheet.figure


def _box(top: float, height: float) -> Box:
    return Box(_LEFT_IN, top, PAGE_WIDTH_IN - _RIGHT_IN, top + height)


def _device_legend(track: Channel) -> list[tuple[str, Marker]]:
    """Name the devices of the track that has the most; nothing where no track has two."""
    names = [name for name, _ in track.lines]
    marks = [(name, Marker(color, "line")) for color, name in zip(SERIES_COLORS, names, strict=False)]
    return marks if len(marks) > 1 else []


def _draw_lanes(panel: Panel, lanes: Sequence[Lane], start_ns: int) -> None:
    """Draw every timed block as a tick in its precision's colour; each workload's name where it begins."""
    sheet, top = panel.sheet, panel.box.top

    def at(time_ns: float) -> float:
        inches = panel.at((time_ns - start_ns) / 1e9, 0)[0]
        return min(panel.box.right, max(panel.box.left, inches))

    for lane in lanes:
        middles = [at((begin + end) / 2) for begin, end in lane.blocks_ns]
        sheet.lines([(x, top + 0.28, x, top + 0.42) for x in middles], precision_color(lane.precision))
    sheet.text(panel.box.left - 0.1, top + 0.35, "Timed blocks", align="right")
    named, free_from = "", 0.0
    for begin, workload in sorted((begin, lane.workload) for lane in lanes for begin, _ in lane.blocks_ns):
        if workload != named and at(begin) >= free_from:
            sheet.text(at(begin), top + 0.14, workload, color=MUTED)
            named, free_from = workload, at(begin) + text_width_in(workload) + 0.1


def _draw_track(panel: Panel, track: Channel, levels: Scale, start_ns: int) -> None:
    """Draw a line per device, its range as a shade; the quantity is named on the left, its levels on the right."""
    sheet, box = panel.sheet, panel.box
    sheet.text(box.left - 0.1, (box.top + box.bottom) / 2, track.title, align="right")
    for level, name in levels.ticks:
        sheet.text(box.right + 0.06, panel.at(0, level)[1], name, color=MUTED)
    for color, (_name, series) in zip(SERIES_COLORS, track.lines, strict=False):
        times_ns, means, lows, highs = _binned(series)
        times_s = [(time - start_ns) / 1e9 for time in times_ns]
        if lows != highs:
            around = [*zip(times_s, highs, strict=True), *reversed(list(zip(times_s, lows, strict=True)))]
            sheet.area([panel.at(x, y) for x, y in around], color, alpha=0.2)
        panel.line(zip(times_s, means, strict=True), color)


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

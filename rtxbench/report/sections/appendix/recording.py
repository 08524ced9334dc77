"""The timeline of one recorded command as a picture, drawn as the report draws a run's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rtxbench.errors import UsageError
from rtxbench.hardware.environment import describe
from rtxbench.hardware.trace import load_trace
from rtxbench.report.drawing.style import save_figure
from rtxbench.report.drawing.timeline import Lane, draw_timeline
from rtxbench.report.sections.appendix.timeline import tracks_of

if TYPE_CHECKING:
    from rtxbench.tracing.command import CommandReport

__all__ = ["save_recording"]


def save_recording(report: CommandReport, path: Path) -> None:
    """Draw the trace with the command's start and end marked.

    Raises:
        UsageError: the file's ending names no picture format, or nothing was sampled.
    """
    tracks = tracks_of(load_trace(Path(report.trace_path)), describe())
    if not tracks:
        raise UsageError("the command ended before two samples were taken.", next_step="Lower --interval-s.")
    start, end = report.window_ns
    lane = Lane(Path(report.command[0]).name, "float32", ((start, start), (end, end)))
    save_figure(lambda: draw_timeline(tracks, [lane]), path)

"""The pictures of `rtxbench.report.sections.evidence.trials`: seeds as dots, latency, throughput by batch size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rtxbench.report.drawing.style import INK, MUTED, PAPER, SERIES_COLORS, new_figure, strip_frame
from rtxbench.stats import launch_estimate
from rtxbench.units import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DotRow", "LatencySeries", "batch_curve", "dots", "latency"]

_ROW_IN = 0.36


class DotRow(NamedTuple):
    """One arm: a value per seed."""

    label: str
    values: tuple[float, ...]
    color: str


class LatencySeries(NamedTuple):
    """One batch size and precision: a median and a p99 per repeat, seconds."""

    label: str
    p50_s: tuple[float, ...]
    p99_s: tuple[float, ...]
    color: str


def dots(rows: Sequence[DotRow], axis: str, scale: float = 1.0) -> Figure:
    """Draw every seed as a dot, the mean with its 95 % interval beneath. Rows top to bottom."""
    figure = new_figure(0.9 + _ROW_IN * max(2, len(rows)))
    axes = figure.subplots()
    for position, row in enumerate(rows):
        mean = launch_estimate([scale * value for value in row.values])
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [position + 0.22] * 2, color=row.color, linewidth=3, solid_capstyle="butt")
        axes.plot([mean.value], [position + 0.22], marker="|", color=INK, markersize=9, markeredgewidth=1.6)
        axes.scatter(
            [scale * value for value in row.values],
            [position - 0.12] * len(row.values),
            s=22,
            color=row.color,
            alpha=0.85,
        )
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlabel(axis)
    strip_frame(axes)
    return figure


def latency(series: Sequence[LatencySeries]) -> Figure:
    """Medians filled, 99th percentiles hollow, milliseconds on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure = new_figure(1.0 + _ROW_IN * max(2, len(series)))
    axes = figure.subplots()
    for position, row in enumerate(series):
        for values, filled in ((row.p50_s, True), (row.p99_s, False)):
            axes.scatter(
                [1e3 * value for value in values],
                [position] * len(values),
                s=30,
                facecolors=row.color if filled else PAPER,
                edgecolors=row.color,
                linewidths=1.3,
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(series)), [row.label for row in series])
    axes.set_ylim(len(series) - 0.5, -0.5)
    axes.set_xlabel("latency of one request, ms (logarithmic)")
    strip_frame(axes)
    axes.tick_params(axis="x", pad=4, labelsize=9.5)
    return figure


def batch_curve(points: Sequence[tuple[int, float]], largest: float) -> Figure:
    """Throughput by batch size, both axes logarithmic, the largest batch that fits marked."""
    figure = new_figure(2.9)
    axes = figure.subplots()
    axes.plot(
        [size for size, _ in points],
        [rate for _, rate in points],
        marker="o",
        linestyle="none",
        markersize=4.5,
        color=SERIES_COLORS[0],
    )
    axes.axvline(largest, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"largest that fits: {format_count(largest)}",
        (largest, 0.04),
        xycoords=("data", "axes fraction"),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        color=MUTED,
        fontsize=9.5,
    )
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 1.12 * max(rate for _, rate in points))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("batch size (logarithmic)")
    axes.set_ylabel("examples per second")
    strip_frame(axes, grid="y")
    return figure

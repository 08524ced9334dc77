"""Drawings of the purchase section: dots per card, break-even curves, the fit matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.report.base import Origin
from rtxbench.report.style import GRID, INK, MUTED, PAGE_WIDTH_IN, PAPER, SERIES_COLORS, strip_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "Dot", "DotColumn", "FitCell", "break_even_curves", "card_dots", "fit_matrix"]

GROUP_COLORS: Final[Mapping[str, str]] = {
    "GeForce RTX 30": SERIES_COLORS[0],
    "GeForce RTX 40": SERIES_COLORS[1],
    "workstation": SERIES_COLORS[2],
    "your machine": SERIES_COLORS[3],
}
_MARKERS: Final[Mapping[Origin, str]] = {"measured": "D", "published": "o", "predicted": "o"}
_FIT_COLORS: Final[Mapping[str, str]] = {"fits": "#009e73", "tight": "#e0b040", "no": GRID}
_FIT_INK: Final[Mapping[str, str]] = {"fits": PAPER, "tight": INK, "no": MUTED}
_ROW_IN: Final = 0.235


class Dot(NamedTuple):
    """One card's figure in one column; ``None`` where it is unknown."""

    value: float | None
    low: float | None
    high: float | None
    origin: Origin


class DotColumn(NamedTuple):
    """One quantity: a dot per card, in the order of the rows."""

    title: str
    unit: str
    dots: tuple[Dot, ...]


class Curve(NamedTuple):
    """One card's cost against hours of training a day."""

    label: str
    hours: tuple[float, ...]
    cost: tuple[float, ...]
    origin: Origin


class FitCell(NamedTuple):
    """Whether one model fits in one memory size: ``fits``, ``tight`` or ``no``, and the largest batch."""

    state: str
    largest_batch: int


def card_dots(rows: Sequence[tuple[str, str]], columns: Sequence[DotColumn]) -> Figure:
    """Cards as rows, one column of dots per quantity on axes of their own from zero.

    Args:
        rows: (card, row of `GROUP_COLORS`), best first.
        columns: a dot per row each. Filled: published; hollow: predicted, with its range; diamond: measured.
    """
    from matplotlib.figure import Figure

    head_in, foot_in, labels_in = 0.78, 0.5, 1.75
    total_in = head_in + foot_in + _ROW_IN * len(rows)
    figure = Figure(figsize=(PAGE_WIDTH_IN, total_in))
    gap_in = 0.3
    width_in = (PAGE_WIDTH_IN - labels_in - 0.15 - gap_in * (len(columns) - 1)) / len(columns)
    for number, column in enumerate(columns):
        left_in = labels_in + number * (width_in + gap_in)
        box = (left_in / PAGE_WIDTH_IN, foot_in / total_in, width_in / PAGE_WIDTH_IN, _ROW_IN * len(rows) / total_in)
        axes = figure.add_axes(box)
        _draw_dots(axes, rows, column)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows] if number == 0 else [], size=9)
    _dot_legend(figure, rows, columns, total_in)
    return figure


def _draw_dots(axes: Axes, rows: Sequence[tuple[str, str]], column: DotColumn) -> None:
    from matplotlib.ticker import MaxNLocator

    known = [dot for dot in column.dots if dot.value is not None]
    axes.set_xlim(0, 1.06 * max((dot.high or dot.value or 0 for dot in known), default=1))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    placed = [
        (row, dot, GROUP_COLORS[group]) for row, ((_, group), dot) in enumerate(zip(rows, column.dots, strict=True))
    ]
    ranged = [(r, dot.low, dot.high, c) for r, dot, c in placed if dot.low is not None and dot.high is not None]
    if ranged:
        at, low, high, colors = zip(*ranged, strict=True)
        axes.hlines(at, low, high, colors=colors, linewidth=2, alpha=0.45)
    for origin, marker in _MARKERS.items():
        shown = [
            (row, dot.value, color) for row, dot, color in placed if dot.origin == origin and dot.value is not None
        ]
        if shown:
            at, values, colors = zip(*shown, strict=True)
            face = PAPER if origin == "predicted" else colors
            axes.scatter(
                values,
                at,
                s=42,
                marker=marker,
                facecolors=face,
                edgecolors=colors,
                linewidths=1.6,
                zorder=3,
                clip_on=False,
            )
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.set_title(column.title, size=10)
    axes.set_xlabel(column.unit, color=MUTED, size=9.5)
    axes.tick_params(axis="x", colors=MUTED)
    strip_frame(axes)
    axes.hlines(range(len(rows)), *axes.get_xlim(), colors=GRID, linewidth=0.5, zorder=0)


def _dot_legend(figure: Figure, rows: Sequence[tuple[str, str]], columns: Sequence[DotColumn], total_in: float) -> None:
    from matplotlib.lines import Line2D

    groups = [name for name in GROUP_COLORS if any(group == name for _, group in rows)]
    origins = [o for o in _MARKERS if any(dot.origin == o and dot.value is not None for c in columns for dot in c.dots)]
    handles = [Line2D([], [], color=GROUP_COLORS[name], linewidth=4) for name in groups]
    handles += [
        Line2D(
            [], [], linestyle="none", marker=_MARKERS[o], markersize=6.5, markeredgewidth=1.6, markeredgecolor=INK,
            markerfacecolor=PAPER if o == "predicted" else INK,
        )
        for o in origins
    ]  # fmt: skip
    labels = [*groups, *("predicted, 90 % range" if o == "predicted" else o for o in origins)]
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.005, 1 - 0.03 / total_in), ncols=6, handlelength=1.1,
        columnspacing=1.2, fontsize=9, borderaxespad=0,
    )  # fmt: skip


def break_even_curves(curves: Sequence[Curve], currency: str, unit: str) -> Figure:
    """How much dearer a million examples are than on the cheapest card of that hour, against hours a day."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    figure = Figure(figsize=(PAGE_WIDTH_IN, 3.6))
    axes = figure.add_axes((0.1, 0.14, 0.63, 0.76))
    hours = curves[0].hours
    cheapest = [min(curve.cost[i] for curve in curves) for i in range(len(hours))]
    above = [[100 * (c / least - 1) for c, least in zip(curve.cost, cheapest, strict=True)] for curve in curves]
    for number, (curve, percent) in enumerate(zip(curves, above, strict=True)):
        style = (0, (4, 2)) if curve.origin == "predicted" else "-"
        axes.plot(hours, percent, color=SERIES_COLORS[number], linestyle=style, linewidth=2)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 4, 8, 16, 24]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _position: f"+{value:.0f} %" if value else "cheapest")
    axes.set_xlim(ticks[0], ticks[-1])
    axes.set_ylim(top=max(max(percent) for percent in above) * 1.05, bottom=-1)
    axes.set_xlabel("hours of training a day", color=MUTED)
    axes.set_title(f"{currency} per million {unit}, above the cheapest of these cards", size=10)
    strip_frame(axes, grid="y")
    _end_labels(axes, [curve.label for curve in curves], [percent[-1] for percent in above])
    return figure


def _end_labels(axes: Axes, labels: Sequence[str], ends: Sequence[float]) -> None:
    """Name each line at its right end, pushed apart where lines meet, in the order they end."""
    low, high = axes.get_ylim()
    height = -1.0
    for number in sorted(range(len(labels)), key=lambda n: ends[n]):
        natural = (ends[number] - low) / (high - low)
        height = max(natural, height + 0.075)
        color = SERIES_COLORS[number]
        axes.annotate(
            labels[number],
            (1, natural),
            xycoords="axes fraction",
            xytext=(1.06, height),
            textcoords="axes fraction",
            va="center",
            size=9.5,
            color=color,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.8, "relpos": (0, 0.5), "shrinkB": 0},
        )


def fit_matrix(models: Sequence[str], memories_gb: Sequence[int], cells: Sequence[Sequence[FitCell]]) -> Figure:
    """Models as rows, memory sizes as columns; the cell says fits, tight or no, and the largest batch that fits."""
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    head_in, foot_in, labels_in = 0.62, 0.1, 2.35
    row_in = 0.27
    total_in = head_in + foot_in + row_in * len(models)
    figure = Figure(figsize=(PAGE_WIDTH_IN, total_in))
    axes = figure.add_axes(
        (
            labels_in / PAGE_WIDTH_IN,
            foot_in / total_in,
            (PAGE_WIDTH_IN - labels_in - 0.1) / PAGE_WIDTH_IN,
            row_in * len(models) / total_in,
        )
    )
    boxes = [
        Rectangle((column - 0.47, row - 0.44), 0.94, 0.88)
        for row, line in enumerate(cells)
        for column in range(len(line))
    ]
    colors = [_FIT_COLORS[cell.state] for line in cells for cell in line]
    axes.add_collection(PatchCollection(boxes, facecolors=colors, edgecolors="none"))
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            axes.text(column, row, _fit_text(cell), ha="center", va="center", size=9, color=_FIT_INK[cell.state])
    axes.set_xlim(-0.5, len(memories_gb) - 0.5)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_yticks(range(len(models)), models, size=9.5)
    axes.set_xticks(range(len(memories_gb)), [f"{size} GB" for size in memories_gb])
    axes.xaxis.tick_top()
    strip_frame(axes, grid=None)
    handles = [Rectangle((0, 0), 1, 1, facecolor=_FIT_COLORS[state], linewidth=0) for state in _FIT_COLORS]
    figure.legend(
        handles, ["fits; largest batch", "tight", "does not fit at batch 1"], loc="upper right", ncols=3,
        bbox_to_anchor=(0.99, 1 - 0.02 / total_in), handlelength=1.1, fontsize=9, borderaxespad=0,
    )  # fmt: skip
    return figure


def _fit_text(cell: FitCell) -> str:
    return {"fits": f"≤ {cell.largest_batch}", "tight": "tight", "no": "no"}[cell.state]

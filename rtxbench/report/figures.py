"""The drawings every report has: throughput bars and the ratio forest. Plain data in, a matplotlib figure out.

Both lay their panels out in inches, by hand: rows have the same height in every figure, whatever their number, and
the page's 1,000 records are drawn in a second instead of ten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.report.base import Origin
from rtxbench.report.style import GRID, INK, MUTED, ORIGIN_BARS, PAGE_WIDTH_IN, PAPER, strip_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bar", "ForestGroup", "ForestRow", "Panel", "forest", "throughput_bars"]

_ROW_IN: Final = 0.3
_CHARACTER_IN: Final = 0.079
"""Mean advance of a character of the tick labels; generous, so that no label is cut."""
_LABELS_IN: Final = (1.15, 2.9)
"""Least and greatest width of the label column."""


class Bar(NamedTuple):
    """One measured value with its interval, in the panel's unit."""

    label: str
    value: float
    low: float | None
    high: float | None
    color: str
    origin: Origin = "measured"
    weak: bool = False
    """Drawn pale and marked: a flag, a missing warm-up or a single launch weakens it."""


class Panel(NamedTuple):
    """Bars that share an axis: one workload."""

    title: str
    unit: str
    bars: tuple[Bar, ...]


class ForestRow(NamedTuple):
    """One ratio with its interval and the threshold its claim sets, if any."""

    label: str
    value: float
    low: float | None
    high: float | None
    threshold: float | None
    color: str
    weak: bool = False


class ForestGroup(NamedTuple):
    """Ratios of one kind, under one heading."""

    title: str
    rows: tuple[ForestRow, ...]


def throughput_bars(panels: Sequence[Panel]) -> Figure:
    """Horizontal bars, one panel per workload, each with its own axis from zero, value and interval written out."""
    from matplotlib.figure import Figure

    head_in, foot_in = 0.36, 0.5
    heights = [head_in + foot_in + _ROW_IN * len(panel.bars) for panel in panels]
    total_in = sum(heights) + 0.05
    labels_in = _label_column_in([bar.label for panel in panels for bar in panel.bars])
    figure = Figure(figsize=(PAGE_WIDTH_IN, total_in))
    top_in = total_in
    for panel, height_in in zip(panels, heights, strict=True):
        axes = figure.add_axes(
            (
                labels_in / PAGE_WIDTH_IN,
                (top_in - height_in + foot_in) / total_in,
                (PAGE_WIDTH_IN - labels_in - 0.2) / PAGE_WIDTH_IN,
                (height_in - head_in - foot_in) / total_in,
            )
        )
        _draw_bars(axes, panel)
        figure.text(0.012, (top_in - 0.24) / total_in, panel.title, weight="bold", size=11, va="baseline")
        top_in -= height_in
    return figure


def _draw_bars(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    furthest = max(bar.high or bar.value for bar in panel.bars)
    axes.set_xlim(0, furthest * 1.3)
    for row, bar in enumerate(panel.bars):
        style = dict(ORIGIN_BARS[bar.origin])
        if bar.weak:
            style["alpha"] = 0.45
        axes.barh(row, bar.value, height=0.68, facecolor=bar.color, edgecolor=bar.color, **style)
        if bar.low is not None and bar.high is not None:
            errors = [[bar.value - bar.low], [bar.high - bar.value]]
            axes.errorbar(bar.value, row, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3, capthick=1.3)
        axes.annotate(
            _bar_text(bar),
            (bar.high or bar.value, row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            size=9.5,
        )
    axes.set_yticks(range(len(panel.bars)), [bar.label for bar in panel.bars])
    axes.set_ylim(len(panel.bars) - 0.45, -0.55)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(_short)
    axes.set_xlabel(panel.unit, color=MUTED, size=9.5, labelpad=2)
    axes.tick_params(axis="x", colors=MUTED, pad=2)
    strip_frame(axes)


def _bar_text(bar: Bar) -> str:
    mark = " *" if bar.weak else ""
    if bar.low is None or bar.high is None:
        return f"{_short(bar.value)}{mark}"
    half_ratio = (bar.high - bar.low) / 2 / bar.value
    return f"{_short(bar.value)} ±{half_ratio * 100:.1f} %{mark}"


def forest(groups: Sequence[ForestGroup], axis_title: str) -> Figure:
    """Ratios with intervals on a logarithmic axis: a line at 1, a diamond-ended tick at each row's threshold."""
    from matplotlib.figure import Figure

    count = sum(len(group.rows) + 1 for group in groups)
    head_in, foot_in = 0.12, 0.62
    total_in = head_in + foot_in + _ROW_IN * count
    labels_in = _label_column_in([row.label for group in groups for row in group.rows])
    right_in = 1.55
    figure = Figure(figsize=(PAGE_WIDTH_IN, total_in))
    axes = figure.add_axes(
        (
            labels_in / PAGE_WIDTH_IN,
            foot_in / total_in,
            (PAGE_WIDTH_IN - labels_in - right_in) / PAGE_WIDTH_IN,
            (_ROW_IN * count) / total_in,
        )
    )
    _forest_axis(axes, groups, axis_title)
    position, ticks, labels = 0, [], []
    for group in groups:
        axes.annotate(
            group.title, (0, position), xycoords=("figure fraction", "data"), xytext=(6, 0),
            textcoords="offset points", weight="bold", size=10, va="center",
        )  # fmt: skip
        for row in group.rows:
            position += 1
            ticks.append(position)
            labels.append(row.label)
            _draw_ratio(axes, position, row)
        position += 1
    axes.set_yticks(ticks, labels)
    axes.set_ylim(count - 0.4, -0.6)
    return figure


def _forest_axis(axes: Axes, groups: Sequence[ForestGroup], axis_title: str) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    rows = [row for group in groups for row in group.rows]
    least = min([1.0, *(min(row.low or row.value, row.threshold or 1.0) for row in rows)]) / 1.06
    greatest = max([1.0, *(max(row.high or row.value, row.threshold or 1.0) for row in rows)]) * 1.06
    axes.set_xscale("log")
    axes.set_xlim(least, greatest)
    axes.xaxis.set_major_locator(FixedLocator(_ratio_ticks(least, greatest)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:.3g}×")
    axes.set_xlabel(axis_title, color=MUTED, size=9.5)
    axes.tick_params(axis="x", colors=MUTED)
    strip_frame(axes)
    axes.axvline(1.0, color=INK, linewidth=1.1)


def _draw_ratio(axes: Axes, position: int, row: ForestRow) -> None:
    alpha = 0.5 if row.weak else 1.0
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [position] * 2, color=row.color, linewidth=3, alpha=alpha, solid_capstyle="butt")
    axes.plot(row.value, position, "o", color=row.color, markeredgecolor=PAPER, markersize=8.5, alpha=alpha)
    if row.threshold is not None:
        axes.plot(
            [row.threshold] * 2, [position - 0.42, position + 0.42], color=MUTED, linewidth=1.6, linestyle=(0, (2, 1))
        )
    interval = "" if row.low is None or row.high is None else f"  [{row.low:.2f}, {row.high:.2f}]"
    axes.annotate(
        f"{row.value:.2f}×{interval}{' *' if row.weak else ''}",
        (1, position),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        size=9.5,
    )
    axes.axhline(position + 0.5, color=GRID, linewidth=0.5)


def _ratio_ticks(least: float, greatest: float) -> list[float]:
    """Round ratios inside the axis, at most eight of them."""
    span = math.log(greatest / least)
    if span < math.log(4):
        step = next(step for step in (0.02, 0.05, 0.1, 0.2, 0.25, 0.5) if (greatest - least) / step <= 7)
        first, last = math.ceil(least / step), math.floor(greatest / step)
        return [round(number * step, 4) for number in range(first, last + 1)]
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(greatest)) + 1)
    mantissas = (1, 2, 5) if span < math.log(1000) else (1,)
    return [m * 10.0**p for p in powers for m in mantissas if least <= m * 10.0**p <= greatest]


def _label_column_in(labels: Sequence[str]) -> float:
    least, greatest = _LABELS_IN
    return min(greatest, max(least, 0.25 + _CHARACTER_IN * max(len(label) for label in labels)))


def _short(value: float, _position: float = 0) -> str:
    """Three significant digits and an SI prefix, without a unit: the axis names it."""
    for factor, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"

"""The drawings every report has: throughput bars and the ratio forest. Plain data in, a matplotlib figure out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.records import Origin
from rtxbench.report.drawing.canvas import Sheet, label_column_in, round_ticks, short_number
from rtxbench.report.drawing.style import GRID, INK, MUTED, ORIGIN_BARS, PAGE_WIDTH_IN, PAPER
from rtxbench.report.labels import ratio_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Bar", "ForestGroup", "ForestRow", "Panel", "forest", "throughput_bars"]

_ROW_IN: Final = 0.28
_HEAD_IN: Final = 0.34
_FOOT_IN: Final = 0.42
_VALUE_IN: Final = 1.45
"""Room right of the longest bar for its value."""
_WIDEST: Final = 1.35
"""An interval is drawn up to this multiple of the longest bar; beyond, an arrow says that it goes on."""
_RATIO_REACH: Final = 1.6
"""Likewise for ratios: beyond this factor from the outermost point."""


class Bar(NamedTuple):
    """One measured value with its interval, in the panel's unit."""

    label: str
    value: float
    low: float | None
    high: float | None
    color: str
    origin: Origin = "measured"
    marked: bool = False
    """Marked with *: something weakens it."""
    weak: bool = False
    """Drawn pale: no verdict could rest on it."""


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
    marked: bool = False
    weak: bool = False


class ForestGroup(NamedTuple):
    """Ratios of one kind, under one heading."""

    title: str
    rows: tuple[ForestRow, ...]


def throughput_bars(panels: Sequence[Panel]) -> Figure:
    """Horizontal bars, one panel per workload, each with its own axis from zero, value and interval written out."""
    left = label_column_in([bar.label for panel in panels for bar in panel.bars])
    sheet = Sheet(sum(_HEAD_IN + _FOOT_IN + _ROW_IN * len(panel.bars) for panel in panels) + 0.05)
    top = 0.0
    for panel in panels:
        sheet.text(0.08, top + 0.17, panel.title, size=11, weight="bold", room=PAGE_WIDTH_IN - 0.4)
        _draw_panel(sheet, panel, left, top + _HEAD_IN)
        top += _HEAD_IN + _FOOT_IN + _ROW_IN * len(panel.bars)
    return sheet.figure


def _draw_panel(sheet: Sheet, panel: Panel, left: float, top: float) -> None:
    """Grid, bars and axis of one panel whose rows start at ``top``."""
    longest = max(bar.value for bar in panel.bars)
    furthest = min(longest * _WIDEST, max(bar.high or bar.value for bar in panel.bars))
    width = PAGE_WIDTH_IN - left - _VALUE_IN
    bottom = top + _ROW_IN * len(panel.bars)
    scale = width / furthest
    ticks = round_ticks(furthest * 1.12)
    sheet.lines([(left + tick * scale, top, left + tick * scale, bottom) for tick in ticks], GRID, 0.8)
    for tick in ticks:
        sheet.text(left + tick * scale, bottom + 0.1, short_number(tick), align="center", size=8.5, color=MUTED)
    sheet.text(PAGE_WIDTH_IN - 0.1, bottom + 0.1, panel.unit, align="right", size=8.5, color=MUTED)
    for row, bar in enumerate(panel.bars):
        _draw_bar(sheet, bar, left, top + row * _ROW_IN, scale)


def _draw_bar(sheet: Sheet, bar: Bar, left: float, top: float, scale: float) -> None:
    style = dict(ORIGIN_BARS[bar.origin])
    if bar.weak:
        style["alpha"] = 0.45
    middle = top + _ROW_IN / 2
    sheet.text(left - 0.08, middle, bar.label, align="right", room=left - 0.1)
    sheet.bar(left, top + 0.045, bar.value * scale, _ROW_IN - 0.09, bar.color, **style)
    end = left + bar.value * scale
    if bar.low is not None and bar.high is not None:
        right = PAGE_WIDTH_IN - _VALUE_IN
        low, end = left + max(0.0, bar.low) * scale, min(right, left + bar.high * scale)
        caps = [
            (low, middle - 0.04, low, middle + 0.04),
            *_end_cap(end, middle, cut=left + bar.high * scale > right + 1e-6),
        ]
        sheet.lines([(low, middle, end, middle), *caps], INK, 1.2)
    sheet.text(end + 0.08, middle, _bar_text(bar))


def _end_cap(x: float, middle: float, *, cut: bool, reach: float = 0.04) -> list[tuple[float, float, float, float]]:
    """A cap across the end of an interval; an arrow head where the interval goes on beyond the drawing."""
    if not cut:
        return [(x, middle - 0.04, x, middle + 0.04)]
    return [(x - reach, middle - 0.04, x, middle), (x - reach, middle + 0.04, x, middle)]


def _bar_text(bar: Bar) -> str:
    mark = (" *" if bar.marked else "") + ("" if bar.origin == "measured" else f" ({bar.origin})")
    if bar.low is None or bar.high is None:
        return f"{short_number(bar.value, padded=True)}{mark}"
    half_ratio = (bar.high - bar.low) / 2 / bar.value
    return f"{short_number(bar.value, padded=True)} ±{half_ratio * 100:.1f} %{mark}"


class _RatioAxis(NamedTuple):
    """A logarithmic axis on the sheet: ``left`` and ``right`` in inches hold ``least`` to ``greatest``."""

    left: float
    right: float
    least: float
    greatest: float

    def at(self, ratio: float) -> float:
        """Locate ``ratio``, inches."""
        share = math.log(ratio / self.least) / math.log(self.greatest / self.least)
        return self.left + (self.right - self.left) * share


def forest(groups: Sequence[ForestGroup], axis_title: str) -> Figure:
    """Ratios with intervals on a logarithmic axis: a solid line at 1, a dashed mark at each row's threshold."""
    rows = [row for group in groups for row in group.rows]
    axis = _RatioAxis(label_column_in([row.label for row in rows]), PAGE_WIDTH_IN - 1.65, *_domain(rows))
    ticks = _ratio_ticks(axis.least, axis.greatest)
    sheet = Sheet(0.08 + _ROW_IN * len(rows) + _HEAD_IN * len(groups) + 0.5)
    top = 0.08
    for group in groups:
        sheet.text(0.08, top + 0.2, group.title, weight="bold", size=10, room=PAGE_WIDTH_IN - 0.4)
        top += _HEAD_IN
        bottom = top + _ROW_IN * len(group.rows)
        sheet.lines([(axis.at(tick), top, axis.at(tick), bottom) for tick in ticks], GRID, 0.8)
        sheet.lines([(axis.at(1.0), top, axis.at(1.0), bottom)], INK, 1.1)
        for number, row in enumerate(group.rows):
            _draw_ratio(sheet, axis, row, top + (number + 0.5) * _ROW_IN)
        top = bottom
    for tick in ticks:
        sheet.text(axis.at(tick), top + 0.12, f"{tick:.3g}×", align="center", size=8.5, color=MUTED)
    sheet.text((axis.left + axis.right) / 2, top + 0.33, axis_title, align="center", size=8.5, color=MUTED)
    return sheet.figure


def _domain(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """The axis: every point and threshold, and intervals as far as `_RATIO_REACH` beyond the points."""
    points = [mark for row in rows for mark in (row.value, row.threshold, 1.0) if mark is not None and mark > 0]
    ends = [end for row in rows for end in (row.low, row.high) if end is not None and end > 0]
    least = max(min([*points, *ends]), min(points) / _RATIO_REACH)
    greatest = min(max([*points, *ends]), max(points) * _RATIO_REACH)
    return least / 1.04, greatest * 1.04


def _draw_ratio(sheet: Sheet, axis: _RatioAxis, row: ForestRow, middle: float) -> None:
    alpha = 0.45 if row.weak else 1.0
    sheet.text(axis.left - 0.12, middle, row.label, align="right", room=axis.left - 0.14)
    if row.threshold is not None:
        x = axis.at(row.threshold)
        sheet.lines([(x, middle - _ROW_IN / 2, x, middle + _ROW_IN / 2)], INK, 1.3, linestyle=(0, (3, 2)))
    if row.low is not None and row.high is not None:
        _draw_interval(sheet, axis, row, middle)
    sheet.dot(axis.at(row.value), middle, 0.045, row.color, alpha=alpha, edgecolor=PAPER)
    sheet.text(axis.right + 0.14, middle, ratio_text(row.value, row.low, row.high) + (" *" if row.marked else ""))


def _draw_interval(sheet: Sheet, axis: _RatioAxis, row: ForestRow, middle: float) -> None:
    """The interval as a bar inside the axis, with an arrow head at a side where it goes on."""
    assert row.low is not None
    assert row.high is not None
    low = axis.at(row.low) if row.low > axis.least else axis.left
    high = axis.at(row.high) if row.high < axis.greatest else axis.right
    sheet.bar(low, middle - 0.035, high - low, 0.07, row.color, alpha=0.25 if row.weak else 0.55)
    if row.low <= axis.least:
        sheet.lines(_end_cap(low, middle, cut=True, reach=-0.06), row.color, 1.4)
    if row.high >= axis.greatest:
        sheet.lines(_end_cap(high, middle, cut=True, reach=0.06), row.color, 1.4)


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

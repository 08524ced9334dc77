"""Drawings of the purchase section: dots per card, break-even curves, the fit matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.records import Origin
from rtxbench.report.drawing.canvas import Sheet, round_ticks, text_width_in
from rtxbench.report.drawing.style import GRID, INK, MUTED, PAGE_WIDTH_IN, PAPER, SERIES_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Curve", "Dot", "DotColumn", "FitCell", "break_even_curves", "card_dots", "fit_matrix"]

GROUP_COLORS: Final[Mapping[str, str]] = {
    "GeForce RTX 30": SERIES_COLORS[0],
    "GeForce RTX 40": SERIES_COLORS[1],
    "GeForce RTX 50": SERIES_COLORS[2],
    "GeForce RTX 20": SERIES_COLORS[3],
    "workstation": SERIES_COLORS[6],
    "your machine": SERIES_COLORS[5],
}
"""A test holds the generations far apart, as the page shows them on light and on dark paper."""
_ORIGINS: Final[Mapping[Origin, str]] = {
    "measured": "measured",
    "published": "published",
    "predicted": "predicted, 90 % range",
}
_FIT_COLORS: Final[Mapping[str, str]] = {"fits": "#009e73", "tight": "#e0b040", "no": GRID}
_FIT_INK: Final[Mapping[str, str]] = {"fits": PAPER, "tight": INK, "no": MUTED}
_FIT_LEGEND: Final[Mapping[str, str]] = {
    "fits": "fits; largest batch",
    "tight": "tight",
    "no": "does not fit at batch 1",
}
_ROW_IN: Final = 0.235
_LEGEND_ROW_IN: Final = 0.2
_DOT_IN: Final = 0.046
"""Radius of a dot."""


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
    """The fit of one model in one memory size: ``fits``, ``tight`` or ``no``, and the largest batch."""

    state: str
    largest_batch: int


class _Entry(NamedTuple):
    """One entry of a legend: its words, and what draws its mark with the left end at (x, y)."""

    label: str
    draw: Callable[[Sheet, float, float], None]


class _Area(NamedTuple):
    """The place of one column of dots on the sheet, in inches, and what its right edge stands for."""

    left: float
    top: float
    width: float
    bottom: float
    limit: float

    def at(self, value: float) -> float:
        """Locate ``value``, inches; the axis starts at zero."""
        return self.left + self.width * value / self.limit


def card_dots(rows: Sequence[tuple[str, str]], columns: Sequence[DotColumn]) -> Figure:
    """Cards as rows, one column of dots per quantity on axes of their own from zero.

    Args:
        rows: (card, row of `GROUP_COLORS`), best first.
        columns: a dot per row each. Filled: published; hollow: predicted, with its range; diamond: measured.
    """
    labels_in, gap_in = 1.75, 0.3
    legend = _legend_lines(_dot_entries(rows, columns))
    top = 0.12 + _LEGEND_ROW_IN * len(legend) + 0.34
    sheet = Sheet(top + _ROW_IN * len(rows) + 0.46)
    _draw_legend(sheet, legend, 0.06)
    for number, (name, _) in enumerate(rows):
        sheet.text(labels_in - 0.1, top + (number + 0.5) * _ROW_IN, name, align="right", size=9)
    width = (PAGE_WIDTH_IN - labels_in - 0.15 - gap_in * (len(columns) - 1)) / len(columns)
    for number, column in enumerate(columns):
        limit = 1.06 * max((dot.high or dot.value or 0 for dot in column.dots), default=0) or 1.0
        left = labels_in + number * (width + gap_in)
        _draw_column(sheet, _Area(left, top, width, top + _ROW_IN * len(rows), limit), rows, column)
    return sheet.figure


def _draw_column(sheet: Sheet, area: _Area, rows: Sequence[tuple[str, str]], column: DotColumn) -> None:
    """Title, grid, ranges and dots of one quantity."""
    sheet.text(area.left, area.top - 0.16, column.title, weight="bold", size=10)
    ticks = round_ticks(area.limit)
    middles = [area.top + (number + 0.5) * _ROW_IN for number in range(len(rows))]
    sheet.lines([(area.left, y, area.left + area.width, y) for y in middles], GRID, 0.5)
    sheet.lines([(area.at(tick), area.top, area.at(tick), area.bottom) for tick in ticks], GRID, 0.8)
    for tick in ticks:
        sheet.text(area.at(tick), area.bottom + 0.12, f"{tick:g}", align="center", size=9, color=MUTED)
    sheet.text(area.left + area.width / 2, area.bottom + 0.31, column.unit, align="center", color=MUTED)
    placed = [(y, dot, group) for y, (_, group), dot in zip(middles, rows, column.dots, strict=True)]
    for group, color in GROUP_COLORS.items():
        own = [(y, dot) for y, dot, its in placed if its == group]
        ranges = [(area.at(d.low), y, area.at(d.high), y) for y, d in own if d.low is not None and d.high is not None]
        sheet.lines(ranges, color, 2, alpha=0.45)
        for y, dot in own:
            if dot.value is not None:
                _draw_mark(sheet, area.at(dot.value), y, color, dot.origin)


def _draw_mark(sheet: Sheet, x: float, y: float, color: str, origin: Origin) -> None:
    """Filled: published; hollow: predicted; diamond: measured."""
    if origin == "measured":
        reach = 1.35 * _DOT_IN
        sheet.area([(x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)], color)
    elif origin == "published":
        sheet.dot(x, y, _DOT_IN + 0.01, color)
    else:
        sheet.dot(x, y, _DOT_IN, PAPER, edgecolor=color, linewidth=1.6)


def _dot_entries(rows: Sequence[tuple[str, str]], columns: Sequence[DotColumn]) -> list[_Entry]:
    """Legend of the groups and origins that occur."""
    shown = {dot.origin for column in columns for dot in column.dots if dot.value is not None}
    groups = {group for _, group in rows}
    return [
        *(_Entry(name, partial(_swatch, color)) for name, color in GROUP_COLORS.items() if name in groups),
        *(_Entry(words, partial(_sample, origin)) for origin, words in _ORIGINS.items() if origin in shown),
    ]


def _swatch(color: str, sheet: Sheet, x: float, y: float) -> None:
    sheet.bar(x, y - 0.04, 0.16, 0.08, color)


def _sample(origin: Origin, sheet: Sheet, x: float, y: float) -> None:
    _draw_mark(sheet, x + 0.08, y, INK, origin)


def _legend_lines(entries: Sequence[_Entry]) -> list[list[tuple[float, _Entry]]]:
    """Entries with their distance from the left edge, in as many lines as the page's width asks for."""
    lines: list[list[tuple[float, _Entry]]] = [[]]
    x = 0.08
    for entry in entries:
        needs = 0.22 + text_width_in(entry.label, 9)
        if x + needs > PAGE_WIDTH_IN and lines[-1]:
            lines.append([])
            x = 0.08
        lines[-1].append((x, entry))
        x += needs + 0.1
    return lines


def _draw_legend(sheet: Sheet, lines: Sequence[Sequence[tuple[float, _Entry]]], top: float) -> None:
    for number, line in enumerate(lines):
        middle = top + (number + 0.5) * _LEGEND_ROW_IN
        for x, entry in line:
            entry.draw(sheet, x, middle)
            sheet.text(x + 0.22, middle, entry.label, size=9)


_CURVE_TICKS_H: Final = (0.5, 1, 2, 4, 8, 16, 24)
_CURVES_LEFT_IN: Final = 0.76
_CURVES_RIGHT_IN: Final = 5.55
_CURVES_TOP_IN: Final = 0.36
_CURVES_BOTTOM_IN: Final = 3.1
_END_LABEL_IN: Final = 0.2
"""Least distance of two names at the lines' ends."""


def break_even_curves(curves: Sequence[Curve], currency: str, unit: str) -> Figure:
    """Draw how much dearer a million examples are than on the cheapest card of that hour, against hours a day."""
    sheet = Sheet(3.6)
    hours = curves[0].hours
    cheapest = [min(curve.cost[i] for curve in curves) for i in range(len(hours))]
    above = [[100 * (c / least - 1) for c, least in zip(curve.cost, cheapest, strict=True)] for curve in curves]
    highest = 1.05 * max(max(percent) for percent in above) or 1.0

    def x_at(hour: float) -> float:
        share = math.log(hour / _CURVE_TICKS_H[0]) / math.log(_CURVE_TICKS_H[-1] / _CURVE_TICKS_H[0])
        return _CURVES_LEFT_IN + (_CURVES_RIGHT_IN - _CURVES_LEFT_IN) * share

    def y_at(percent: float) -> float:
        return _CURVES_BOTTOM_IN - (_CURVES_BOTTOM_IN - _CURVES_TOP_IN) * percent / highest

    sheet.text(
        _CURVES_LEFT_IN, 0.16, f"{currency} per million {unit}, above the cheapest of these cards", weight="bold"
    )
    for tick in round_ticks(highest, 7):
        sheet.lines([(_CURVES_LEFT_IN, y_at(tick), _CURVES_RIGHT_IN, y_at(tick))], GRID, 0.8)
        name = f"+{tick:g} %" if tick else "cheapest"
        sheet.text(_CURVES_LEFT_IN - 0.08, y_at(tick), name, align="right", size=9)
    for hour in _CURVE_TICKS_H:
        sheet.text(x_at(hour), _CURVES_BOTTOM_IN + 0.14, f"{hour:g}", align="center", size=9)
    middle = (_CURVES_LEFT_IN + _CURVES_RIGHT_IN) / 2
    sheet.text(middle, _CURVES_BOTTOM_IN + 0.35, "hours of training a day (logarithmic)", align="center", color=MUTED)
    for color, curve, percents in zip(SERIES_COLORS, curves, above, strict=False):
        style = (0, (4, 2)) if curve.origin == "predicted" else "-"
        points = [(x_at(hour), y_at(percent)) for hour, percent in zip(hours, percents, strict=True)]
        sheet.line(points, color, 2, linestyle=style)
    _name_ends(sheet, [curve.label for curve in curves], [y_at(percents[-1]) for percents in above])
    return sheet.figure


def _name_ends(sheet: Sheet, labels: Sequence[str], ends: Sequence[float]) -> None:
    """Name each line at its right end, pushed apart where lines meet, in the order they end."""
    lowest = math.inf
    for number in sorted(range(len(labels)), key=lambda n: -ends[n]):
        lowest = min(ends[number], lowest - _END_LABEL_IN)
        color = SERIES_COLORS[number]
        sheet.lines([(_CURVES_RIGHT_IN + 0.03, ends[number], _CURVES_RIGHT_IN + 0.24, lowest)], color, 0.8)
        sheet.text(_CURVES_RIGHT_IN + 0.28, lowest, labels[number], color=color)


def fit_matrix(models: Sequence[str], memories_gb: Sequence[int], cells: Sequence[Sequence[FitCell]]) -> Figure:
    """Models as rows, memory sizes as columns; the cell says fits, tight or no, and the largest batch that fits."""
    head_in, labels_in, row_in = 0.66, 2.35, 0.27
    width = (PAGE_WIDTH_IN - labels_in - 0.1) / len(memories_gb)
    sheet = Sheet(head_in + row_in * len(models) + 0.1)
    entries = [_Entry(words, partial(_swatch, _FIT_COLORS[state])) for state, words in _FIT_LEGEND.items()]
    _draw_legend(sheet, _legend_lines(entries), 0.06)
    for column, size in enumerate(memories_gb):
        sheet.text(labels_in + (column + 0.5) * width, head_in - 0.13, f"{size} GB", align="center")
    for row, (model, line) in enumerate(zip(models, cells, strict=True)):
        middle = head_in + (row + 0.5) * row_in
        sheet.text(labels_in - 0.1, middle, model, align="right", room=labels_in - 0.12)
        for column, cell in enumerate(line):
            left = labels_in + column * width
            sheet.bar(left + 0.02, middle - 0.44 * row_in, width - 0.04, 0.88 * row_in, _FIT_COLORS[cell.state])
            ink = _FIT_INK[cell.state]
            sheet.text(left + width / 2, middle, _fit_text(cell), align="center", size=9, color=ink)
    return sheet.figure


def _fit_text(cell: FitCell) -> str:
    return {"fits": f"≤ {cell.largest_batch}", "tight": "tight", "no": "no"}[cell.state]

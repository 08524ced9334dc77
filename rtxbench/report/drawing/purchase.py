"""Drawings of the purchase section: dots per card, break-even curves, the fit matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.records import Origin
from rtxbench.report.drawing.canvas import Marker, Sheet, legend_height_in
from rtxbench.report.drawing.panel import Panel, chart, linear_scale, log_scale, name_scale, names_width_in
from rtxbench.report.drawing.placing import Box
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
_ORIGIN_MARKS: Final[Mapping[Origin, Marker]] = {
    "measured": Marker(INK, "diamond"),
    "published": Marker(INK),
    "predicted": Marker(INK, hollow=True),
}
"""Told apart by shape and filling; the colour is the generation's."""
_FIT_MARKS: Final[Mapping[str, Marker]] = {
    "fits": Marker(SERIES_COLORS[2], "bar"),
    "tight": Marker(SERIES_COLORS[1], "bar", hollow=True),
    "no": Marker(GRID, "bar"),
}
_FIT_INK: Final[Mapping[str, str]] = {"fits": PAPER, "tight": INK, "no": MUTED}
_FIT_LEGEND: Final[Mapping[str, str]] = {
    "fits": "fits; largest batch",
    "tight": "tight",
    "no": "does not fit at batch 1",
}
_ROW_IN: Final = 0.24


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


def card_dots(rows: Sequence[tuple[str, str]], columns: Sequence[DotColumn]) -> Figure:
    """Cards as rows, one panel of dots per quantity, each from zero.

    Args:
        rows: (card, row of `GROUP_COLORS`), best first.
        columns: a dot per row each. Filled: published; hollow: predicted, with its range; diamond: measured.
    """
    cards = name_scale([name for name, _ in rows], downwards=True)
    labels_in, gap_in = names_width_in(cards), 0.3
    legend = _dot_legend(rows, columns)
    top = legend_height_in(legend) + 0.34
    sheet = Sheet(top + _ROW_IN * len(rows) + 0.46)
    sheet.legend(legend)
    width = (PAGE_WIDTH_IN - labels_in - 0.15 - gap_in * (len(columns) - 1)) / len(columns)
    for number, column in enumerate(columns):
        limit = 1.06 * max((dot.high or dot.value or 0 for dot in column.dots), default=0) or 1.0
        left = labels_in + number * (width + gap_in)
        box = Box(left, top, left + width, top + _ROW_IN * len(rows))
        panel = Panel(sheet, box, linear_scale(0, limit), cards)
        panel.frame("xy", title=column.title, axis=column.unit, rows_named=number == 0)
        _draw_dots(panel, rows, column)
    return sheet.figure


def _draw_dots(panel: Panel, rows: Sequence[tuple[str, str]], column: DotColumn) -> None:
    """Draw the ranges, and the dots on them, of one quantity."""
    for group, color in GROUP_COLORS.items():
        own = [(place, dot) for place, dot in enumerate(column.dots) if rows[place][1] == group]
        panel.intervals(
            [(dot.low, place, dot.high, place) for place, dot in own if dot.low is not None and dot.high is not None],
            color,
        )
        for place, dot in own:
            if dot.value is not None:
                panel.marks([(dot.value, place)], _ORIGIN_MARKS[dot.origin]._replace(color=color))


def _dot_legend(rows: Sequence[tuple[str, str]], columns: Sequence[DotColumn]) -> list[tuple[str, Marker]]:
    """Legend of the groups and origins that occur."""
    shown = {dot.origin for column in columns for dot in column.dots if dot.value is not None}
    groups = {group for _, group in rows}
    return [
        *((name, Marker(color, "bar")) for name, color in GROUP_COLORS.items() if name in groups),
        *((words, _ORIGIN_MARKS[origin]) for origin, words in _ORIGINS.items() if origin in shown),
    ]


_CURVE_TICKS_H: Final = (0.5, 1, 2, 4, 8, 16, 24)
_END_LABEL_IN: Final = 0.2
"""Least distance of two names at the lines' ends."""


def break_even_curves(curves: Sequence[Curve], currency: str, unit: str) -> Figure:
    """Draw how much dearer a million examples are than on the cheapest card of that hour, against hours a day."""
    cheapest = [min(costs) for costs in zip(*(curve.cost for curve in curves), strict=True)]
    above = [[100 * (c / least - 1) for c, least in zip(curve.cost, cheapest, strict=True)] for curve in curves]
    highest = 1.05 * max(max(percent) for percent in above) or 1.0
    panel = chart(
        2.74,
        log_scale(_CURVE_TICKS_H[0], _CURVE_TICKS_H[-1], ticks=_CURVE_TICKS_H),
        linear_scale(0, highest, count=7, text=lambda tick: f"+{tick:g} %" if tick else "cheapest"),
        "y",
        title=f"{currency} per million {unit}, above the cheapest of these cards",
        axis="hours of training a day (logarithmic)",
        right_in=2.05,
    )
    for color, curve, percents in zip(SERIES_COLORS, curves, above, strict=False):
        panel.line(zip(curve.hours, percents, strict=True), color, dashed=curve.origin == "predicted")
    ends = [panel.at(curves[0].hours[-1], percents[-1])[1] for percents in above]
    _name_ends(panel, [curve.label for curve in curves], ends)
    return panel.sheet.figure


def _name_ends(panel: Panel, labels: Sequence[str], ends: Sequence[float]) -> None:
    """Name each line at its right end, pushed apart where lines meet, in the order they end."""
    lowest, right = math.inf, panel.box.right
    for number in sorted(range(len(labels)), key=lambda n: -ends[n]):
        lowest = min(ends[number], lowest - _END_LABEL_IN)
        color = SERIES_COLORS[number]
        panel.sheet.lines([(right + 0.03, ends[number], right + 0.24, lowest)], color)
        panel.sheet.text(right + 0.28, lowest, labels[number], color=color)


def fit_matrix(models: Sequence[str], memories_gb: Sequence[int], cells: Sequence[Sequence[FitCell]]) -> Figure:
    """Models as rows, memory sizes as columns; the cell says fits, tight or no, and the largest batch that fits."""
    labels_in = 2.35
    legend = [(words, _FIT_MARKS[state]) for state, words in _FIT_LEGEND.items()]
    head_in = legend_height_in(legend) + 0.36
    width = (PAGE_WIDTH_IN - labels_in - 0.1) / len(memories_gb)
    sheet = Sheet(head_in + _ROW_IN * len(models) + 0.1)
    sheet.legend(legend)
    for column, size in enumerate(memories_gb):
        sheet.text(labels_in + (column + 0.5) * width, head_in - 0.13, f"{size} GB", align="center", color=MUTED)
    for row, (model, line) in enumerate(zip(models, cells, strict=True)):
        middle = head_in + (row + 0.5) * _ROW_IN
        sheet.text(labels_in - 0.1, middle, model, align="right", room=labels_in - 0.12)
        for column, cell in enumerate(line):
            left = labels_in + column * width
            box = Box(left + 0.02, middle - 0.44 * _ROW_IN, left + width - 0.02, middle + 0.44 * _ROW_IN)
            sheet.cell(box, _FIT_MARKS[cell.state])
            sheet.text(left + width / 2, middle, _fit_text(cell), align="center", color=_FIT_INK[cell.state])
    return sheet.figure


def _fit_text(cell: FitCell) -> str:
    return {"fits": f"≤ {cell.largest_batch}", "tight": "tight", "no": "no"}[cell.state]

"""Axes on a sheet: scales say what the ends of a panel stand for, and a `Panel` places values between them.

What is drawn *in* a panel is said in values; what stands around it (grid, names of ticks, title, legend) looks the same
in every figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from rtxbench.report.drawing.canvas import Marker, Sheet, legend_height_in, text_width_in
from rtxbench.report.drawing.placing import Box
from rtxbench.report.drawing.style import GRID, GRID_PT, INK, INTERVAL_PT, LINE_PT, MUTED, PAGE_WIDTH_IN

__all__ = ["Panel", "Scale", "chart", "linear_scale", "log_scale", "name_scale", "names_width_in"]

_TITLE_IN: Final = 0.3
"""Room of the title above a panel."""
_TICKS_IN: Final = 0.26
_AXIS_IN: Final = 0.2
_MOST_LEFT_IN: Final = 2.4
_MANTISSAS: Final[tuple[tuple[float, ...], ...]] = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1,))
"""Sets of round numbers within a decade, the densest first."""


class Scale(NamedTuple):
    """Values at the two ends of an axis (the first at the left or at the bottom), and those named along it."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Place a value, 0 at the first end to 1 at the last."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _number(value: float) -> str:
    return f"{value:,g}".replace("-", "−")


def linear_scale(low: float, high: float, *, count: int = 6, text: Callable[[float], str] = _number) -> Scale:
    """Make a scale with at most about ``count`` round numbers on it."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(count, steps=[1, 2, 5, 10]).tick_values(low, high)
    return Scale(low, high, tuple((float(tick), text(float(tick))) for tick in ticks if low <= tick <= high))


def log_scale(
    low: float,
    high: float,
    *,
    ticks: Sequence[float] = (),
    count: int = 10,
    text: Callable[[float], str] = _number,
) -> Scale:
    """Make a logarithmic scale of these ``ticks``, or of as many round numbers as ``count`` allows."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sets = [[m * 10.0**decade for decade in decades for m in mantissas] for mantissas in _MANTISSAS]
    inside = [[value for value in values if low <= value <= high] for values in (sets if not ticks else [ticks])]
    chosen = next((values for values in inside if len(values) <= count), inside[-1])
    chosen = chosen[:: max(1, math.ceil(len(chosen) / count))]
    return Scale(low, high, tuple((value, text(value)) for value in chosen), logarithmic=True)


def name_scale(names: Sequence[str], *, downwards: bool = False) -> Scale:
    """Make a scale of whole numbers from 0, one per name; ``downwards`` for rows, the first on top."""
    low, high = -0.5, len(names) - 0.5
    return Scale(*((high, low) if downwards else (low, high)), tuple(enumerate(names)))


def names_width_in(scale: Scale) -> float:
    """Room that the names of a vertical scale need left of a panel, inches; longer ones are cut in their middle."""
    return min(_MOST_LEFT_IN, 0.16 + max((text_width_in(name) for _, name in scale.ticks), default=0.0))


class Panel:
    """A rectangle of a sheet on which values have their places: ``x`` on one scale to the right, ``y`` upwards."""

    def __init__(self, sheet: Sheet, box: Box, x_scale: Scale, y_scale: Scale) -> None:
        self.sheet, self.box = sheet, box
        self._x, self._y = x_scale, y_scale

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Locate a pair of values on the sheet, inches."""
        box = self.box
        return (
            box.left + (box.right - box.left) * self._x.share(x),
            box.bottom - (box.bottom - box.top) * self._y.share(y),
        )

    def frame(self, grid: Literal["x", "y", "xy"], *, title: str = "", axis: str = "", rows_named: bool = True) -> None:
        """Draw what stands around the values: the grid at the ticks of these scales, the ticks' names, title and axis.

        Args:
            grid: scales whose ticks are grid lines.
            title: quantity and unit of the vertical scale, or of the whole panel.
            axis: quantity and unit of the horizontal scale.
            rows_named: whether the vertical scale's ticks are named here; panels side by side share their names.
        """
        box, sheet = self.box, self.sheet
        columns = [(self.at(value, self._y.low)[0], name) for value, name in self._x.ticks]
        rows = [(self.at(self._x.low, value)[1], name) for value, name in self._y.ticks]
        sheet.lines([(box.left, y, box.right, y) for y, _ in rows if "y" in grid], GRID)
        sheet.lines([(x, box.top, x, box.bottom) for x, _ in columns if "x" in grid], GRID)
        for x, name in columns:
            sheet.text(x, box.bottom + 0.13, name, align="center", color=MUTED)
        for y, name in rows if rows_named else ():
            sheet.text(box.left - 0.1, y, name, align="right", color=INK, room=_MOST_LEFT_IN - 0.12)
        sheet.text((box.left + box.right) / 2, box.bottom + 0.32, axis, align="center", color=MUTED)
        sheet.text(box.left, box.top - 0.16, title, bold=True)

    def marks(self, places: Iterable[tuple[float, float]], mark: Marker) -> None:
        """Draw the same mark at each (x, y)."""
        for x, y in places:
            self.sheet.mark(*self.at(x, y), mark)

    def line(self, places: Iterable[tuple[float, float]], color: str, *, dashed: bool = False) -> None:
        """Draw one line through each (x, y)."""
        self.sheet.line([self.at(x, y) for x, y in places], color, dashed=dashed)

    def lines(
        self,
        ends: Iterable[tuple[float, float, float, float]],
        color: str,
        width: float = LINE_PT,
        *,
        dashed: bool = False,
        alpha: float = 1.0,
    ) -> None:
        """Draw straight lines, each (x1, y1, x2, y2)."""
        placed = [(*self.at(a, b), *self.at(c, d)) for a, b, c, d in ends]
        self.sheet.lines(placed, color, width, dashed=dashed, alpha=alpha)

    def intervals(self, ends: Iterable[tuple[float, float, float, float]], color: str) -> None:
        """Draw intervals, each (x1, y1, x2, y2), paler than the marks upon them."""
        self.lines(ends, color, INTERVAL_PT, alpha=0.5)

    def reference(self, *, x: float | None = None, y: float | None = None, color: str = MUTED) -> None:
        """Draw a dashed line through the whole panel, upright at ``x`` or level at ``y``."""
        if x is not None:
            self.lines([(x, self._y.low, x, self._y.high)], color, GRID_PT, dashed=True)
        if y is not None:
            self.lines([(self._x.low, y, self._x.high, y)], color, GRID_PT, dashed=True)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        right: float = 0.0,
        down: float = 0.0,
        align: Literal["left", "right", "center"] = "left",
        color: str = INK,
    ) -> None:
        """Write beside a place, ``right`` and ``down`` of it in inches."""
        left, top = self.at(x, y)
        self.sheet.text(left + right, top + down, text, align=align, color=color)


def chart(
    height_in: float,
    x_scale: Scale,
    y_scale: Scale,
    grid: Literal["x", "y", "xy"],
    *,
    title: str = "",
    axis: str = "",
    legend: Sequence[tuple[str, Marker]] = (),
    right_in: float = 0.2,
) -> Panel:
    """Make a sheet with one framed panel, as wide as the page leaves beside the names of its rows.

    Args:
        height_in: of the panel alone; legend, title and names come on top.
        x_scale: the horizontal one.
        y_scale: the vertical one.
        grid: scales whose ticks are grid lines.
        title: quantity and unit of the vertical scale.
        axis: quantity and unit of the horizontal scale.
        legend: (words, mark) each.
        right_in: room right of the panel.
    """
    left = names_width_in(y_scale)
    top = legend_height_in(legend) + (_TITLE_IN if title else 0.1)
    bottom = top + height_in
    sheet = Sheet(bottom + _TICKS_IN + (_AXIS_IN if axis else 0.0))
    sheet.legend(legend)
    panel = Panel(sheet, Box(left, top, PAGE_WIDTH_IN - right_in, bottom), x_scale, y_scale)
    panel.frame(grid, title=title, axis=axis)
    return panel

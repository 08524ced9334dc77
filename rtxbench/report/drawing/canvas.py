"""A sheet to draw on, in inches from its upper left corner: words, marks, lines, cells and the legend of a figure.

Every figure is drawn on one, most through the `rtxbench.report.drawing.panel.Panel` that places values on it.
matplotlib's own axes cost 50 ms each and every tick's name several more, and they bring a style of their own to undo. A
report of 1,000 records holds a hundred panels; drawn on a sheet they take as long as ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from rtxbench.report.drawing.placing import Box
from rtxbench.report.drawing.style import FONT, GRID_PT, INK, LINE_PT, MARK_IN, PAGE_WIDTH_IN, PAPER, TEXT_PT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Marker", "Shape", "Sheet", "legend_height_in", "short_number", "text_width_in"]

_PREFIXES: Final = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))
_LEGEND_ROW_IN: Final = 0.2
_LEGEND_MARK_IN: Final = 0.22
"""Room of a legend's mark, left of its words."""

Shape = Literal["circle", "diamond", "square", "triangle", "wedge", "tick", "bar", "line"]
_CORNERS: Final[dict[Shape, tuple[tuple[float, float], ...]]] = {
    "diamond": ((-1.3, 0), (0, -1.3), (1.3, 0), (0, 1.3)),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((-1.15, 0.85), (0, -1.15), (1.15, 0.85)),
    "wedge": ((-1.15, -0.85), (0, 1.15), (1.15, -0.85)),
    "tick": ((-0.25, -1.6), (0.25, -1.6), (0.25, 1.6), (-0.25, 1.6)),
    "bar": ((-1.6, -0.8), (1.6, -0.8), (1.6, 0.8), (-1.6, 0.8)),
    "line": ((-2.2, -0.25), (2.2, -0.25), (2.2, 0.25), (-2.2, 0.25)),
}
"""Shapes other than the circle, in radii of a mark, y downwards."""


class Marker(NamedTuple):
    """The sign of one value, and its sample in the legend."""

    color: str
    shape: Shape = "circle"
    hollow: bool = False


class Sheet:
    """A figure of page width and ``height_in``. All lengths are inches; y grows downwards."""

    def __init__(self, height_in: float) -> None:
        from matplotlib.figure import Figure

        self.height_in = height_in
        self._layer = 0
        self.figure: Figure = Figure(figsize=(PAGE_WIDTH_IN, height_in))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        align: Literal["left", "right", "center"] = "left",
        color: str = INK,
        bold: bool = False,
        room: float | None = None,
    ) -> None:
        """Draw one line of text, vertically centred on ``y``; cut in its middle beyond ``room`` inches."""
        shown = text if room is None else _fitted(text, room)
        place: dict[str, Any] = {
            "transform": self.figure.dpi_scale_trans,
            "zorder": 1e6,
            "ha": align,
            "va": "center_baseline",
        }
        weight = "bold" if bold else "normal"
        self.figure.text(x, self.height_in - y, shown, size=TEXT_PT, color=color, weight=weight, **place)

    def mark(self, x: float, y: float, mark: Marker) -> None:
        """Draw a mark centred on (``x``, ``y``)."""
        from matplotlib.patches import Circle

        if mark.shape == "circle":
            radius = MARK_IN if not mark.hollow else 0.85 * MARK_IN  # the edge lies half outside
            self.figure.add_artist(Circle((x, self.height_in - y), radius, **self._look(**_filling(mark))))
        else:
            corners = [(x + MARK_IN * right, y + MARK_IN * down) for right, down in _CORNERS[mark.shape]]
            self.area(corners, **_filling(mark))

    def cell(self, box: Box, mark: Marker) -> None:
        """Draw a rectangle in the colour of a mark, filled or hollow as it is."""
        corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
        self.area(corners, **_filling(mark))

    def lines(
        self,
        segments: Sequence[tuple[float, float, float, float]],
        color: str,
        width: float = GRID_PT,
        *,
        dashed: bool = False,
        alpha: float = 1.0,
    ) -> None:
        """Straight lines, each (x1, y1, x2, y2), ``width`` points wide, as one object."""
        from matplotlib.collections import LineCollection

        if segments:
            paths = [[(x1, self.height_in - y1), (x2, self.height_in - y2)] for x1, y1, x2, y2 in segments]
            look = self._look(color=color, linewidth=width, linestyle=_DASHES[dashed], alpha=alpha)
            self.figure.add_artist(LineCollection(paths, **look))

    def line(
        self, points: Sequence[tuple[float, float]], color: str, width: float = LINE_PT, *, dashed: bool = False
    ) -> None:
        """Draw one line through ``points``, ``width`` points wide."""
        from matplotlib.lines import Line2D

        xs, ys = zip(*points, strict=True)
        look = self._look(color=color, linewidth=width, linestyle=_DASHES[dashed])
        self.figure.add_artist(Line2D(xs, [self.height_in - y for y in ys], **look))

    def area(self, points: Sequence[tuple[float, float]], facecolor: str, **style: Any) -> None:
        """Draw a filled polygon with these corners. ``style``: properties of matplotlib's patch."""
        from matplotlib.patches import Polygon

        corners = [(x, self.height_in - y) for x, y in points]
        self.figure.add_artist(Polygon(corners, **self._look(facecolor=facecolor, **style)))

    def legend(self, entries: Sequence[tuple[str, Marker]], top: float = 0.06) -> None:
        """Draw marks with their words in a row from the left, in as many rows as `legend_height_in` says."""
        for number, row in enumerate(_legend_rows(entries)):
            middle = top + (number + 0.5) * _LEGEND_ROW_IN
            for x, words, mark in row:
                self.mark(x + 0.08, middle, mark)
                self.text(x + _LEGEND_MARK_IN, middle, words)

    def _look(self, **style: Any) -> dict[str, Any]:
        """Artist properties: what is drawn later lies on top, in inches, with ``style`` over all."""
        self._layer += 1
        return {"transform": self.figure.dpi_scale_trans, "zorder": self._layer, "linewidth": 0, **style}


_DASHES: Final[dict[bool, Any]] = {False: "-", True: (0, (4, 2))}


def _filling(mark: Marker) -> dict[str, Any]:
    """Properties of a mark's patch: a hollow one has an edge of its colour, a filled one a fine edge of paper."""
    if mark.hollow:
        return {"facecolor": PAPER, "edgecolor": mark.color, "linewidth": 0.8 * LINE_PT}
    return {"facecolor": mark.color, "edgecolor": PAPER, "linewidth": 0.5}


def legend_height_in(entries: Sequence[tuple[str, Marker]]) -> float:
    """Room that a legend needs, inches, with what keeps it from the drawing; 0 without entries."""
    return len(_legend_rows(entries)) * _LEGEND_ROW_IN + 0.1 if entries else 0.0


def _legend_rows(entries: Sequence[tuple[str, Marker]]) -> list[list[tuple[float, str, Marker]]]:
    """Entries with their distance from the left edge, in as many rows as the page's width asks for."""
    rows: list[list[tuple[float, str, Marker]]] = [[]]
    x = 0.08
    for words, mark in entries:
        needs = _LEGEND_MARK_IN + text_width_in(words)
        if x + needs > PAGE_WIDTH_IN and rows[-1]:
            rows.append([])
            x = 0.08
        rows[-1].append((x, words, mark))
        x += needs + 0.1
    return rows


def _fitted(text: str, room: float) -> str:
    """Cut the middle out of ``text`` where it is too long."""
    shown, count = text, len(text)
    while text_width_in(shown) > room and count > 2:
        count -= 1
        tail = max(1, count // 3)
        shown = f"{text[: count - tail]}…{text[-tail:]}"
    return shown


@cache
def text_width_in(text: str) -> float:
    """Measure a line of text in the figures' font, inches. It is a wide one: the fonts of pages need less room."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=TEXT_PT)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def short_number(value: float, *, padded: bool = False) -> str:
    """Three significant digits (``padded``: always three) and an SI prefix; no unit, since the axis names it."""
    factor, prefix = next((row for row in _PREFIXES if abs(value) >= row[0]), (1.0, ""))
    digits = f"{value / factor:#.3g}".rstrip(".") if padded else f"{value / factor:.3g}"
    return f"{digits}{prefix}"

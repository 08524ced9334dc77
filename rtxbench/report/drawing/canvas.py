"""A figure drawn by hand, in inches from its upper left corner: no axes, no ticks to lay out, so drawn at once.

matplotlib's axes cost 50 ms each and every tick label several more. A report of 1,000 records holds a hundred panels;
drawn on a sheet they take as long as ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from rtxbench.report.drawing.style import INK, PAGE_WIDTH_IN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Sheet", "round_ticks", "short_number", "text_width_in"]

_CHARACTER_IN: Final = 0.073
"""Mean advance of a character of the labels; generous, so that no label is cut."""
_PREFIXES: Final = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))


class Sheet:
    """A figure of page width and ``height_in``. All lengths are inches; y grows downwards."""

    def __init__(self, height_in: float) -> None:
        from matplotlib.figure import Figure

        self.height_in = height_in
        self._layer = 0
        self.figure: Figure = Figure(figsize=(PAGE_WIDTH_IN, height_in))

    def _look(self, **style: Any) -> dict[str, Any]:
        """Artist properties: what is drawn later lies on top, in inches, with ``style`` over all."""
        self._layer += 1
        return {"transform": self.figure.dpi_scale_trans, "zorder": self._layer, "linewidth": 0, **style}

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        align: Literal["left", "right", "center"] = "left",
        size: float = 9.5,
        color: str = INK,
        weight: str = "normal",
        room: float | None = None,
    ) -> None:
        """Draw one line of text, vertically centred on ``y``; cut in its middle beyond ``room`` inches."""
        shown = text if room is None else _fitted(text, room, size)
        place: dict[str, Any] = {
            "transform": self.figure.dpi_scale_trans,
            "zorder": 1e6,
            "ha": align,
            "va": "center_baseline",
        }
        self.figure.text(x, self.height_in - y, shown, size=size, color=color, weight=weight, **place)

    def bar(self, x: float, y: float, width: float, height: float, color: str, **style: Any) -> None:
        """Draw a rectangle from its upper left corner (``x``, ``y``). ``style``: properties of matplotlib's patch."""
        from matplotlib.patches import Rectangle

        corner = (x, self.height_in - y - height)
        look = self._look(facecolor=color, edgecolor=color)
        self.figure.add_artist(Rectangle(corner, width, height, **{**look, **style}))

    def dot(self, x: float, y: float, radius: float, color: str, **style: Any) -> None:
        """Draw a filled circle."""
        from matplotlib.patches import Circle

        self.figure.add_artist(Circle((x, self.height_in - y), radius, **{**self._look(facecolor=color), **style}))

    def lines(
        self, segments: Sequence[tuple[float, float, float, float]], color: str, width: float, **style: Any
    ) -> None:
        """Straight lines, each (x1, y1, x2, y2), ``width`` points wide, as one object."""
        from matplotlib.collections import LineCollection

        if segments:
            paths = [[(x1, self.height_in - y1), (x2, self.height_in - y2)] for x1, y1, x2, y2 in segments]
            look = self._look(color=color, linewidth=width)
            self.figure.add_artist(LineCollection(paths, **{**look, **style}))

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float, **style: Any) -> None:
        """Draw one line through ``points``, ``width`` points wide."""
        from matplotlib.lines import Line2D

        xs, ys = zip(*points, strict=True)
        look = self._look(color=color, linewidth=width)
        self.figure.add_artist(Line2D(xs, [self.height_in - y for y in ys], **{**look, **style}))

    def area(self, points: Sequence[tuple[float, float]], color: str, **style: Any) -> None:
        """Draw a filled polygon with these corners."""
        from matplotlib.patches import Polygon

        corners = [(x, self.height_in - y) for x, y in points]
        self.figure.add_artist(Polygon(corners, **{**self._look(facecolor=color), **style}))


def _fitted(text: str, room: float, size: float) -> str:
    """Cut the middle out of ``text`` where it is too long."""
    count = int(room / (_CHARACTER_IN * size / 9.5))
    if len(text) <= count:
        return text
    tail = max(1, count // 3)
    return f"{text[: max(1, count - tail - 1)]}…{text[-tail:]}"


def text_width_in(text: str, size: float = 9.5) -> float:
    """Room a line of text needs, inches: generous, so that nothing meets what stands beside it."""
    return len(text) * _CHARACTER_IN * size / 9.5


def round_ticks(highest: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from 0 up to ``highest``, in its unit."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(0, highest)
    return [float(tick) for tick in ticks if tick <= highest]


def short_number(value: float, *, padded: bool = False) -> str:
    """Three significant digits (``padded``: always three) and an SI prefix; no unit, since the axis names it."""
    factor, prefix = next((row for row in _PREFIXES if abs(value) >= row[0]), (1.0, ""))
    digits = f"{value / factor:#.3g}".rstrip(".") if padded else f"{value / factor:.3g}"
    return f"{digits}{prefix}"

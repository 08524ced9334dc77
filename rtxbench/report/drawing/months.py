"""The picture of the site's history: a ratio month by month, with the range over machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rtxbench.report.drawing.canvas import Marker
from rtxbench.report.drawing.panel import chart, linear_scale, name_scale
from rtxbench.report.drawing.style import SERIES_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["months_figure"]

_MOST_NAMED: Final = 9
"""Months whose names fit below the panel."""


def months_figure(months: Sequence[str], ranges: Sequence[tuple[float, float, float]], title: str) -> Figure:
    """Draw the middle of each month as a line, and its range as a bar.

    Args:
        months: names, in order.
        ranges: (low, middle, high) of each.
        title: the quantity and its unit.
    """
    color, every = SERIES_COLORS[0], 1 + len(months) // _MOST_NAMED
    names = [month if number % every == 0 else "" for number, month in enumerate(months)]
    low, high = min(0.98, *(one[0] for one in ranges)), max(1.02, *(one[2] for one in ranges))
    panel = chart(2.0, name_scale(names), linear_scale(low, high), "y", title=title)
    panel.reference(y=1.0)
    panel.intervals([(place, one[0], place, one[2]) for place, one in enumerate(ranges)], color)
    middles = [(float(place), one[1]) for place, one in enumerate(ranges)]
    panel.line(middles, color)
    panel.marks(middles, Marker(color))
    return panel.sheet.figure

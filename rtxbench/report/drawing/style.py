"""Give every figure one palette, one theme and one page width. Draw with the object API, never with pyplot.

The palette is Okabe and Ito's (2008), which people with any of the common colour-vision deficiencies can tell apart;
a precision has the same colour in every figure. What is published or predicted is never told by colour alone: it is
hatched or hollow, and named in the legend. Ink, grid and background are three fixed colours that the HTML page
replaces by its own, so that a figure reads as well on a dark page as on a light one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rtxbench.precision import PRECISIONS
from rtxbench.records import Origin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "ORIGIN_BARS",
    "PAGE_WIDTH_IN",
    "PAPER",
    "PRECISION_COLORS",
    "SERIES_COLORS",
    "STATE_COLORS",
    "legend_above",
    "new_figure",
    "precision_color",
    "strip_frame",
    "theme",
]

PAGE_WIDTH_IN: Final = 7.6
"""Width of every figure, inches; fonts are chosen to read at this width on a page 1,000 pixels wide."""

INK: Final = "#1f2430"
"""Text and axis lines."""
MUTED: Final = "#667085"
"""Secondary text, reference lines."""
GRID: Final = "#dfe3ea"
"""Grid lines and quiet fills."""
PAPER: Final = "#fefefe"
"""The figure's background, and the halo of text drawn over marks."""

PRECISION_COLORS: Final[Mapping[str, str]] = {row.name: row.color for row in PRECISIONS.values()}
SERIES_COLORS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a6fdf", "#7a7a7a")
"""For series that are not precisions: machines, cards, seeds. Take them in this order."""


STATE_COLORS: Final[Mapping[str, str]] = {
    "supported": "#009e73",
    "refuted": "#d55e00",
    "mixed": "#0072b2",
    "inconclusive": "#b58900",
    "not-measured": "#7b8494",
    "not-testable": "#8a6fdf",
}

ORIGIN_BARS: Final[Mapping[Origin, Mapping[str, Any]]] = {
    "measured": {},
    "published": {"hatch": "////", "alpha": 0.55},
    "predicted": {"fill": False, "linestyle": (0, (4, 2)), "linewidth": 1.4},
}
"""Keyword arguments of ``Axes.bar`` / ``barh`` that tell the three origins apart without colour."""

_RC: Final[Any] = {  # matplotlib types its keys as a literal that changes with every release
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 100,
    "savefig.dpi": 132,
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "hatch.linewidth": 0.8,
    "lines.linewidth": 1.6,
    # Text stays text (selectable, in the page's own font), and a "$" in a name is a dollar sign, not mathematics.
    "svg.fonttype": "none",
    "svg.hashsalt": "rtxbench",  # else the ids of clip paths differ from one run to the next
    "text.parse_math": False,
    "text.usetex": False,
    "text.hinting": "none",
    "axes.formatter.use_mathtext": False,
}


@contextmanager
def theme() -> Iterator[None]:
    """Build and save figures inside this; matplotlib's own settings are as before afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        yield


def new_figure(height_in: float) -> Figure:
    """Make an empty figure of page width that lays itself out, free of pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(PAGE_WIDTH_IN, height_in), layout="constrained")


def precision_color(precision: str) -> str:
    """Return the precision's fixed colour; grey for one without."""
    return PRECISION_COLORS.get(precision, "#7a7a7a")


def strip_frame(axes: Axes, *, grid: str | None = "x") -> None:
    """Leave only what carries information: no box, no tick marks, a light grid along one axis."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    if grid == "x":
        axes.grid(visible=True, axis="x")
    elif grid == "y":
        axes.grid(visible=True, axis="y")


def legend_above(figure: Figure, handles: list[Any], labels: list[str]) -> None:
    """Put one legend for the whole figure above it, in one row where it fits."""
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(handles)), handlelength=1.2)

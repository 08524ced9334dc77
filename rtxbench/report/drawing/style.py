"""Give every figure one palette, one text size, one set of strokes, one page width and one way to a file.

The palette is Okabe and Ito's (2008), which people with any of the common colour-vision deficiencies can tell apart;
a precision has the same colour in every figure. What is published or predicted is never told by colour alone: it is
of another shape, hollow or dashed, and named in the legend. Every colour here has a variable of the HTML page, which
replaces it, so that a figure reads as well on a dark page as on a light one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtxbench.errors import UsageError
from rtxbench.precision import PRECISIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FONT",
    "GRID",
    "GRID_PT",
    "INK",
    "INTERVAL_PT",
    "LINE_PT",
    "MARK_IN",
    "MUTED",
    "PAGE_COLORS",
    "PAGE_WIDTH_IN",
    "PAPER",
    "PRECISION_COLORS",
    "SERIES_COLORS",
    "TEXT_PT",
    "precision_color",
    "save_figure",
    "theme",
]

PAGE_WIDTH_IN: Final = 7.6
"""Width of every figure, inches; the text reads at this width on a page 1,000 pixels wide."""
FONT: Final = "DejaVu Sans"
"""Comes with matplotlib, so that a figure is the same on every machine; the page sets its own."""
TEXT_PT: Final = 9
"""Size of every word, points; a title differs by its weight."""
LINE_PT: Final = 1.5
"""Width of a line of data."""
INTERVAL_PT: Final = 2.4
"""Width of an interval, drawn in the paler colour of its mark."""
GRID_PT: Final = 0.8
"""Width of grid lines, reference lines and lines that lead to a label."""
MARK_IN: Final = 0.05
"""Radius of a mark."""

INK: Final = "#1f2430"
"""Text."""
MUTED: Final = "#667085"
"""Names of ticks and axes, reference lines."""
GRID: Final = "#dfe3ea"
"""Grid lines and quiet fills."""
PAPER: Final = "#fefefe"
"""The figure's background, the inside of hollow marks, text on a filled cell."""

PRECISION_COLORS: Final[Mapping[str, str]] = {row.name: row.color for row in PRECISIONS.values()}
SERIES_COLORS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a6fdf", "#7a7a7a")
"""For series that are not precisions: machines, cards, seeds. Take them in this order."""

PAGE_COLORS: Final[Mapping[str, str]] = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    PAPER: "--paper",
    "#0072b2": "--c-float32",
    "#56b4e9": "--c-tf32",
    "#e69f00": "--c-float16",
    "#009e73": "--c-bfloat16",
    "#cc79a7": "--c-pink",
    "#d55e00": "--c-red",
    "#8a6fdf": "--c-violet",
    "#7a7a7a": "--c-grey",
}
"""Colours of the figures → variables of the page, whose contrast is at least 3 : 1 on light and on dark paper."""

_RC: Final[Any] = {  # matplotlib types its keys as a literal that changes with every release
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 100,
    "savefig.dpi": 132,
    "font.family": [FONT],
    "font.size": TEXT_PT,
    "text.color": INK,
    # Text stays text (selectable, in the page's own font), and a "$" in a name is a dollar sign, not mathematics.
    "svg.fonttype": "none",
    "svg.hashsalt": "rtxbench",  # else the ids of clip paths differ from one run to the next
    "text.parse_math": False,
    "text.usetex": False,
    "text.hinting": "none",
}


@contextmanager
def theme() -> Iterator[None]:
    """Build and save figures inside this; matplotlib's own settings are as before afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        yield


def save_figure(build: Callable[[], Figure], path: Path) -> None:
    """Draw what ``build`` returns into a file of its own, beside the report; the ending names the format.

    Raises:
        UsageError: the ending names no picture format.
        MeasurementError: the disk is full or the folder cannot be written.
    """
    from rtxbench.results.store import disk_errors

    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"{path} is no picture file.", next_step="End its name in .png, .svg or .pdf.")
    with theme(), disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        build().savefig(path, metadata={"CreationDate" if path.suffix == ".pdf" else "Date": None})


def precision_color(precision: str) -> str:
    """Return the precision's fixed colour; grey for one without."""
    return PRECISION_COLORS.get(precision, SERIES_COLORS[-1])

"""The roofline drawing: measured ceilings as lines, training steps as points, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rtxbench.report.drawing.canvas import text_width_in
from rtxbench.report.drawing.placing import Box, place_labels
from rtxbench.report.drawing.style import MUTED, PAPER, new_figure, precision_color
from rtxbench.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RooflinePoint", "draw_roofline"]

_HEIGHT_IN: Final = 5.2
_MARKERS: Final = "oDs^v"
"""One shape per precision; their light edge would eat a star."""
_POINT_RADIUS_PT: Final = 3.5
_LABEL_SIZE: Final = 8


class RooflinePoint(NamedTuple):
    """One training step."""

    label: str
    precision: str
    intensity_flop_per_byte: float
    flop_per_s: float


def draw_roofline(
    points: Sequence[RooflinePoint], gemm_flop_per_s: Mapping[str, float], memory_bytes_per_s: float
) -> Figure:
    """Draw one panel; colour and shape are the precision, as at its roof, and each point has its name beside it.

    Args:
        points: at least one.
        gemm_flop_per_s: level roofs by precision; at least one.
        memory_bytes_per_s: slope of the memory roof.
    """
    figure = new_figure(_HEIGHT_IN)
    axes = figure.add_subplot()
    ridge = max(gemm_flop_per_s.values()) / memory_bytes_per_s
    low = min(*(p.intensity_flop_per_byte for p in points), ridge) / 3
    high = max(*(p.intensity_flop_per_byte for p in points), ridge) * 8
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    _draw_roofs(axes, gemm_flop_per_s, memory_bytes_per_s, low, high)
    shapes = {precision: _MARKERS[n % len(_MARKERS)] for n, precision in enumerate(gemm_flop_per_s)}
    for point in points:
        axes.plot(
            point.intensity_flop_per_byte,
            point.flop_per_s,
            shapes.get(point.precision, "X"),
            color=precision_color(point.precision),
            markersize=2 * _POINT_RADIUS_PT,
            markeredgecolor=PAPER,
            markeredgewidth=0.5,
            zorder=3,
        )
    _name_axes(axes)
    _name_points(figure, axes, points)
    return figure


def _draw_roofs(axes: Axes, gemm: Mapping[str, float], memory: float, low: float, high: float) -> None:
    highest = max(gemm.values())
    axes.plot([low, highest / memory], [low * memory, highest], color=MUTED, linewidth=1.6)
    below: dict[str, Any] = {"xytext": (8, -3), "textcoords": "offset points", "va": "top", "fontsize": 9}
    foot = low * (highest / memory / low) ** 0.08  # where hardly a step lies
    axes.annotate(f"memory {format_quantity(memory, 'B/s')}", (foot, foot * memory), color=MUTED, **below)
    for precision, roof in gemm.items():
        axes.plot([roof / memory, high], [roof, roof], color=precision_color(precision), linewidth=1.6)
        text = f"{precision} {format_quantity(roof, 'FLOP/s')}"
        above: dict[str, Any] = {"xytext": (-3, 4), "textcoords": "offset points", "ha": "right", "fontsize": 9}
        axes.annotate(text, (high, roof), color=precision_color(precision), **above)


def _name_axes(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xlabel("FLOPs per byte of memory traffic")
    axes.set_ylabel("FLOP/s of one device")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(
        lambda value, _position: format_quantity(value, "").replace(".00", "").replace(".0 ", " ")
    )
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.grid(visible=True, which="major")
    axes.tick_params(length=0, which="both")


def _name_points(figure: Figure, axes: Axes, points: Sequence[RooflinePoint]) -> None:
    """Write each point's name beside it, with a line to it where the nearest free place is not next to it."""
    figure.draw_without_rendering()  # the layout, and with it where the points are, is known only then
    point_px = figure.dpi / 72
    inside = axes.get_window_extent()
    obstacles = [Box(*text.get_window_extent().extents) for text in axes.texts]
    at = [
        (float(x), float(y))
        for x, y in axes.transData.transform([(p.intensity_flop_per_byte, p.flop_per_s) for p in points])
    ]
    widths = [72 * text_width_in(p.label, _LABEL_SIZE) * point_px for p in points]
    sizes = [(width, 1.25 * _LABEL_SIZE * point_px) for width in widths]
    boxes = place_labels(at, sizes, _POINT_RADIUS_PT * point_px, Box(*inside.extents), obstacles)
    for point, (x, y), box in zip(points, at, boxes, strict=True):
        near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.bottom), box.top)
        far = max(abs(near_x - x), abs(near_y - y)) > 2.2 * _POINT_RADIUS_PT * point_px
        foot = ((near_x - box.left) / (box.right - box.left), (near_y - box.bottom) / (box.top - box.bottom))
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3, "relpos": foot}
        label = axes.annotate(
            point.label,
            (point.intensity_flop_per_byte, point.flop_per_s),
            xytext=((box.left - x) / point_px, ((box.bottom + box.top) / 2 - y) / point_px),
            textcoords="offset points",
            va="center",
            fontsize=_LABEL_SIZE,
            color=precision_color(point.precision),
            arrowprops=line if far else None,
            zorder=4,
        )
        label.set_in_layout(False)

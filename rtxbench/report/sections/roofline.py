"""The roofline drawing: measured ceilings as lines, training steps as points, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rtxbench.report.drawing.style import INK, MUTED, PAPER, new_figure, precision_color
from rtxbench.units import format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RooflinePoint", "draw_roofline"]

_HEIGHT_IN: Final = 4.2
_MARKERS: Final = "oDsv^PX<h>pd"
"""Shapes that stay apart at this size; their light edge would eat a star."""


class RooflinePoint(NamedTuple):
    """One training step."""

    label: str
    precision: str
    intensity_flop_per_byte: float
    flop_per_s: float


def draw_roofline(
    points: Sequence[RooflinePoint], gemm_flop_per_s: Mapping[str, float], memory_bytes_per_s: float
) -> Figure:
    """One panel; colour is the precision, the marker the workload.

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
    workloads = list(dict.fromkeys(p.label for p in points))
    for point in points:
        axes.plot(
            point.intensity_flop_per_byte,
            point.flop_per_s,
            _MARKERS[workloads.index(point.label) % len(_MARKERS)],
            color=precision_color(point.precision),
            markersize=8,
            markeredgecolor=PAPER,
            markeredgewidth=0.5,
            zorder=3,
        )
    _name_axes(axes)
    _name_points(axes, points, workloads)
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


def _name_points(axes: Axes, points: Sequence[RooflinePoint], workloads: Sequence[str]) -> None:
    """A legend of the markers: names beside crowded points would hide each other."""
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"linestyle": "none", "markersize": 8, "markeredgecolor": PAPER, "markeredgewidth": 0.5}
    handles = [
        Line2D([], [], marker=_MARKERS[number % len(_MARKERS)], color=INK, label=workload, **style)
        for number, workload in enumerate(workloads)
    ]
    handles += [
        Line2D([], [], marker="s", color=precision_color(precision), label=precision, **style)
        for precision in dict.fromkeys(p.precision for p in points)
    ]
    axes.legend(handles=handles, loc="lower right", ncols=1 + len(handles) // 6)

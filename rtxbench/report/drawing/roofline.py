"""The roofline drawing: measured ceilings as lines, training steps as points, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.report.drawing.canvas import Marker, Shape, text_width_in
from rtxbench.report.drawing.panel import Panel, chart, log_scale
from rtxbench.report.drawing.placing import Box, place_labels
from rtxbench.report.drawing.style import MARK_IN, MUTED, TEXT_PT, precision_color
from rtxbench.units import format_quantity
from rtxbench.wording import name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RooflinePoint", "draw_roofline"]

_HEIGHT_IN: Final = 5.2
_SHAPES: Final[tuple[Shape, ...]] = ("circle", "diamond", "square", "triangle", "wedge")
"""One per precision."""
_LABEL_HEIGHT_IN: Final = 1.25 * TEXT_PT / 72


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
    highest = max(gemm_flop_per_s.values())
    ridge = highest / memory_bytes_per_s
    low = min(*(p.intensity_flop_per_byte for p in points), ridge) / 3
    high = max(*(p.intensity_flop_per_byte for p in points), ridge) * 8
    rates = [*(p.flop_per_s for p in points), low * memory_bytes_per_s, highest]
    panel = chart(
        _HEIGHT_IN,
        log_scale(low, high),
        log_scale(min(rates) / 1.1, max(rates) * 1.25, text=_rate_text),
        "xy",
        title="FLOP/s of one device",
        axis="FLOPs per byte of memory traffic",
    )
    obstacles = _draw_roofs(panel, gemm_flop_per_s, memory_bytes_per_s, low, high)
    shapes = {precision: _SHAPES[n % len(_SHAPES)] for n, precision in enumerate(gemm_flop_per_s)}
    _name_points(panel, points, obstacles)
    for point in points:
        mark = Marker(precision_color(point.precision), shapes.get(point.precision, "square"))
        panel.marks([(point.intensity_flop_per_byte, point.flop_per_s)], mark)
    return panel.sheet.figure


def _rate_text(flop_per_s: float) -> str:
    return format_quantity(flop_per_s, "").replace(".00", "").replace(".0 ", " ").rstrip()


def _draw_roofs(panel: Panel, gemm: Mapping[str, float], memory: float, low: float, high: float) -> list[Box]:
    """Draw each ceiling and its name; returns the boxes of the names, inches."""
    highest = max(gemm.values())
    panel.lines([(low, low * memory, highest / memory, highest)], MUTED)
    foot = low * (highest / memory / low) ** 0.08  # where hardly a step lies
    text = f"memory {format_quantity(memory, 'B/s')}"
    left, top = panel.at(foot, foot * memory)
    panel.sheet.text(left + 0.14, top + 0.1, text, color=MUTED)
    boxes = [_box(left + 0.14 + text_width_in(text) / 2, top + 0.1, text)]
    for precision, roof in gemm.items():
        color = precision_color(precision)
        panel.lines([(roof / memory, roof, high, roof)], color)
        text = f"{name_of(precision)} {format_quantity(roof, 'FLOP/s')}"
        right, top = panel.at(high, roof)
        under_another = any(0 < top - panel.at(high, other)[1] < 2 * _LABEL_HEIGHT_IN for other in gemm.values())
        middle = top + (0.11 if under_another else -0.11)
        panel.sheet.text(right - 0.04, middle, text, align="right", color=color)
        boxes.append(_box(right - 0.04 - text_width_in(text) / 2, middle, text))
    return boxes


def _box(middle_x: float, middle_y: float, text: str) -> Box:
    width, height = text_width_in(text), _LABEL_HEIGHT_IN
    return Box(middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2)


def _name_points(panel: Panel, points: Sequence[RooflinePoint], obstacles: Sequence[Box]) -> None:
    """Write each point's name beside it, with a line to it where the nearest free place is not next to it."""
    at = [panel.at(p.intensity_flop_per_byte, p.flop_per_s) for p in points]
    sizes = [(text_width_in(point.label) + 0.06, _LABEL_HEIGHT_IN) for point in points]
    boxes = place_labels(at, sizes, MARK_IN, panel.box, obstacles)
    for point, (x, y), box in zip(points, at, boxes, strict=True):
        near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
        if max(abs(near_x - x), abs(near_y - y)) > 2.2 * MARK_IN:
            panel.sheet.lines([(x, y, near_x, near_y)], MUTED)
        color = precision_color(point.precision)
        panel.sheet.text(
            (box.left + box.right) / 2, (box.top + box.bottom) / 2, point.label, align="center", color=color
        )

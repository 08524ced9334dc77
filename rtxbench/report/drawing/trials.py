"""The pictures of `rtxbench.report.sections.evidence.trials`: seeds as dots, latency, throughput by batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.report.drawing.canvas import Marker
from rtxbench.report.drawing.panel import chart, linear_scale, log_scale, name_scale
from rtxbench.report.drawing.style import INK, MUTED, SERIES_COLORS
from rtxbench.stats import launch_estimate
from rtxbench.units import format_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DotRow", "LatencySeries", "batch_curve", "dots", "latency"]

_ROW_IN: Final = 0.36


class DotRow(NamedTuple):
    """One arm: a value per seed."""

    label: str
    values: tuple[float, ...]
    color: str


class LatencySeries(NamedTuple):
    """One batch size and precision: a median and a p99 per repeat, seconds."""

    label: str
    p50_s: tuple[float, ...]
    p99_s: tuple[float, ...]
    color: str


def dots(rows: Sequence[DotRow], axis: str, scale: float = 1.0) -> Figure:
    """Draw every seed as a dot, the mean with its 95 % interval beneath. Rows top to bottom."""
    means = [launch_estimate([scale * value for value in row.values]) for row in rows]
    ends = [end for mean in means for end in (mean.low, mean.high) if end is not None]
    shown = [*ends, *(scale * value for row in rows for value in row.values)]
    beside = 0.04 * (max(shown) - min(shown)) or 1.0
    panel = chart(
        _ROW_IN * max(2, len(rows)),
        linear_scale(min(shown) - beside, max(shown) + beside, count=7),
        name_scale([row.label for row in rows], downwards=True),
        "x",
        axis=axis,
    )
    for place, (row, mean) in enumerate(zip(rows, means, strict=True)):
        panel.marks([(scale * value, place - 0.14) for value in row.values], Marker(row.color))
        if mean.low is not None and mean.high is not None:
            panel.intervals([(mean.low, place + 0.22, mean.high, place + 0.22)], row.color)
        panel.marks([(mean.value, place + 0.22)], Marker(INK, "tick"))
    return panel.sheet.figure


def latency(series: Sequence[LatencySeries]) -> Figure:
    """Medians filled, 99th percentiles hollow, milliseconds on a logarithmic axis."""
    shown_ms = [1e3 * value for row in series for value in (*row.p50_s, *row.p99_s)]
    panel = chart(
        _ROW_IN * max(2, len(series)),
        log_scale(min(shown_ms) / 1.1, max(shown_ms) * 1.1),
        name_scale([row.label for row in series], downwards=True),
        "x",
        axis="latency of one request, ms (logarithmic)",
        legend=(("median", Marker(MUTED)), ("99th percentile", Marker(MUTED, hollow=True))),
    )
    for place, row in enumerate(series):
        panel.marks([(1e3 * value, place) for value in row.p99_s], Marker(row.color, hollow=True))
        panel.marks([(1e3 * value, place) for value in row.p50_s], Marker(row.color))
    return panel.sheet.figure


def batch_curve(points: Sequence[tuple[int, float]], largest: float) -> Figure:
    """Throughput by batch size, logarithmic from left to right, the largest batch that fits marked."""
    sizes = [*(size for size, _ in points), largest]
    powers = range(math.ceil(math.log2(min(sizes))), math.floor(math.log2(max(sizes))) + 1)
    panel = chart(
        2.2,
        log_scale(min(sizes) / 1.3, max(sizes) * 1.3, ticks=[2.0**power for power in powers]),
        linear_scale(0, 1.12 * max(rate for _, rate in points)),
        "y",
        title="examples per second",
        axis="batch size (logarithmic)",
    )
    panel.reference(x=largest)
    panel.text(
        largest, 0, f"largest that fits: {format_count(largest)}", right=-0.08, down=-0.12, align="right", color=MUTED
    )
    panel.marks(points, Marker(SERIES_COLORS[0]))
    return panel.sheet.figure

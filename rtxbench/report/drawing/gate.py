"""The pictures of the throughput gate: its self-test's rates, and step time over commits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rtxbench.gate.replay import SelftestRow
from rtxbench.gate.series import Point, Series, levels
from rtxbench.report.drawing.canvas import Marker
from rtxbench.report.drawing.panel import Panel, Scale, chart, linear_scale, name_scale
from rtxbench.report.drawing.style import INK, LINE_PT, SERIES_COLORS, save_figure
from rtxbench.units import format_change

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["history_figure", "rates_figure", "save_rates"]

_MOST_COMMITS_NAMED: Final = 12


class _Rate(NamedTuple):
    label: str
    field: str
    """Of `SelftestRow`."""
    mark: Marker
    offset: float
    """On the axis, so that the three do not cover each other."""
    text_side: Literal["left", "center", "right"]
    """Alignment of the number written above the mark."""


_RATES: Final = (
    _Rate("gates run", "regression", Marker(SERIES_COLORS[0]), -0.2, "right"),
    _Rate(
        "gates replayed on their launches", "replayed_regression", Marker(SERIES_COLORS[4], "diamond"), 0.0, "center"
    ),
    _Rate("stored baseline, min:5%", "stored_baseline", Marker(SERIES_COLORS[5], "square"), 0.2, "left"),
)


def rates_figure(rows: Sequence[SelftestRow]) -> Figure:
    """Share of gates that say "regression", by planted slow-down, with 95 % intervals."""
    shown = [rate for rate in _RATES if any(getattr(row, rate.field) is not None for row in rows)]
    panel = chart(
        2.4,
        name_scale([row.planted.text for row in rows]),
        linear_scale(-5, 112),
        "y",
        title="called a regression, %",
        axis="planted slow-down of the candidate",
        legend=[(rate.label, rate.mark) for rate in shown],
    )
    for rate in shown:
        for place, row in enumerate(rows):
            _draw_rate(panel, place + rate.offset, row, rate)
    return panel.sheet.figure


def save_rates(rows: Sequence[SelftestRow], path: Path) -> None:
    """Draw `rates_figure` into a file; raises as `rtxbench.report.drawing.style.save_figure` does."""
    save_figure(partial(rates_figure, rows), path)


def _draw_rate(panel: Panel, place: float, row: SelftestRow, rate: _Rate) -> None:
    share = getattr(row, rate.field)
    if share is None:
        return
    value, top = 100 * share.value, 100 * share.value
    if share.low is not None and share.high is not None:
        panel.intervals([(place, 100 * share.low, place, 100 * share.high)], rate.mark.color)
        top = 100 * share.high if rate.text_side == "center" else value  # else the number stands on the interval
    panel.marks([(place, value)], rate.mark)
    aside = {"left": 0.09, "center": 0.0, "right": -0.09}[rate.text_side]
    panel.text(place, top, f"{value:.3g} %", right=aside, down=-0.13, align=rate.text_side)


def history_figure(series: Series) -> Figure:
    """Change of step time against the reference, per commit, with intervals and levels."""
    changes = [_percent(point.log_ratio.value) for point in series.points]
    bounds = [_bounds(point) for point in series.points]
    low, high = min(0.0, *(low for low, _ in bounds)), max(0.0, *(high for _, high in bounds))
    beside = 0.06 * (high - low) or 1.0
    panel = chart(
        2.1,
        _commit_scale(series.points),
        linear_scale(low - beside, high + beside),
        "y",
        title="step time against the reference, %",
        axis="commit",
    )
    panel.reference(y=0)
    panel.intervals([(place, a, place, b) for place, (a, b) in enumerate(bounds)], SERIES_COLORS[0])
    panel.marks(enumerate(changes), Marker(SERIES_COLORS[0]))
    panel.lines(
        [(start - 0.4, _percent(level), end - 0.6, _percent(level)) for start, end, level in _levels(series)], INK
    )
    for step in series.steps:
        place = step.first_point - 0.5
        panel.lines([(place, low - beside, place, high + beside)], SERIES_COLORS[5], LINE_PT)
        # Beside the line, on the side where the points are low.
        side: Literal["left", "right"] = "right" if step.after > step.before else "left"
        aside = -0.06 if side == "right" else 0.06
        panel.text(place, high + beside, format_change(step.change_ratio), right=aside, down=0.1, align=side)
    return panel.sheet.figure


def _commit_scale(points: Sequence[Point]) -> Scale:
    """Make a scale of all points, of which at most `_MOST_COMMITS_NAMED` are named."""
    every = math.ceil(len(points) / _MOST_COMMITS_NAMED)
    names = [point.commit[:7] + ("+" if point.dirty else "") for point in points]
    scale = name_scale(names)
    return scale._replace(ticks=scale.ticks[::every])


def _levels(series: Series) -> list[tuple[int, int, float]]:
    """Return (first point, end, mean log-ratio) of each level."""
    found = [step.first_point for step in series.steps]
    means = levels([point.log_ratio.value for point in series.points], found)
    ends = itertools.pairwise([0, *found, len(series.points)])
    return [(start, end, mean) for (start, end), mean in zip(ends, means, strict=True)]


def _bounds(point: Point) -> tuple[float, float]:
    estimate = point.log_ratio
    if estimate.low is None or estimate.high is None:
        return _percent(estimate.value), _percent(estimate.value)
    return _percent(estimate.low), _percent(estimate.high)


def _percent(log_ratio: float) -> float:
    return 100 * math.expm1(log_ratio)

"""Step time over commits in the report: one series per machine, case and pinned reference, with its steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from rtxbench.gate.series import Point, Series, history_series, levels
from rtxbench.report.drawing.style import INK, MUTED, SERIES_COLORS, STATE_COLORS, new_figure, strip_frame
from rtxbench.report.labels import anchor, machine_headings
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.units import format_change

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

__all__ = ["history_figure", "history_section"]

_LEAST_POINTS: Final = 2
_MOST_SERIES: Final = 12
_MOST_TICKS: Final = 14


def history_section(context: Context) -> Section | None:
    """Draw every series of at least two points, longest first; ``None`` where there is none."""
    every = [series for series in history_series(context.runs) if len(series.points) >= _LEAST_POINTS][:_MOST_SERIES]
    blocks: list[Block] = []
    for machine, heading in machine_headings(context, {series.machine for series in every}):
        blocks += heading
        for series in (one for one in every if one.machine == machine):
            blocks += [_figure(series), *([_table(series)] if series.steps else [])]
    if not blocks:
        return None
    text = (
        "Each point is one commit measured against the same reference commit in the same session, so that the "
        "machine's state of the day cancels. A line is a level; where it jumps, a change point was found (PELT)."
    )
    command = Code("rtxbench gate --baseline REFERENCE --history && rtxbench history")
    return Section(id="history", title="Throughput over commits", blocks=(Paragraph(text), *blocks, command))


def history_figure(series: Series) -> Drawing:
    """Change of step time against the reference, per commit, with intervals and levels."""
    figure = new_figure(2.9)
    axes = figure.add_subplot()
    changes = [_percent(point.log_ratio.value) for point in series.points]
    bounds = [_bounds(point) for point in series.points]
    errors = [
        [change - low for change, (low, _high) in zip(changes, bounds, strict=True)],
        [high - change for change, (_low, high) in zip(changes, bounds, strict=True)],
    ]
    places = range(len(changes))
    axes.axhline(0, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.errorbar(places, changes, yerr=errors, fmt="o", color=SERIES_COLORS[0], capsize=2.5, markersize=4.5, zorder=3)
    for start, end, level in _levels(series):
        axes.hlines(_percent(level), start - 0.4, end - 0.6, color=INK, linewidth=1.8, zorder=2)
    for step in series.steps:
        rises = step.after > step.before
        axes.axvline(step.first_point - 0.5, color=STATE_COLORS["refuted"], linewidth=1)
        axes.annotate(
            format_change(step.change_ratio),
            (step.first_point - 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if rises else 4, -10),  # on the side where the points are low
            textcoords="offset points",
            ha="right" if rises else "left",
            fontsize=9,
            color=INK,
        )
    _commit_axis(axes, series.points)
    axes.set_ylabel("step time against\nthe reference, %")
    strip_frame(axes, grid="y")
    return figure


def _commit_axis(axes: object, points: Sequence[Point]) -> None:
    every = max(1, math.ceil(len(points) / _MOST_TICKS))
    chosen = range(0, len(points), every)
    labels = [points[index].commit[:7] + ("+" if points[index].dirty else "") for index in chosen]
    axes.set_xticks(chosen, labels, rotation=40, ha="right", family="monospace")  # type: ignore[attr-defined]


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


def _figure(series: Series) -> Figure:
    said = ", ".join(f"{format_change(step.change_ratio)} at {step.commit[:10]}" for step in series.steps) or "none"
    return Figure(
        name=anchor(f"history-{series.case}-{series.machine}-{series.reference[:10]}"),
        build=partial(history_figure, series),
        alt=f"Step time of {series.case} over {len(series.points)} commits. Changes of level: {said}.",
        caption=f"{series.case}: step time of each commit against {series.reference[:10]}, measured side by side; "
        "above zero is slower. Bars are 90 % intervals over process launches. "
        "A + marks a commit with uncommitted changes.",
    )


def _table(series: Series) -> Table:
    return Table(
        caption=f"{series.case}: where the level changed",
        columns=(Column("from commit"), Column("step time", numeric=True), Column("measured")),
        rows=tuple(
            (
                Cell(step.commit[:10], mono=True),
                format_change(step.change_ratio),
                series.points[step.first_point].finished_at,
            )
            for step in series.steps
        ),
    )

"""Step time over commits in the report: one series per machine, case and pinned reference, with its steps."""

from __future__ import annotations

from functools import partial
from typing import Final

from rtxbench.gate.series import Series, history_series
from rtxbench.report.drawing.gate import history_figure
from rtxbench.report.labels import anchor, machine_headings
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.units import format_change

__all__ = ["history_section"]

_LEAST_POINTS: Final = 2
_MOST_SERIES: Final = 12


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

"""The gate's self-test in the report: does it cry wolf on this machine, and what does it find?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rtxbench.gate.replay import SelftestRow, selftest_rows
from rtxbench.records import GATE_SELFTEST_TOPIC, Estimate, Observation
from rtxbench.report.drawing.style import INK, SERIES_COLORS, legend_above, new_figure, strip_frame, theme
from rtxbench.report.labels import anchor, machine_headings
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.units import format_count, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

__all__ = ["gate_section", "rates_figure", "save_rates"]


class _Plotted(NamedTuple):
    label: str
    field: str
    """Of `SelftestRow`."""
    colour: str
    marker: str
    offset: float
    """On the axis, so that the three do not cover each other."""
    text_side: Literal["left", "center", "right"]
    """Alignment of the figure written beside the mark."""


_ARMS: Final = (
    _Plotted("gates run", "regression", SERIES_COLORS[0], "o", -0.2, "right"),
    _Plotted("gates replayed on their launches", "replayed_regression", SERIES_COLORS[4], "D", 0.0, "center"),
    _Plotted("stored baseline, min:5%", "stored_baseline", SERIES_COLORS[5], "s", 0.2, "left"),
)


def gate_section(context: Context) -> Section | None:
    """False alarms and power of the gate per machine; ``None`` where no self-test is on record."""
    blocks: list[Block] = []
    found: dict[str, list[Observation]] = {}
    for run in context.runs:
        records = [record for record in run.of_kind(Observation) if record.topic == GATE_SELFTEST_TOPIC]
        found.setdefault(run.run.environment.machine, []).extend(records)
    for machine, heading in machine_headings(context, {name for name, records in found.items() if records}):
        rows = selftest_rows(found[machine])
        title = context.titles[machine]
        blocks += [*heading, _figure(machine, title, rows), _table(title, rows)]
    if not blocks:
        return None
    text = (
        "The throughput gate compares two commits and fails one that trains slower. Here it was run on unchanged code, "
        "where every failure is a false alarm, and on code slowed by a known share (extra steps that are not counted). "
        "Beside it stands a stored baseline with a 5 % limit on the minimum, on the same launches."
    )
    return Section(
        id="gate",
        title="The throughput gate on itself",
        blocks=(Paragraph(text), *blocks, Code("rtxbench selftest gate")),
    )


def rates_figure(rows: Sequence[SelftestRow]) -> Drawing:
    """Share of gates that say "regression", by planted slow-down, with 95 % intervals."""
    figure = new_figure(3.2)
    axes = figure.add_subplot()
    for arm in _ARMS:
        points = [(index + arm.offset, getattr(row, arm.field)) for index, row in enumerate(rows)]
        _draw(axes, [(place, share) for place, share in points if share is not None], arm)
    axes.set_xticks(range(len(rows)), [row.planted.text for row in rows])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(-5, 109)
    axes.set_xlabel("planted slow-down of the candidate")
    axes.set_ylabel("called a regression, %")
    strip_frame(axes, grid="y")
    legend_above(figure, *axes.get_legend_handles_labels())
    return figure


def save_rates(rows: Sequence[SelftestRow], path: Path) -> None:
    """Draw `rates_figure` into a PNG or SVG file.

    Raises:
        MeasurementError: the disk is full or the folder cannot be written.
    """
    from rtxbench.results.store import disk_errors

    with theme(), disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        rates_figure(rows).savefig(path)


def _draw(axes: Axes, points: Sequence[tuple[float, Estimate]], arm: _Plotted) -> None:
    if not points:
        return
    places = [place for place, _share in points]
    values = [100 * share.value for _place, share in points]
    lows = [100 * (share.value - (share.value if share.low is None else share.low)) for _place, share in points]
    highs = [100 * ((share.value if share.high is None else share.high) - share.value) for _place, share in points]
    axes.errorbar(
        places, values, yerr=[lows, highs], fmt=arm.marker, color=arm.colour, label=arm.label, capsize=3, zorder=3
    )
    aside = {"left": 7, "center": 0, "right": -7}[arm.text_side]
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value:.3g} %",
            (place, value),
            xytext=(aside, 6),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
            ha=arm.text_side,
        )


def _figure(machine: str, title: str, rows: Sequence[SelftestRow]) -> Figure:
    said = "; ".join(f"{row.planted.text}: gate {_share(row.regression)}, stored baseline {_share(row.stored_baseline)}"
                     for row in rows)  # fmt: skip
    return Figure(
        name=anchor(f"gate-selftest-{machine}"),
        build=partial(rates_figure, rows),
        alt=f"Share of gates that report a regression, by planted slow-down. {said}.",
        caption=f"{title}: share of gates that report a regression, per planted slow-down. Bars are 95 % intervals: "
        "exact (Clopper-Pearson) for gates, a bootstrap over launches for the stored baseline. On unchanged code "
        "(none) every one is a false alarm.",
    )


def _table(title: str, rows: Sequence[SelftestRow]) -> Table:
    return Table(
        caption=f"{title}: gates that report a regression",
        columns=(
            Column("planted"),
            Column("gates run", numeric=True),
            Column("regression", numeric=True),
            Column("inconclusive", numeric=True),
            Column("launches each", numeric=True),
            Column("replayed gates", numeric=True),
            Column("regression", numeric=True),
            Column("stored baseline alarms", numeric=True),
        ),
        rows=tuple(
            (
                row.planted.text,
                f"{row.gates}",
                _cell(row.regression),
                f"{row.inconclusive}",
                "–" if row.launches_mean is None else f"{row.launches_mean:.1f}",
                Cell(format_count(row.replayed_gates), note=f"from {row.launches} {row.replayed_from}"),
                _cell(row.replayed_regression),
                _cell(row.stored_baseline),
            )
            for row in rows
        ),
    )


def _share(share: Estimate | None) -> str:
    return "not run" if share is None else format_percent(share.value)


def _cell(share: Estimate | None) -> Cell | str:
    if share is None or share.low is None or share.high is None:
        return "–"
    return Cell(_share(share), note=f"{100 * share.low:.1f} to {100 * share.high:.1f} %")

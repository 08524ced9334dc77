"""The gate's self-test in the report: does it cry wolf on this machine, and what does it find?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from rtxbench.gate.replay import SelftestRow, selftest_rows
from rtxbench.records import GATE_SELFTEST_TOPIC, Estimate, Observation
from rtxbench.report.drawing.gate import rates_figure
from rtxbench.report.labels import anchor, machine_headings
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.units import format_count, format_percent

__all__ = ["gate_section"]

_REPLAYED: Final = 200
"""Gates to replay: their share is as wide as that of the few gates that share no launch, however many there are."""


def gate_section(context: Context) -> Section | None:
    """False alarms and power of the gate per machine; ``None`` where no self-test is on record."""
    blocks: list[Block] = []
    found: dict[str, list[Observation]] = {}
    for run in context.runs:
        records = [record for record in run.of_kind(Observation) if record.topic == GATE_SELFTEST_TOPIC]
        found.setdefault(run.run.environment.machine, []).extend(records)
    for machine, heading in machine_headings(context, {name for name, records in found.items() if records}):
        rows = selftest_rows(found[machine], replayed=_REPLAYED)
        title = context.titles[machine]
        blocks += [*heading, _figure(machine, title, rows), _table(title, rows)]
    if not blocks:
        return None
    text = (
        "The throughput gate compares two commits and fails one that trains slower. Here it was run on unchanged code, "
        "where every failure is a false alarm, and on code slowed by a known share (extra steps that are not counted). "
        "Beside it stands a stored baseline with a 5\u00a0% limit on the minimum, on the same launches."
    )
    return Section(
        id="gate",
        title="The throughput gate on itself",
        blocks=(Paragraph(text), *blocks, Code("rtxbench selftest gate")),
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
                Cell(format_count(row.replayed_gates), note=f"from {row.launches} {row.replayed_from}")
                if row.replayed_gates
                else "–",
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

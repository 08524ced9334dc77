"""A workload's page: every device that ran it, side by side at each precision, and what a change of precision gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rtxbench.report.labels import plural
from rtxbench.report.parts import (
    Block,
    Cell,
    Column,
    Interval,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
    Subheading,
)
from rtxbench.site.names import link
from rtxbench.site.page import Body, comparisons_section, devices, listed, sentence, speed, speed_range
from rtxbench.site.rows import Comparison, Figures
from rtxbench.wording import name_of

__all__ = ["WorkloadData", "workload_body"]

_MOST_ON_CHART = 24
_MOST_IN_TABLE = 80


class WorkloadData(NamedTuple):
    """All that one workload's page is made of."""

    name: str
    figures: tuple[Figures, ...]
    kinds: Mapping[str, str]
    """Device → card or processor."""
    comparisons: tuple[Comparison, ...]


def workload_body(data: WorkloadData) -> Body:
    """Make a workload's page."""
    count = len({row.device for row in data.figures})
    most = max((row.machines for row in data.figures), default=0)
    sections = [Section(id="speed", title="Which device trains it how fast", blocks=tuple(_speed(data)))]
    if data.comparisons:
        sections.append(_comparisons(data))
    facts = f"`{data.name}`, measured on {plural(count, 'device')}, on up to {plural(most, 'machine')} of one"
    return Body(sentence(name_of(data.name)), facts.replace("`", ""), tuple(sections))


def _speed(data: WorkloadData) -> Iterator[Block]:
    if not data.figures:
        yield Paragraph("No machine measured its speed; there are comparisons below.", "muted")
    for precision in sorted({row.precision for row in data.figures}):
        rows = sorted(
            (row for row in data.figures if row.precision == precision), key=lambda row: (-row.speed.median, row.device)
        )
        yield Subheading(name_of(precision))
        reference = max(rows, key=lambda row: (row.machines, row.speed.median))
        if len(rows) > 1:
            yield _chart(precision, rows[:_MOST_ON_CHART], reference, len(rows))
        yield _table(data, precision, rows)


def _chart(precision: str, rows: list[Figures], reference: Figures, count: int) -> Intervals:
    name = devices(reference.device_count, reference.device)
    title = "Every device" if count == len(rows) else f"The fastest {len(rows)} of {count}"
    drawn = tuple(
        Interval(
            label=devices(row.device_count, row.device),
            value=row.speed.median / reference.speed.median,
            low=row.speed.low / reference.speed.median if row.machines > 1 else None,
            high=row.speed.high / reference.speed.median if row.machines > 1 else None,
            tone=precision,
            caution=plural(row.machines, "machine"),
        )
        for row in rows
    )
    return Intervals(
        caption=f"Relative to {name} (1×), which most machines have: the median of machines, and the range eight of "
        "ten lie in (no confidence interval).",
        groups=(IntervalGroup(title, drawn),),
        better="Right of 1× is faster.",
        spread="[10 %, 90 %]",
    )


def _table(data: WorkloadData, precision: str, rows: list[Figures]) -> Block:
    columns = (
        Column("Device"),
        Column("Median", numeric=True),
        Column("Machines differ from"),
        Column("Machines", numeric=True),
        Column("Mostly with"),
    )
    body: list[tuple[Cell | str, ...]] = [
        (
            link(data.kinds[row.device], row.device, devices(row.device_count, row.device))
            if row.device in data.kinds
            else devices(row.device_count, row.device),
            speed(row.speed.median),
            speed_range(row.speed, row.machines),
            f"{row.machines:,}",
            f"{name_of(row.engine)}, batch {row.batch_size}",
        )
        for row in rows
    ]
    caption = f"{name_of(precision)}, examples per second: each machine's fastest engine and batch, median of machines"
    return listed(caption, columns, body, _MOST_IN_TABLE)


def _comparisons(data: WorkloadData) -> Section:
    ordered = sorted(data.comparisons, key=lambda row: (row.comparison, -row.machines, row.device))
    named = [
        (link(data.kinds[row.device], row.device, row.device) if row.device in data.kinds else row.device, row)
        for row in ordered
    ]
    return comparisons_section("comparisons", "Device", named)

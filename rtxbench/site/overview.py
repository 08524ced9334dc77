"""The pages of the first level: what there is to find, the fleet's spread, and history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from rtxbench.report.drawing.months import months_figure
from rtxbench.report.labels import plural
from rtxbench.report.parts import Block, Cell, Column, Figure, Paragraph, Section
from rtxbench.site.cards import Paper, spread_table
from rtxbench.site.engines import engine_title
from rtxbench.site.names import link
from rtxbench.site.page import Body, listed, speed, speed_range, workload_link
from rtxbench.site.rows import Figures, Month, SpreadOver
from rtxbench.units import format_card_memory, format_percent, format_ratio
from rtxbench.verdicts.statistics.spread import LEAST_MACHINES
from rtxbench.wording import name_of

__all__ = ["HistoryData", "IndexData", "SpreadData", "history_body", "index_body", "spread_body"]

_MOST_DEVICES: Final = 60
_MOST_VERSIONS: Final = 60
_LEAST_MONTHS: Final = 2


class IndexData(NamedTuple):
    """All that the first page is made of."""

    machines: int
    records: int
    runs: int
    latest: str
    figures: tuple[Figures, ...]
    """Of each device and workload the one row to show."""
    counts: Mapping[str, int]
    """Device → machines."""
    kinds: Mapping[str, str]
    papers: Mapping[str, Paper]
    workloads: tuple[tuple[str, int], ...]
    """(workload, devices)."""
    versions: tuple[tuple[str, str, int], ...]
    """(engine, version, machines)."""
    newest: tuple[tuple[str, str, str], ...]
    """(slug, title, day) of the machines that sent the latest runs."""
    not_in_search: int


def index_body(data: IndexData) -> Body:
    """Make the first page."""
    facts = (
        f"{plural(data.machines, 'machine')} · {plural(data.records, 'record')} of {plural(data.runs, 'run')} · "
        f"latest {data.latest}"
    )
    sections = [
        section
        for section in (
            _devices(data, "card", "Cards"),
            _devices(data, "processor", "Processors"),
            _workloads(data),
            _versions(data),
            _newest(data),
        )
        if section is not None
    ]
    return Body("What machines measured", facts, tuple(sections))


def _devices(data: IndexData, kind: str, title: str) -> Section | None:
    shown = {row.device: row for row in data.figures if data.kinds.get(row.device) == kind}
    names = sorted(
        (name for name, its in data.kinds.items() if its == kind), key=lambda name: (-data.counts.get(name, 0), name)
    )
    if not names:
        return None
    columns = (
        Column(kind.capitalize()),
        *((Column("Memory", numeric=True),) if kind == "card" else ()),
        Column("Machines", numeric=True),
        Column("One figure of it: median", numeric=True),
        Column("Machines differ from"),
    )
    rows: list[tuple[Cell | str, ...]] = []
    for name in names:
        row, paper = shown.get(name), data.papers.get(name)
        memory = (format_card_memory(paper.memory_bytes) if paper else "",) if kind == "card" else ()
        figure: tuple[Cell | str, ...] = ("", "not measured here")
        if row is not None:
            words = f"{name_of(row.workload)}, {name_of(row.precision)}"
            figure = (Cell(speed(row.speed.median), note=words), speed_range(row.speed, row.machines))
        rows.append((link(kind, name, name, up=""), *memory, f"{data.counts.get(name, 0):,}", *figure))
    caption = "Those most machines have come first; examples per second"
    return Section(id=f"{kind}s", title=title, blocks=(listed(caption, columns, rows, _MOST_DEVICES),))


def _workloads(data: IndexData) -> Section | None:
    if not data.workloads:
        return None
    columns = (Column("Workload"), Column("Devices", numeric=True))
    rows: list[tuple[Cell | str, ...]] = [(workload_link(name, up=""), f"{count:,}") for name, count in data.workloads]
    return Section(id="workloads", title="Workloads", blocks=(listed("", columns, rows, _MOST_DEVICES),))


def _versions(data: IndexData) -> Section | None:
    if not data.versions:
        return None
    columns = (Column("Engine version"), Column("Machines", numeric=True))
    rows: list[tuple[Cell | str, ...]] = [
        (link("engine", f"{engine} {version}", engine_title(engine, version), up=""), f"{count:,}")
        for engine, version, count in data.versions
    ]
    return Section(id="engines", title="Engine versions", blocks=(listed("", columns, rows, _MOST_VERSIONS),))


def _newest(data: IndexData) -> Section | None:
    if not data.newest:
        return None
    columns = (Column("Machine"), Column("Latest run"))
    rows: list[tuple[Cell | str, ...]] = [
        (link("machine", slug, title, slug, up=""), day) for slug, title, day in data.newest
    ]
    missing = f"Search leaves out the {plural(data.not_in_search, 'page')} with fewest records."
    rest = (Paragraph(missing, "muted"),) if data.not_in_search else ()
    return Section(id="machines", title="Latest machines", blocks=(listed("", columns, rows), *rest))


class SpreadData(NamedTuple):
    """All that the page on the fleet's spread is made of."""

    spreads: tuple[SpreadOver, ...]


def spread_body(data: SpreadData) -> Body:
    """Make the page on how far machines of one kind differ."""
    rows = sorted(data.spreads, key=lambda row: (-row.between, row.case))
    if not rows:
        text = f"No exact case was run by {LEAST_MACHINES} machines of one kind, so that there is no spread to show."
        blocks: tuple[Block, ...] = (Paragraph(text, "muted"),)
    else:
        typical = sorted(row.between for row in rows)[len(rows) // 2]
        inside = sorted(row.within for row in rows)[len(rows) // 2]
        lead = (
            f"{plural(len(rows), 'exact case')} were run by {LEAST_MACHINES} machines or more of one kind. Half of "
            f"them differ by more than {format_percent(typical)} between machines (standard deviation), and by "
            f"{format_percent(inside)} between launches on one. Drivers, cooling and hosts differ as well as the "
            "devices. The widest come first."
        )
        blocks = (Paragraph(lead), spread_table(rows, with_device=True, up=""))
    section = Section(id="spread", title="Between machines and within them", blocks=blocks)
    return Body("How far machines of one kind differ", plural(len(rows), "exact case"), (section,))


class HistoryData(NamedTuple):
    """All that the page on history is made of."""

    months: tuple[Month, ...]


def history_body(data: HistoryData) -> Body:
    """Make the page on what came when, and whether machines got faster."""
    section = Section(id="history", title="Month by month", blocks=tuple(_history(data.months)))
    facts = f"{data.months[0].month} to {data.months[-1].month}" if data.months else "nothing yet"
    return Body("History", facts, (section,))


def _history(months: Sequence[Month]) -> Iterator[Block]:
    yield Paragraph(
        "Speed of machines that came back, against each machine's own first month in the same exact case: what new "
        "drivers and engines gave, and what dust took."
    )
    compared = [(month.month, month.ratio) for month in months if month.ratio is not None]
    if len(compared) >= _LEAST_MONTHS:
        yield Figure(
            name="history",
            build=partial(
                months_figure,
                tuple(month for month, _ in compared),
                tuple((ratio.low, ratio.median, ratio.high) for _, ratio in compared),
                "speed against the machine's own first month, ×",
            ),
            alt=f"Training speed against each machine's first month, {compared[0][0]} to {compared[-1][0]}.",
            caption="Training speed against each machine's own first month in the same case: the median as a line, the "
            "range eight of ten lie in as its bar. Not paired within a session.",
        )
    columns = (
        Column("Month"),
        Column("Machines", numeric=True),
        Column("Records", numeric=True),
        Column("Speed against the first month", numeric=True),
        Column("Machines that came back", numeric=True),
    )
    rows: list[tuple[Cell | str, ...]] = [
        (
            month.month,
            f"{month.machines:,}",
            f"{month.records:,}",
            Cell(
                format_ratio(month.ratio.median),
                note=f"8 of 10: {format_ratio(month.ratio.low)} to {format_ratio(month.ratio.high)}",
            )
            if month.ratio is not None
            else "",
            f"{month.returning:,}",
        )
        for month in reversed(months)
    ]
    yield listed("Latest first", columns, rows)

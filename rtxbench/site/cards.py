"""A card's or a processor's page: how fast it trains what, how far machines differ, what is like it, who has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rtxbench.catalog.cards import Card
from rtxbench.report.labels import plural
from rtxbench.report.parts import (
    Block,
    Cell,
    Column,
    Definitions,
    Interval,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
    Table,
)
from rtxbench.report.sections.cards.published_cards import published_table
from rtxbench.site.likes import Relative
from rtxbench.site.names import link
from rtxbench.site.page import (
    MOST_MACHINES,
    Body,
    case_words,
    comparisons_section,
    deviation,
    devices,
    listed,
    speed,
    speed_range,
    workload_link,
)
from rtxbench.site.rows import Comparison, Figures, SpreadOver
from rtxbench.units import format_card_memory, format_money, format_percent, format_power, format_quantity, format_ratio
from rtxbench.verdicts.statistics.spread import LEAST_MACHINES
from rtxbench.wording import name_of

__all__ = ["CardData", "Paper", "card_body", "paper_of"]


class Paper(NamedTuple):
    """The catalogue's row, as far as a page shows it."""

    memory_bytes: int
    memory_bandwidth_bytes_per_s: float
    fp32_flop_per_s: float
    fp16_flop_per_s: float | None
    power_limit_w: float | None
    msrp_usd: float | None
    launch_date: str | None
    source: str


class CardData(NamedTuple):
    """All that one device's page is made of."""

    kind: str
    """card or processor."""
    name: str
    paper: Paper | None
    figures: tuple[Figures, ...]
    spreads: tuple[SpreadOver, ...]
    comparisons: tuple[Comparison, ...]
    likes: tuple[Relative, ...]
    papers: dict[str, Paper]
    """Of the cards like it."""
    machines: tuple[tuple[str, str, int], ...]
    """(slug, latest day, records) of those to list."""
    machine_count: int


_HEADLINES: Final = ("resnet50", "bert-base", "bert-mini", "resnet14-64px")
"""Workloads that the first sentence prefers among those that equally many machines ran."""


def paper_of(card: Card) -> Paper:
    """Take from the catalogue's row what a page shows."""
    return Paper(
        card.memory_bytes,
        card.memory_bandwidth_bytes_per_s,
        card.fp32_flop_per_s,
        card.fp16_flop_per_s,
        card.power_limit_w,
        card.msrp_usd,
        card.launch_date,
        card.base_source,
    )


def card_body(data: CardData) -> Body:
    """Make a device's page: its figures first."""
    sections = (
        Section(id="speed", title="How fast it trains", blocks=tuple(_speed(data))),
        _likes(data),
        _spread(data),
        _precisions(data),
        _paper(data),
        _published(data),
        _machines(data),
    )
    paper = data.paper
    facts = [] if paper is None else [format_card_memory(paper.memory_bytes)]
    if paper is not None:
        facts += [] if paper.power_limit_w is None else [format_power(paper.power_limit_w)]
        facts += [] if paper.msrp_usd is None else [f"{format_money(paper.msrp_usd, 'USD')} at launch"]
    facts += [f"measured on {plural(data.machine_count, 'machine')}" if data.machine_count else "not measured here"]
    return Body(data.name, " · ".join(facts), tuple(section for section in sections if section is not None))


def _speed(data: CardData) -> Iterator[Block]:
    if not data.figures:
        yield Paragraph("No machine of this site has measured it. What others published stands below.")
        return
    yield Paragraph(_headline(data))
    columns = (
        Column("Workload"),
        Column("Precision"),
        Column("Median", numeric=True),
        Column("Machines differ from"),
        Column("Machines", numeric=True),
        Column("Mostly with"),
    )
    yield listed(
        "Training speed, examples per second: each machine's fastest engine and batch, then the median of machines",
        columns,
        [
            (
                workload_link(row.workload, "" if row.device_count == 1 else devices(row.device_count, data.name)),
                name_of(row.precision),
                speed(row.speed.median),
                speed_range(row.speed, row.machines),
                f"{row.machines:,}",
                f"{name_of(row.engine)}, batch {row.batch_size}",
            )
            for row in sorted(data.figures, key=lambda row: (row.device_count, row.workload, -row.speed.median))
        ],
    )


def _headline(data: CardData) -> str:
    """Say the figure that most machines stand behind."""
    row = max(
        data.figures,
        key=lambda row: (-row.device_count, row.machines, row.workload in _HEADLINES, row.speed.median, row.workload),
    )
    said = f"{name_of(row.workload)} in {name_of(row.precision)}"
    if row.machines == 1:
        return f"One machine trained {said} at {speed(row.speed.median)}."
    low, high = (row.speed.least, row.speed.greatest) if row.machines < 10 else (row.speed.low, row.speed.high)
    share = "all" if row.machines < 10 else "eight of ten"
    return (
        f"On {plural(row.machines, 'machine')} it trains {said} at {speed(row.speed.median)} (the median); {share} of "
        f"them lie between {speed(low)} and {speed(high)}."
    )


def _likes(data: CardData) -> Section | None:
    if not data.likes:
        return None
    rows = tuple(
        Interval(
            label=row.device,
            value=row.mean,
            low=row.lowest if row.figures > 1 else None,
            high=row.highest if row.figures > 1 else None,
            caution=f"{plural(row.figures, 'figure')} in common, {plural(row.machines, 'machine')}",
        )
        for row in data.likes
    )
    chart = Intervals(
        caption=f"Relative to {data.name} (1×): geometric mean over the workloads and precisions both ran, and from "
        "the lowest to the highest of them (no confidence interval). Software differs, so no verdict rests on it.",
        groups=(IntervalGroup("Nearest in measured speed", rows),),
        better="Right of 1× is faster.",
        spread="[lowest, highest]",
    )
    return Section(id="like", title=f"{data.kind.capitalize()}s like it", blocks=(chart, _likes_table(data)))


def _likes_table(data: CardData) -> Table:
    columns = (
        Column(data.kind.capitalize()),
        Column("Speed", numeric=True),
        *(
            (Column("Memory", numeric=True), Column("Power", numeric=True), Column("Launch price", numeric=True))
            if data.kind == "card"
            else ()
        ),
        Column("Machines", numeric=True),
    )
    rows: list[tuple[Cell | str, ...]] = []
    for row in data.likes:
        paper = data.papers.get(row.device)
        on_paper = (
            "" if paper is None else format_card_memory(paper.memory_bytes),
            "" if paper is None or paper.power_limit_w is None else format_power(paper.power_limit_w),
            "" if paper is None or paper.msrp_usd is None else format_money(paper.msrp_usd, "USD"),
        )
        shown = on_paper if data.kind == "card" else ()
        rows.append((link(data.kind, row.device, row.device), format_ratio(row.mean), *shown, f"{row.machines:,}"))
    return listed("Measured speed; memory, power and price on paper", columns, rows)


def _spread(data: CardData) -> Section | None:
    if not data.machine_count:
        return None
    title = "How far machines differ"
    if not data.spreads:
        text = (
            f"Fewer than {LEAST_MACHINES} machines ran the same case, launches enough for an interval, so that nothing "
            "can be said of the spread between them."
        )
        return Section(id="spread", title=title, blocks=(Paragraph(text, "muted"),))
    widest = max(data.spreads, key=lambda row: row.machines)
    words = case_words(widest.case.workload, widest.case.precision, widest.case.engine, widest.case.batch_size)
    lead = Paragraph(
        f"The same case on {plural(widest.machines, 'machine')} ({words}): {format_percent(widest.between)} standard "
        f"deviation between machines, {format_percent(widest.within)} between launches on one of them; the fastest "
        f"trains {format_ratio(widest.fastest_ratio)} as fast as the slowest."
    )
    return Section(id="spread", title=title, blocks=(lead, spread_table(data.spreads)))


def spread_table(rows: Sequence[SpreadOver], *, with_device: bool = False, up: str = "../") -> Table:
    """Tabulate spreads; ``with_device`` adds each row's device."""
    columns = (
        *((Column("Device"),) if with_device else ()),
        Column("Case"),
        Column("Machines", numeric=True),
        Column("Median", numeric=True),
        Column("Fastest ÷ slowest", numeric=True),
        Column("Between machines", numeric=True),
        Column("Between launches", numeric=True),
    )
    body: list[tuple[Cell | str, ...]] = [
        (
            *((devices(row.case.device_count, row.case.device),) if with_device else ()),
            workload_link(
                row.case.workload,
                f"{name_of(row.case.precision)}, {name_of(row.case.engine)}, batch {row.case.batch_size}",
                up=up,
            ),
            f"{row.machines:,}",
            speed(row.median),
            format_ratio(row.fastest_ratio),
            deviation(row.between, row.between_low, row.between_high),
            format_percent(row.within),
        )
        for row in rows
    ]
    return listed(
        "Spread over machines of the same exact case, as standard deviations with 95 % intervals", columns, body
    )


def _precisions(data: CardData) -> Section | None:
    if not data.comparisons:
        return None
    ordered = sorted(data.comparisons, key=lambda row: (-row.machines, row.workload, row.comparison))
    return comparisons_section("precisions", "Workload", [(workload_link(row.workload), row) for row in ordered])


def _paper(data: CardData) -> Section | None:
    paper = data.paper
    if paper is None:
        return None
    items = [
        ("Memory", format_card_memory(paper.memory_bytes)),
        ("Memory bandwidth", format_quantity(paper.memory_bandwidth_bytes_per_s, "B/s")),
        ("float32", format_quantity(paper.fp32_flop_per_s, "FLOP/s")),
    ]
    if paper.fp16_flop_per_s is not None:
        items.append(("float16 Tensor Cores", format_quantity(paper.fp16_flop_per_s, "FLOP/s, dense")))
    if paper.power_limit_w is not None:
        items.append(("Power", format_power(paper.power_limit_w)))
    if paper.msrp_usd is not None:
        items.append(("Launch price", format_money(paper.msrp_usd, "USD")))
    if paper.launch_date:
        items.append(("Launched", paper.launch_date))
    blocks = (Definitions(tuple(items)), Paragraph(f"Source: {paper.source}.", "muted"))
    return Section(id="paper", title="On paper", blocks=blocks)


def _published(data: CardData) -> Section | None:
    blocks = published_table(lambda card: card == data.name) if data.paper is not None else []
    return Section(id="published", title="Published by others", blocks=tuple(blocks)) if blocks else None


def _machines(data: CardData) -> Section | None:
    if not data.machines:
        return None
    columns = (Column("Machine"), Column("Latest run"), Column("Records", numeric=True))
    rows: list[tuple[Cell | str, ...]] = [
        (link("machine", slug, slug), latest, f"{records:,}") for slug, latest, records in data.machines
    ]
    more = data.machine_count - len(rows)
    rest = (Paragraph(f"And {plural(more, 'other')}: search finds them by name.", "muted"),) if more > 0 else ()
    title = f"Machines with {'this card' if data.kind == 'card' else 'this processor'}"
    return Section(id="machines", title=title, blocks=(listed("By records", columns, rows, MOST_MACHINES), *rest))

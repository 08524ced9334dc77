"""One page of the site: the data it is made of, and the function that makes sections of them when they changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rtxbench.report.parts import Cell, Column, Paragraph, Section, Table
from rtxbench.site.names import link
from rtxbench.site.rows import Comparison, Quantiles
from rtxbench.units import format_percent, format_quantity, format_ratio
from rtxbench.wording import name_of

__all__ = [
    "MOST_MACHINES",
    "MOST_ROWS",
    "Body",
    "Page",
    "case_words",
    "comparison_words",
    "comparisons_section",
    "deviation",
    "devices",
    "listed",
    "quantiles_text",
    "sentence",
    "speed",
    "speed_range",
    "workload_link",
]

MOST_ROWS: Final = 120
"""Rows of a table; a page stays below 300 kB."""
MOST_MACHINES: Final = 150
"""Machines that a page lists; search finds the others."""


class Body(NamedTuple):
    """The contents of a page, still without markup."""

    title: str
    facts: str
    sections: tuple[Section, ...]


class Page(NamedTuple):
    """One page before it is made: the same address and data give the same page."""

    path: str
    """Relative to the site's folder."""
    data: object
    """All that the page is made of, in types that msgspec encodes."""
    make: Callable[[], Body]
    kind: str = ""
    """Row of `rtxbench.site.names.KINDS`; empty for the pages of the first level."""
    title: str = ""
    """Words that search shows and looks in."""
    weight: int = 0
    """Records behind it: where the index cannot hold all pages, those with most are kept."""


def listed(
    caption: str, columns: tuple[Column, ...], rows: list[tuple[Cell | str, ...]], most: int = MOST_ROWS
) -> Table:
    """Make a table of the first rows, which says how many there are where it leaves some out."""
    if len(rows) > most:
        caption = f"{caption} (the first {most} of {len(rows):,})"
    return Table(caption=caption, columns=columns, rows=tuple(rows[:most]))


def speed(per_s: float) -> str:
    """Write a training speed: ``1.14 k/s``; what is counted are examples."""
    return format_quantity(per_s, "/s")


def speed_range(quantiles: Quantiles, machines: int) -> str:
    """Write the range that eight of ten machines lie in, or of few machines all; nothing of one."""
    if machines == 1:
        return "one machine"
    if machines < 10:
        return f"{speed(quantiles.least)} to {speed(quantiles.greatest)}"
    return f"8 of 10: {speed(quantiles.low)} to {speed(quantiles.high)}"


def quantiles_text(quantiles: Quantiles, machines: int) -> str:
    """Write the range of a ratio as `speed_range` does."""
    if machines == 1:
        return "one machine"
    low, high = (quantiles.least, quantiles.greatest) if machines < 10 else (quantiles.low, quantiles.high)
    return f"{'' if machines < 10 else '8 of 10: '}{format_ratio(low)} to {format_ratio(high)}"


def comparison_words(comparison: str) -> str:
    """Write a comparison's sides in words: ``mixed_bfloat16 ÷ float32`` → ``bfloat16 ÷ float32``."""
    return " ".join(map(name_of, comparison.split()))


def comparisons_section(name: str, first: str, compared: Sequence[tuple[Cell | str, Comparison]]) -> Section:
    """Tabulate paired comparisons, in which both arms took turns on one machine: the firmest figures there are.

    Args:
        name: the section's id.
        first: heading of the first column.
        compared: what stands in that column, and the comparison.
    """
    columns = (
        Column(first),
        Column("Comparison"),
        Column("Median ratio", numeric=True),
        Column("Machines differ from"),
        Column("Machines", numeric=True),
    )
    rows: list[tuple[Cell | str, ...]] = [
        (
            of,
            comparison_words(row.comparison),
            format_ratio(row.ratio.median),
            quantiles_text(row.ratio, row.machines),
            f"{row.machines:,}",
        )
        for of, row in compared
    ]
    lead = Paragraph("Both sides took turns on the same machine; above 1× the first named is faster.")
    table = listed("Paired comparisons", columns, rows)
    return Section(id=name, title="What changes its speed", blocks=(lead, table))


def devices(count: int, name: str) -> str:
    """Write ``2× GeForce RTX 3090``; one is not counted."""
    return f"{count}× {name}" if count > 1 else name


def case_words(workload: str, precision: str, engine: str, batch_size: int) -> str:
    """Write a case in short: ``ResNet-50, bfloat16, PyTorch, batch 64``."""
    return f"{name_of(workload)}, {name_of(precision)}, {name_of(engine)}, batch {batch_size}"


def workload_link(workload: str, note: str = "", *, up: str = "../") -> Cell:
    """Make a cell that leads to a workload's page."""
    return link("workload", workload, sentence(name_of(workload)), note, up=up)


def sentence(words: str) -> str:
    """Begin with a capital, as a title does: ``a small CNN`` → ``A small CNN``."""
    return words[:1].upper() + words[1:]


def deviation(between: float, low: float, high: float) -> Cell:
    """Make a cell of a standard deviation between machines with its interval."""
    return Cell(format_percent(between), note=f"{format_percent(low)} to {format_percent(high)}")

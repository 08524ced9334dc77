"""Keep a page readable whatever the number of records: long tables and charts show their ends, the files hold all.

A section says all there is to say; what of it a page can hold is decided here, once, and said where something is left
out. The CSV files and ``verdicts.json`` are complete.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

import msgspec

from rtxbench.records import Verdict
from rtxbench.report.parts import (
    Block,
    Figure,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
    Table,
    VerdictCard,
    VerdictCards,
)

__all__ = ["MOST_FIGURES", "MOST_INTERVALS", "MOST_ROWS", "bounded"]

MOST_ROWS: Final = 150
"""Rows of a table."""
MOST_INTERVALS: Final = 40
"""Ratios of one group of a chart: its ends, since a chart is sorted by ratio."""
MOST_FIGURES: Final = 16
"""Figures of a section."""
_MOST_PARTS: Final = 40
_MOST_IDS: Final = 60

_Row = TypeVar("_Row")


def bounded(section: Section) -> Section:
    """Shorten what is too long for a page, and say how much was left out and where it is."""
    figures = section.figures
    shown = {figure.name for figure in figures[:MOST_FIGURES]}
    kept = [block for block in section.blocks if not isinstance(block, Figure) or block.name in shown]
    blocks: list[Block] = [_bounded_block(block) for block in kept]
    if len(figures) > MOST_FIGURES:
        said = f"The first {MOST_FIGURES} of {len(figures):,} figures; name fewer results files to see the others."
        blocks.append(Paragraph(said, "muted"))
    return replace(section, blocks=tuple(blocks))


def _bounded_block(block: Block) -> Block:
    if isinstance(block, Table) and len(block.rows) > MOST_ROWS:
        caption = f"{block.caption} (the first {MOST_ROWS} of {len(block.rows):,} rows; the CSV files hold all)"
        return replace(block, caption=caption.strip(), rows=block.rows[:MOST_ROWS])
    if isinstance(block, Intervals):
        return replace(block, groups=tuple(map(_bounded_group, block.groups)))
    if isinstance(block, VerdictCards):
        return replace(block, cards=tuple(map(_bounded_card, block.cards)))
    return block


def _bounded_group(group: IntervalGroup) -> IntervalGroup:
    if len(group.rows) <= MOST_INTERVALS:
        return group
    title = f"{group.title} ({MOST_INTERVALS} of {len(group.rows):,}: the highest and the lowest; ratios.csv holds all)"
    return replace(group, title=title, rows=_ends(group.rows, MOST_INTERVALS))


def _ends(rows: tuple[_Row, ...], count: int) -> tuple[_Row, ...]:
    return rows[: count // 2] + rows[-(count - count // 2) :]


def _bounded_card(card: VerdictCard) -> VerdictCard:
    """Shorten a verdict's parts, the decided first, and its record ids."""
    parts = card.parts
    if len(parts) > _MOST_PARTS:
        parts = tuple(sorted(parts, key=lambda part: part.state == "not-measured"))[:_MOST_PARTS]
    return replace(
        card,
        verdict=_bounded_evidence(card.verdict),
        parts=tuple(map(_bounded_evidence, parts)),
        lead=_bounded_lead(card, len(parts)),
    )


def _bounded_lead(card: VerdictCard, shown: int) -> str:
    if shown == len(card.parts):
        return card.lead
    lead = card.lead or f"{card.verdict.explanation[:400]}{'…' * (len(card.verdict.explanation) > 400)}"
    return f"{lead} {shown} of its {len(card.parts):,} comparisons are listed; verdicts.json holds all."


def _bounded_evidence(verdict: Verdict) -> Verdict:
    more = len(verdict.evidence) - _MOST_IDS
    if more <= 0:
        return verdict
    return msgspec.structs.replace(verdict, evidence=(*verdict.evidence[:_MOST_IDS], f"and {more:,} in verdicts.json"))

"""Beside a claim about cards: what is published of them, predicted for the rest, and what their memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import curated
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Paragraph, Section, Subheading, Table
from rtxbench.units import format_card_memory, format_count, format_number
from rtxbench.verdicts.claims import Claim, Elsewhere
from rtxbench.verdicts.external_evidence import CardFigure, by_memory, card_figures, is_about, models_by_fit
from rtxbench.wording import name_of, say_stack, say_training

__all__ = ["published_section", "published_table"]

_MODELS: Final = {
    "resnet50": "ResNet-50",
    "bert_base_squad": "BERT-base (SQuAD)",
    "bert_large_squad": "BERT-large (SQuAD)",
}


def published_section(context: Context) -> Section | None:
    """Make a part per claim that looks beyond its machine; nothing of it enters a verdict. ``None`` without any."""
    blocks = [block for claim in context.claims.values() if claim.elsewhere for block in _claim(claim, claim.elsewhere)]
    title = "Measured and published by others"
    return Section(id="published", title=title, blocks=tuple(blocks)) if blocks else None


def _claim(claim: Claim, wanted: Elsewhere) -> list[Block]:
    return [
        Subheading(claim.title),
        Paragraph(
            "Published by others on machines of their own, other software and other years, and predicted from that: "
            "context for the claim, no part of its verdict. What to buy is a question of its own; the purchase section "
            "answers it."
        ),
        *_throughput(wanted),
        *_memory(wanted),
        *published_table(partial(is_about, wanted)),
        Code(claim.reproduce),
    ]


def _throughput(wanted: Elsewhere) -> list[Block]:
    unit, figures = card_figures(wanted)
    if not figures:
        return []
    model = _MODELS.get(wanted.models[0], wanted.models[0])
    return [
        Table(
            caption=f"Training {model} on one such card in {wanted.precision}, {unit} per second; predicted ones "
            "with their 90 % range",
            columns=(Column("Card"), Column("Throughput", numeric=True), Column("How it is known")),
            rows=tuple((figure.card.name, _throughput_cell(figure), figure.why) for figure in figures),
            folded=True,
        )
    ]


def _throughput_cell(figure: CardFigure) -> Cell | str:
    if figure.throughput_per_s is None or figure.origin is None:
        return ""
    known = [value for value in (figure.low_per_s, figure.high_per_s) if value is not None]
    spread = " to ".join(map(format_number, known))
    return Cell(format_number(figure.throughput_per_s), origin=figure.origin, note=spread)


def _memory(wanted: Elsewhere) -> list[Block]:
    """Return one row per memory size: which of the claim's models it holds."""
    if not wanted.memory_models:
        return []
    columns = (Column("Memory"), Column("Fits"), Column("Tight"), Column("Does not fit"))
    return [
        Table(
            caption="What one such card's memory holds while training one example at a time, computed from the models' "
            "dimensions (full, LoRA and quantised fine-tuning)",
            columns=columns,
            rows=tuple(_memory_row(cards, wanted) for cards in by_memory(wanted)),
            folded=True,
        )
    ]


def _memory_row(cards: Sequence[Card], wanted: Elsewhere) -> tuple[Cell | str, ...]:
    models = models_by_fit(cards[0], wanted)
    texts = (", ".join(map(say_training, models[state])) for state in ("fits", "tight", "no"))
    names = ", ".join(card.name.removeprefix("GeForce ") for card in cards)
    head = Cell(format_card_memory(cards[0].memory_bytes), note=names)
    return (head, *(Cell(text, origin="predicted") if text else "" for text in texts))


def published_table(is_wanted: Callable[[str], bool]) -> list[Block]:
    """Tabulate the published training throughput of single cards, by name; nothing where none is published."""
    body: Sequence[tuple[Cell | str, ...]] = [
        (
            row.card,
            _MODELS[row.model],
            name_of(row.precision),
            "" if row.batch_size is None else str(row.batch_size),
            Cell(
                f"{format_count(row.value)} {row.unit}",
                origin="published",
                note=f"{say_stack(row.stack)}, {row.source.replace('-', ' ')}, {row.date}",
            ),
        )
        for row in curated().kept
        if row.model in _MODELS
        and row.task == "train"
        and row.metric == "throughput"
        and row.device_count == 1
        and is_wanted(row.card)
    ]
    if not body:
        return []
    columns = (
        Column("Card"),
        Column("Model"),
        Column("Precision"),
        Column("Batch", numeric=True),
        Column("Throughput", numeric=True),
    )
    return [
        Table(
            caption="Published training throughput of one such card",
            columns=columns,
            rows=tuple(sorted(body, key=lambda row: (row[1], row[2], row[0]))),
            folded=True,
        )
    ]

"""Beside a claim about cards: what is published of them, predicted for the rest, and what their memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from rtxbench.analysis.claims import Claim, Elsewhere
from rtxbench.analysis.elsewhere import CardFigure, card_figures, memory_fits
from rtxbench.catalog.published import curated
from rtxbench.report.base import Block, Cell, Code, Column, Context, Paragraph, Subheading, Table

__all__ = ["card_blocks"]

_MODELS: Final = {
    "resnet50": "ResNet-50",
    "bert_base_squad": "BERT-base (SQuAD)",
    "bert_large_squad": "BERT-large (SQuAD)",
}


def card_blocks(context: Context) -> list[Block]:
    """One part per claim that looks beyond its machine; nothing of it enters a verdict."""
    return [block for claim in context.claims.values() if claim.elsewhere for block in _claim(claim, claim.elsewhere)]


def _claim(claim: Claim, wanted: Elsewhere) -> list[Block]:
    return [
        Subheading(claim.title),
        Paragraph(
            "Published by others on machines of their own, other software and other years, and predicted from that: "
            "context for the claim, no part of its verdict. What to buy is a question of its own; the purchase section "
            "answers it."
        ),
        *_throughput(wanted),
        *_published(wanted),
        Code(claim.reproduce),
    ]


def _throughput(wanted: Elsewhere) -> list[Block]:
    unit, figures = card_figures(wanted)
    if not figures:
        return []
    columns = (Column("Card"), Column("Throughput", numeric=True), Column("Fits"), Column("Tight"), Column("Does not"))
    model = _MODELS.get(wanted.models[0], wanted.models[0])
    return [
        Table(
            caption=f"Training {model} on one card in {wanted.precision}, {unit} per second; and which of the claim's "
            "models its memory holds at batch 1, computed from their dimensions",
            columns=columns,
            rows=tuple(_card_row(figure, wanted) for figure in figures),
            folded=True,
        )
    ]


def _card_row(figure: CardFigure, wanted: Elsewhere) -> tuple[Cell | str, ...]:
    states = [fit.state for fit in memory_fits(figure.card, wanted)]
    named = list(zip(wanted.memory_models, states, strict=True))
    fits = (", ".join(name for name, state in named if state == wished) for wished in ("fits", "tight", "no"))
    memory = f"{figure.card.memory_bytes / 2**30:.0f} GB"
    return (Cell(figure.card.name, note=memory), _throughput_cell(figure), *(_fit_cell(text) for text in fits))


def _fit_cell(text: str) -> Cell | str:
    return Cell(text, origin="predicted") if text else ""


def _throughput_cell(figure: CardFigure) -> Cell:
    if figure.throughput_per_s is None or figure.origin is None:
        return Cell("", note=f"cannot say: {figure.why}")
    spread = "" if figure.low_per_s is None else f"{figure.low_per_s:.3g} to {figure.high_per_s:.3g}, "
    return Cell(f"{figure.throughput_per_s:.3g}", origin=figure.origin, note=spread + figure.why)


def _published(wanted: Elsewhere) -> list[Block]:
    body: Sequence[tuple[Cell | str, ...]] = [
        (
            row.card,
            _MODELS[row.model],
            row.precision,
            "" if row.batch_size is None else str(row.batch_size),
            Cell(f"{row.value:,.0f} {row.unit}", origin="published", note=f"{row.stack}, {row.source}, {row.date}"),
        )
        for row in curated().kept
        if row.model in _MODELS
        and row.task == "train"
        and row.metric == "throughput"
        and row.device_count == 1
        and any(fnmatchcase(row.card, pattern) for pattern in wanted.cards)
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

"""Collect what is known of a claim about cards beyond this machine: published, predicted, measured on other machines.

A claim about cards is judged on a machine that has one. Most machines have not, and a reader still asks what is known.
That stands beside the verdict, each statement with its kind, and never enters it: published figures come from other
people's machines, software and years; predicted ones carry a range; what fits in memory is computed, not tried.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from rtxbench.advice.basis import Basis, choose_basis, published_figure
from rtxbench.advice.memory.models import MODELS
from rtxbench.advice.memory_basis import memory_basis, memory_on
from rtxbench.advice.own_machines import OwnMeasurement, owned_machines
from rtxbench.advice.prediction.forecast import NoForecast, published_forecaster
from rtxbench.advice.question import Question
from rtxbench.catalog.cards import Card, load_cards
from rtxbench.catalog.published import WORKLOAD_MODELS, curated
from rtxbench.errors import UsageError
from rtxbench.records import Origin
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_card_memory, format_number
from rtxbench.verdicts.claims import Claim, Elsewhere
from rtxbench.verdicts.published_pairs import PublishedPair, published_pairs
from rtxbench.wording import say_stack, say_training

__all__ = [
    "CardFigure",
    "Statement",
    "by_memory",
    "card_figures",
    "is_about",
    "known_elsewhere",
    "models_by_fit",
    "statements",
]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing known, and of which kind. ``None`` is unknown."""

    origin: Origin
    """measured (on the machine named in the text), published or predicted."""
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """The range of the figures where published, a 90 % range where predicted, a 95 % interval where measured."""
    unit: str = ""
    count: int = 1
    """Figures it stands on."""
    sources: tuple[str, ...] = ()


class CardFigure(NamedTuple):
    """Training throughput of one card: published, predicted with its range, or why neither."""

    card: Card
    origin: Origin | None
    throughput_per_s: float | None
    low_per_s: float | None
    high_per_s: float | None
    why: str


def statements(claim: Claim, runs: Sequence[LoadedRun] = ()) -> tuple[Statement, ...]:
    """Everything to be said beside the claim's verdicts; nothing for a claim that is not about cards.

    Args:
        claim: its ``elsewhere`` says what to look up.
        runs: measured machines; one with such a card speaks for itself.

    Raises:
        UsageError: the claim names a card, published model or memory model that does not exist.
    """
    wanted = claim.elsewhere
    if wanted is None:
        return ()
    _check_models(wanted)
    found = [*_measured(wanted, runs), *(_published_statement(pair) for pair in published_pairs(wanted))]
    predicted = _predicted(wanted)
    return (*found, *([predicted] if predicted else ()), *_memory(wanted))


def known_elsewhere(claims: Iterable[Claim], runs: Sequence[LoadedRun]) -> dict[str, tuple[Statement, ...]]:
    """Claim id → `statements`, for the claims that have any."""
    return {claim.id: found for claim in claims if (found := statements(claim, runs))}


def is_about(wanted: Elsewhere, card: str) -> bool:
    """Return whether the claim is about the card of that name."""
    return any(fnmatchcase(card, pattern) for pattern in wanted.cards)


def _cards(wanted: Elsewhere) -> list[Card]:
    return [card for card in load_cards().values() if card.card_class != "laptop" and is_about(wanted, card.name)]


def _check_models(wanted: Elsewhere) -> None:
    known = {row.model for row in curated().kept if row.task == "train"}
    unknown = [name for name in wanted.models if name not in known]
    if unknown:
        raise UsageError(
            f"nothing is published of a model called {unknown[0]!r}.",
            next_step="`python -m rtxbench.catalog.published --list` shows how published models are spelt.",
        )


# --- measured on a machine of the results ---------------------------------------------------------------------------


def _measured(wanted: Elsewhere, runs: Sequence[LoadedRun]) -> list[Statement]:
    cards = load_cards()
    names = {card.name for card in _cards(wanted)}
    owned = [row for name in wanted.workloads for row in owned_machines(name, wanted.precision, runs, cards)]
    return [_owned_statement(row) for row in owned if row.card is not None and row.card.name in names]


def _owned_statement(row: OwnMeasurement) -> Statement:
    spread = (
        ""
        if row.low_per_s is None or row.high_per_s is None
        else f" [{format_number(row.low_per_s, 4)}, {format_number(row.high_per_s, 4)}]"
    )
    return Statement(
        origin="measured",
        text=f"{row.name}: {row.label} trains at {format_number(row.throughput_per_s, 4)}{spread} examples/s in "
        f"{say_stack(row.stack)}",
        value=row.throughput_per_s,
        low=row.low_per_s,
        high=row.high_per_s,
        unit="examples/s",
        sources=(row.record_id,),
    )


def _published_statement(pair: PublishedPair) -> Statement:
    return Statement(
        origin="published",
        text=pair.text,
        value=pair.value,
        low=pair.low,
        high=pair.high,
        unit="ratio",
        count=pair.figure_count,
        sources=pair.sources,
    )


# --- predicted --------------------------------------------------------------------------------------------------------


def card_figures(wanted: Elsewhere) -> tuple[str, list[CardFigure]]:
    """Name one example's unit, and the first model's throughput on every card of the claim, fastest first."""
    question = Question(workload=wanted.models[0], precision=wanted.precision)
    basis = choose_basis(question, curated().kept, published_forecaster(), ())
    if basis is None:
        return "examples", []
    found = [_card_figure(card, basis) for card in _cards(wanted)]
    unit = basis.rows[0].unit.removesuffix("/s")
    return unit, sorted(found, key=lambda figure: -(figure.throughput_per_s or 0.0))


def _card_figure(card: Card, basis: Basis) -> CardFigure:
    published = published_figure(card.name, 1, basis)
    if published is not None:
        why = f"at batch {published['batch_size']}"
        return CardFigure(card, "published", float(str(published["throughput_per_s"])), None, None, why)
    if _too_large(card, basis):
        why = "by its dimensions the model does not fit in this card's memory"
        return CardFigure(card, None, None, None, None, why)
    forecaster = published_forecaster()
    forecast = forecaster.predict(card, basis.case, None, forecaster.anchors(basis.case, card.card_class))
    if isinstance(forecast, NoForecast):
        return CardFigure(card, None, None, None, None, forecast.reason)
    why = f"at batch {forecast.batch_size}, from {' and '.join(forecast.anchors)}"
    return CardFigure(card, "predicted", forecast.throughput_per_s, forecast.low_per_s, forecast.high_per_s, why)


def _too_large(card: Card, basis: Basis) -> bool:
    """Return whether not even one example of the published model fits, where its dimensions are known."""
    names = [name for name, stand_ins in WORKLOAD_MODELS.items() for m in stand_ins if m.model == basis.case.model]
    if not names or names[0] not in MODELS:
        return False
    question = Question(
        workload=names[0],
        precision=basis.case.precision,
        memory_model=f"{names[0]}:full",
        tokens=basis.tokens,
    )
    need = memory_basis(question, ())
    return need is not None and memory_on(card, need).state == "no"


def _predicted(wanted: Elsewhere) -> Statement | None:
    """Name the fastest and the slowest of the cards without a published figure."""
    unit, figures = card_figures(wanted)
    known = [figure for figure in figures if figure.origin == "predicted"]
    if not known:
        return None
    fastest, slowest = (_spoken(figure) for figure in (known[0], known[-1]))
    text = (
        f"{say_training(wanted.models[0].removesuffix('_squad').replace('_', '-'))} on the {len(known)} such cards "
        f"without a published figure of the same software, {unit}/s "
        f"with 90 % ranges: from {slowest} to {fastest}"
    )
    return Statement(
        origin="predicted",
        text=text,
        low=known[-1].low_per_s,
        high=known[0].high_per_s,
        unit=f"{unit}/s",
        count=len(known),
    )


def _spoken(figure: CardFigure) -> str:
    value, low, high = (format_number(v) for v in figure[2:5] if isinstance(v, float))
    return f"{value} ({low} to {high}) on {figure.card.name}"


def models_by_fit(card: Card, wanted: Elsewhere) -> dict[str, list[str]]:
    """State of fit (``fits``, ``tight``, ``no``) → the claim's models in it on one such card, one example at a time."""
    found: dict[str, list[str]] = {state: [] for state in _STATES}
    for name in wanted.memory_models:
        basis = memory_basis(Question(workload=wanted.models[0], precision=wanted.precision, memory_model=name), ())
        state = None if basis is None else memory_on(card, basis).state
        if state is not None:
            found[state].append(name)
    return found


def by_memory(wanted: Elsewhere) -> list[list[Card]]:
    """Return the cards the claim is about, grouped by memory size, largest first."""
    sizes: dict[int, list[Card]] = {}
    for card in _cards(wanted):
        sizes.setdefault(card.memory_bytes, []).append(card)
    return [sizes[size] for size in sorted(sizes, reverse=True)]


def _memory(wanted: Elsewhere) -> list[Statement]:
    return [_memory_statement(cards, wanted) for cards in by_memory(wanted)] if wanted.memory_models else []


_STATES: Mapping[str, str] = {"fits": "fits", "tight": "tight", "no": "does not fit"}


def _memory_statement(cards: Sequence[Card], wanted: Elsewhere) -> Statement:
    models = models_by_fit(cards[0], wanted)
    said = [f"{_STATES[state]} {', '.join(map(say_training, names))}" for state, names in models.items() if names]
    size = f"{format_card_memory(cards[0].memory_bytes)} ({len(cards)} such card{'s' if len(cards) > 1 else ''})"
    return Statement(
        origin="predicted",
        text=f"{size}, memory computed from the models' dimensions at batch 1: {'; '.join(said)}",
        value=float(cards[0].memory_bytes),
        unit="bytes",
        count=sum(map(len, models.values())),
    )

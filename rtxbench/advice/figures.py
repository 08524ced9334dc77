"""One card's throughput in the stack the advice stands on: published, measured, predicted, or why none of them."""

from collections.abc import Sequence
from typing import NamedTuple

from rtxbench.advice.basis import Basis, published_figure
from rtxbench.advice.own_machines import OwnMeasurement
from rtxbench.advice.own_program import REFERENCE, RELATIVE_STACK
from rtxbench.advice.prediction.forecast import DECODER_STACK, Forecast, Forecaster, NoForecast
from rtxbench.advice.question import Origin, Question
from rtxbench.catalog.cards import Card
from rtxbench.units import format_number

__all__ = ["Speed", "asked_batch", "figure_of"]


_NAMED = 3
"""Cards whose names fit a line."""


class Speed(NamedTuple):
    """A throughput with where it comes from; ``None`` is unknown and ``cannot_say`` has the reason."""

    origin: Origin | None = None
    stack: str | None = None
    throughput_per_s: float | None = None
    low_per_s: float | None = None
    high_per_s: float | None = None
    batch_size: int | None = None
    predicted_by: str | None = None
    cannot_say: str | None = None
    why: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def figure_of(card: Card, basis: Basis, question: Question, forecaster: Forecaster) -> Speed:
    """Find the best figure known of one such card training the asked-for case."""
    published = published_figure(card.name, 1, basis)
    if published is not None:
        figure = Speed(origin="published", stack=basis.case.stack, **published)  # type: ignore[arg-type]
        return _at_asked_batch(figure, card, basis, question, forecaster)
    if basis.own is not None and basis.own.card == card:
        return _same_as_own(basis.own)
    if basis.case.stack == RELATIVE_STACK and card.name == REFERENCE:
        batch, words = question.batch_size, ("the card that the others are multiples of",)
        return Speed("predicted", RELATIVE_STACK, 1.0, 1.0, 1.0, batch, "law", why=words)
    if basis.case.stack == DECODER_STACK:
        return _composed(card, basis, question.batch_size or 1, forecaster)
    return _predicted(card, basis, question, forecaster)


def _composed(card: Card, basis: Basis, batch: int, forecaster: Forecaster) -> Speed:
    """Predict the fine-tuning of a language model from its kernels."""
    forecast = forecaster.tokens_per_s(card, basis.case, batch, basis.tokens or 1)
    if isinstance(forecast, NoForecast):
        return Speed(cannot_say=forecast.reason)
    return Speed(
        origin="predicted",
        stack=DECODER_STACK,
        throughput_per_s=forecast.throughput_per_s,
        low_per_s=forecast.low_per_s,
        high_per_s=forecast.high_per_s,
        batch_size=batch,
        predicted_by="law",
        why=(f"predicted from the model's kernels at batch {batch}",),
    )


def asked_batch(question: Question) -> int | None:
    """Return the batch at which the speed is asked; with a memory model, ``--batch-size`` is that model's."""
    return None if question.memory_model is not None else question.batch_size


def _at_asked_batch(figure: Speed, card: Card, basis: Basis, question: Question, forecaster: Forecaster) -> Speed:
    """Return the published figure, moved to the batch asked for, so that every card is ranked at one batch."""
    wanted, have, value = asked_batch(question), figure.batch_size, figure.throughput_per_s
    if wanted is None or wanted == have or have is None or value is None:
        return figure
    moved = forecaster.rebatched(card, basis.case, value, have, wanted)
    return figure._replace(
        origin="predicted",
        throughput_per_s=moved.throughput_per_s,
        low_per_s=moved.low_per_s,
        high_per_s=moved.high_per_s,
        batch_size=wanted,
        predicted_by="own batch",
        why=(f"nobody published batch {wanted}: moved from its own {format_number(value, 4)} at batch {have}",),
    )


def _same_as_own(own: OwnMeasurement) -> Speed:
    """Reuse the user's own measurement for another card of the same model."""
    return Speed(
        origin="measured",
        stack=own.stack,
        throughput_per_s=own.throughput_per_s,
        low_per_s=own.low_per_s,
        high_per_s=own.high_per_s,
        batch_size=own.batch_size,
        why=("measured on yours",),
        sources=(own.record_id,),
    )


def _predicted(card: Card, basis: Basis, question: Question, forecaster: Forecaster) -> Speed:
    anchors = basis.anchors if basis.anchors is not None else forecaster.anchors(basis.case, card.card_class)
    batch = basis.own.batch_size if basis.own is not None else asked_batch(question)
    forecast = forecaster.predict(card, basis.case, batch, anchors)
    if isinstance(forecast, NoForecast):
        return Speed(cannot_say=forecast.reason)
    return Speed(
        origin="predicted",
        stack=basis.case.stack,
        throughput_per_s=forecast.throughput_per_s,
        low_per_s=forecast.low_per_s,
        high_per_s=forecast.high_per_s,
        batch_size=forecast.batch_size,
        predicted_by="law" if forecast.stack is None else "publisher's ratio",
        why=_words(forecast, card, forecaster),
    )


def _spelled(cards: Sequence[str]) -> str:
    """Name a few cards, count more."""
    return " and ".join(cards) if len(cards) <= _NAMED else f"{len(cards)} published cards"


def _words(forecast: Forecast, card: Card, forecaster: Forecaster) -> tuple[str, ...]:
    names = _spelled(forecast.anchors)
    if forecast.stack is not None:
        return (f"predicted from {names} by the ratio the same publisher measured in {forecast.stack}, 90 % range",)
    words = f"predicted from {names} at batch {forecast.batch_size}, 90 % range"
    checked_on = forecaster.validated_on(card)
    if len(checked_on) > 1:
        return (words,)
    if checked_on:
        return (words, f"{checked_on[0]} is the only {card.architecture} card of its class it could be checked on")
    others = _spelled(forecaster.validated_on(card, crosses=True))
    return (words, f"of {card.architecture} cards it could only be checked on another class: {others}")

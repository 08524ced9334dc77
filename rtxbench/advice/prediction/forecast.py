"""Predict one card's throughput, or say why not.

A prediction is made only where it was validated: within one software stack, for architectures that leave-one-card-out
has met (the anchors' as well as the card's), at a precision that has published figures, for a model whose speed the
paper figures decide. Where the kernels of the model are known, cards of all classes anchor each other; where they are
not, those of one class. Everything else is a `NoForecast` with its reason (docs/prediction.md shows what happens
without these rules).

Where the same publisher ran the card in another stack, beside a card that is in this one, that ratio says more than
any law: the card is then predicted from it (`ratios`).
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from rtxbench.advice.prediction.batches import fitting_batch
from rtxbench.advice.prediction.decoder_speeds import Level, fit_level
from rtxbench.advice.prediction.held_out import held_out_errors
from rtxbench.advice.prediction.kernel_law import Constants, Programs, fit_constants, has_program, roofline_law
from rtxbench.advice.prediction.points import Experiment, Floats, Points, points_of, training_points
from rtxbench.advice.prediction.ranges import LARGEST_SPREAD, Ranges, fit_ranges, support_of, supports
from rtxbench.advice.prediction.ratios import PairErrors, StackRatios, fit_pair_errors, fit_stack_ratios
from rtxbench.advice.prediction.scaling_laws import CHOSEN_METHODS, METHODS, Law, anchored, first_that_speaks
from rtxbench.catalog.cards import Card, load_cards
from rtxbench.catalog.published import Published, curated
from rtxbench.units import format_percent

__all__ = ["DECODER_STACK", "Forecast", "Forecaster", "NoForecast", "published_forecaster"]

DECODER_STACK = "language models by their kernels"
"""Basis of a fine-tuning speed where nobody published the model on several cards."""


class Forecast(NamedTuple):
    """A predicted throughput with its 90 % range."""

    throughput_per_s: float
    low_per_s: float
    high_per_s: float
    batch_size: int
    anchors: tuple[str, ...]
    """Cards it was predicted from."""
    log_half_width: float
    stack: str | None = None
    """Other stack of the same publisher whose ratio it rests on; ``None`` for the scaling law."""


class NoForecast(NamedTuple):
    """The reason why nothing can be predicted."""

    reason: str


class Forecaster:
    """The chosen method fitted to the published data, with the ranges its cross-validation supports."""

    def __init__(self, rows: Sequence[Published], cards: Mapping[str, Card], own: Programs | None = None) -> None:
        """Fit the laws; ``own`` are the kernels of models of one's own, which nobody published."""
        self.points = training_points(rows, cards)
        errors, across, pairs = held_out_errors(self.points)
        self._cards = cards
        self._own: Programs = own or {}
        self._laws = {name: METHODS[name].fit(self.points, settings) for name, settings in CHOSEN_METHODS}
        if self._own:
            self._laws = self._own_first(self._own)
        self.ranges: Ranges = fit_ranges(self.points, errors, across, supports(self.points))
        self.pairs: PairErrors = fit_pair_errors(pairs, self.ranges.spread)
        self._ratios: StackRatios = fit_stack_ratios(self.points)
        known = ~np.isnan(errors)
        self._validated = {cards[str(card)].name for card in set(self.points.card[known])}
        self._precisions = {str(precision) for precision in set(self.points.precision[known])}

    @cached_property
    def constants(self) -> Constants:
        """Constants of the kernel law, fitted to all published points."""
        return fit_constants(self.points)

    @cached_property
    def level(self) -> Level:
        """Level of published fine-tuning speeds of language models against the law's."""
        return fit_level(self.constants, load_cards())

    def with_programs(self, own: Programs) -> "Forecaster":
        """Return the same forecaster, which also speaks of models by their own kernels."""
        self.level  # noqa: B018  # fitted once for all copies
        other = copy(self)
        other._own = own
        other._laws = other._own_first(own)
        return other

    def _own_first(self, own: Programs) -> dict[str, Law]:
        """Put the law of these kernels before those of the whole model, which have something to say of any model."""
        return {"own": roofline_law(self.constants, own), **self._laws}

    def _law(self, points: Points) -> Floats:
        """Log throughput up to a constant per case (n), by the first law that speaks of the model."""
        return first_that_speaks([law(points) for law in self._laws.values()])

    def anchors(self, case: Experiment, card_class: str) -> Points:
        """Published points that may anchor ``case`` on a card of this class."""
        points = self.points
        same_class = (points.card_class == card_class) | self._has_kernels(case.model)
        return points.take(
            (points.stack == case.stack)
            & (points.model == case.model)
            & (points.precision == case.precision)
            & same_class
        )

    def validated_on(self, card: Card, *, crosses: bool = False) -> tuple[str, ...]:
        """Cards of the same architecture that leave-one-card-out could predict; of any class with ``crosses``."""
        cards = (self._cards[name] for name in sorted(self._validated))
        return tuple(
            other.name
            for other in cards
            if other.architecture == card.architecture and (crosses or other.card_class == card.card_class)
        )

    def predict(self, card: Card, case: Experiment, batch_size: int | None, anchors: Points) -> Forecast | NoForecast:
        """Throughput of ``case`` on ``card`` from ``anchors``.

        Args:
            card: the card nobody measured.
            case: stack, model and precision.
            batch_size: its batch; ``None`` takes the largest that fills its memory as the anchors' batches fill theirs.
            anchors: the same case on other cards, published or one's own.
        """
        other = self._ratios.predict(card.name, case) if batch_size is None else None
        if other is not None:
            value, half_width, names, stack, batch = other
            return _forecast(value, half_width, batch, names, stack)
        crosses = self._has_kernels(case.model) and card.card_class != "laptop"
        anchors = anchors.take((anchors.card != card.name) & ((anchors.card_class == card.card_class) | crosses))
        refusal = self._refusal(card, case, anchors)
        if refusal is not None:
            return refusal
        batch = fitting_batch(card, case, anchors, self._cards) if batch_size is None else batch_size
        if batch < 1:
            return NoForecast("not one example fits in its memory at this precision")
        query = points_of([(card, case, batch, 1.0)])
        log_value = float(anchored(anchors, query, self._law, crosses_classes=crosses)[0])
        names = tuple(sorted({str(name) for name in anchors.card}))
        own_class = {str(name) for name in anchors.card[anchors.card_class == card.card_class]}
        support = support_of(len(own_class), len(set(names) - own_class))
        half_width = self.ranges.log_half_width(case.model, case.stack, support)
        return _forecast(log_value, half_width, batch, names, None)

    def tokens_per_s(self, card: Card, case: Experiment, batch: int, tokens: int) -> Forecast | NoForecast:
        """Predict the fine-tuning of a language model by its kernels, at the level of published speeds."""
        if card.card_class == "laptop":
            return NoForecast("a laptop's speed follows the power limit that its maker set")
        if card.peak_flop_per_s(case.precision) is None:
            return NoForecast(f"no verified {case.precision} rate of this card")
        if not self.validated_on(card, crosses=True):
            return NoForecast(f"no {card.architecture} card was ever there to check a prediction on")
        log_value = float(self._law(points_of([(card, case, batch, 1.0)]))[0]) + math.log(tokens)
        value = log_value + self.level.log_factor
        return _forecast(value, self.level.log_half_width, batch, (), None)

    def _is_own(self, model: str) -> bool:
        return any(name == model for name, _ in self._own)

    def _has_kernels(self, model: str) -> bool:
        return has_program(model) or self._is_own(model)

    def rebatched(self, card: Card, case: Experiment, throughput_per_s: float, batch: int, wanted: int) -> Forecast:
        """Move a published figure to another batch by the law's fixed cost per step, with the law's range."""
        log_value = math.log(throughput_per_s) + float(
            (self._law(points_of([(card, case, wanted, 1.0)])) - self._law(points_of([(card, case, batch, 1.0)])))[0]
        )
        return _forecast(
            log_value, self.ranges.log_half_width(case.model, case.stack, "one"), wanted, (card.name,), None
        )

    def pair_log_half_width(self, one: Card, other: Card, case: Experiment, batches: tuple[int, int]) -> float:
        """Half-width (log scale) of the ratio of two predictions of one case: their common anchors' errors cancel."""
        gap = self._law(points_of([(one, case, batches[0], 1.0)])) - self._law(
            points_of([(other, case, batches[1], 1.0)])
        )
        width = self.pairs.log_half_width(float(abs(gap[0])), self.ranges.spread(case.model))
        return max(width, self.level.pair_log_half_width) if case.stack == DECODER_STACK else width

    def _refusal(self, card: Card, case: Experiment, anchors: Points) -> NoForecast | None:
        if not self._is_own(case.model) and case.precision not in self._precisions:
            return NoForecast(f"no public training figure in {case.precision} to check a prediction on")
        if card.peak_flop_per_s(case.precision) is None:
            return NoForecast(f"no verified {case.precision} rate of this card")
        crosses = self._has_kernels(case.model) and card.card_class != "laptop"
        kind = card.architecture if crosses else f"{card.architecture} {_spelled(card)}"
        if not self.validated_on(card, crosses=crosses):
            return NoForecast(f"no {kind} card was ever there to check a prediction on")
        if not len(anchors):
            what = "card" if crosses else f"{_spelled(card)} card"
            return NoForecast(
                f"no {what} measured in the same software stack{'' if crosses else '; classes do not transfer'}"
            )
        for name in sorted({str(name) for name in anchors.card}):
            if not self.validated_on(self._cards[name], crosses=crosses):
                return NoForecast(f"{name}, which it would be predicted from, is of an architecture never checked")
        return self._model_refusal(case.model)

    def _model_refusal(self, model: str) -> NoForecast | None:
        if self._is_own(model):
            return None
        if model not in self.ranges.models:
            return NoForecast(
                f"no published figures of {model} on several cards: nobody could check how its speed differs between "
                "cards, and a network whose steps are short is bound by launches"
            )
        spread = self.ranges.models[model]
        if spread > LARGEST_SPREAD:
            return NoForecast(
                f"predictions of {model} were off by {format_percent(math.expm1(spread), 0)} where they could be "
                "checked: paper figures do not decide its speed"
            )
        return None


def _forecast(log_value: float, half_width: float, batch: int, names: tuple[str, ...], stack: str | None) -> Forecast:
    low, value, high = (math.exp(log_value + shift) for shift in (-half_width, 0.0, half_width))
    return Forecast(value, low, high, batch, names, half_width, stack)


def _spelled(card: Card) -> str:
    return "GeForce" if card.card_class == "geforce" else card.card_class


@cache
def published_forecaster() -> Forecaster:
    """Fit the method to the package's own catalogue and figures, once a process: its cross-validation takes time."""
    return Forecaster(curated().kept, load_cards())

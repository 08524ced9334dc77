"""Predict one card's throughput, or say why not.

A prediction is made only where it was validated: within one software stack, within one card class, for an
architecture that leave-one-card-out has met in that class, at a precision that has published figures. Everything
else is a `Refusal` with its reason (docs/prediction.md shows what happens without these rules: across classes the
median error is 20 to 80 %).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rtxbench.advice.prediction.scaling_laws import (
    CHOSEN_METHOD,
    METHODS,
    Case,
    Points,
    anchored,
    conformal_log_half_width,
    leave_one_card_out,
    points_of,
    training_points,
)
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import Published

__all__ = ["Forecast", "Forecaster", "Refusal", "scaled_batch"]


class Forecast(NamedTuple):
    """A predicted throughput with its 90 % range."""

    throughput_per_s: float
    low_per_s: float
    high_per_s: float
    batch_size: int
    anchors: tuple[str, ...]
    """Cards it was predicted from."""


class Refusal(NamedTuple):
    """Why nothing can be said."""

    reason: str


class Forecaster:
    """The chosen method fitted to the published data, with the range its cross-validation supports."""

    def __init__(self, rows: Sequence[Published], cards: Mapping[str, Card]) -> None:
        self.points = training_points(rows, cards)
        name, settings = CHOSEN_METHOD
        errors = leave_one_card_out(self.points, name, settings) - self.points.log_throughput
        self._cards = cards
        self._law = METHODS[name].fit(self.points, settings)
        self.log_half_width = conformal_log_half_width(errors)
        known = ~np.isnan(errors)
        self._validated = [cards[str(card)] for card in np.unique(self.points.card[known])]
        self._precisions = {str(precision) for precision in np.unique(self.points.precision[known])}

    def anchors(self, case: Case, card_class: str) -> Points:
        """Published points that may anchor ``case`` on a card of this class."""
        points = self.points
        return points.take(
            (points.stack == case.stack)
            & (points.model == case.model)
            & (points.precision == case.precision)
            & (points.card_class == card_class)
        )

    def validated_on(self, card: Card) -> tuple[str, ...]:
        """Cards of the same class and architecture that leave-one-card-out could predict."""
        same = (card.card_class, card.architecture)
        return tuple(other.name for other in self._validated if (other.card_class, other.architecture) == same)

    def predict(self, card: Card, case: Case, batch_size: int | None, anchors: Points) -> Forecast | Refusal:
        """Throughput of ``case`` on ``card`` from ``anchors``.

        Args:
            card: the card nobody measured.
            case: stack, model and precision.
            batch_size: its batch; ``None`` scales the anchors' by memory.
            anchors: the same case on other cards, published or one's own.
        """
        anchors = anchors.take(anchors.card != card.name)
        refusal = self._refusal(card, case, anchors)
        if refusal is not None:
            return refusal
        batch = batch_size or scaled_batch(card, anchors, self._cards)
        query = points_of([(card, case, batch, 1.0)])
        log_value = float(anchored(anchors, query, self._law)[0])
        return Forecast(
            math.exp(log_value),
            math.exp(log_value - self.log_half_width),
            math.exp(log_value + self.log_half_width),
            batch,
            tuple(sorted({str(name) for name in anchors.card})),
        )

    def _refusal(self, card: Card, case: Case, anchors: Points) -> Refusal | None:
        if case.precision not in self._precisions:
            return Refusal(f"no public training figure in {case.precision} to check a prediction on")
        if card.peak_flop_per_s(case.precision) is None:
            return Refusal(f"no verified {case.precision} rate of this card")
        if not self.validated_on(card):
            return Refusal(f"no {card.architecture} {_spelled(card)} card was ever there to check a prediction on")
        if not len(anchors.take(anchors.card_class == card.card_class)):
            return Refusal(f"no {_spelled(card)} card measured in the same software stack; classes do not transfer")
        return None


def _spelled(card: Card) -> str:
    return "GeForce" if card.card_class == "geforce" else card.card_class


def scaled_batch(card: Card, anchors: Points, cards: Mapping[str, Card]) -> int:
    """The anchors' batch per byte of memory (geometric mean) times the card's memory, at least 1.

    Published batches are the largest that fit, so a card's own is in proportion to its memory.
    """
    per_byte = anchors.log_batch - np.log([cards[str(name)].memory_bytes for name in anchors.card])
    return max(1, int(math.exp(float(per_byte.mean())) * card.memory_bytes * 1.000001))

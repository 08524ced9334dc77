"""The 90 % range of a prediction: how far the law was off on cards and models it had not seen.

One range for all would be too narrow for the models whose speed the paper figures do not decide and too wide for the
rest. Each model therefore has a spread of its own, shrunk toward that of all models while it has few figures, and the
range is the conformal quantile of errors measured in units of that spread, apart for one anchor and for several:
Papadopoulos et al., "Inductive Confidence Machines for Regression", ECML 2002 (normalised scores), and Vovk et al.,
"Algorithmic Learning in a Random World", 2005 (Mondrian strata).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rtxbench.advice.prediction.kernel_law import has_program
from rtxbench.advice.prediction.points import Floats, Labels, Points
from rtxbench.advice.prediction.scaling_laws import conformal_log_half_width

__all__ = ["LARGEST_SPREAD", "Ranges", "anchor_counts", "card_conformal", "fit_ranges"]

_SHRINK = 4.0
"""Figures' worth of the overall spread that each model's own is mixed with."""
LARGEST_SPREAD = 0.25
"""Typical log error above which a model is not predicted at all: the paper figures do not decide its speed."""
_SMALLEST_STRATUM = 20
_ONE_ANCHOR_RATIO = math.sqrt(4 / 3)
"""Error of a prediction from one card ÷ that from two: (1 + 1) ÷ (1 + 1/2) in variance, the card's own and the
anchors' being alike."""
_LEVELS = (0.90, 0.92, 0.94, 0.96, 0.98)


class Ranges(NamedTuple):
    """The range that a new prediction gets."""

    overall: float
    """Typical log error over all models (root mean square)."""
    models: Mapping[str, float]
    """Model → its own, shrunk."""
    quantiles: Mapping[bool, float]
    """Several anchors? → conformal quantile of |error| ÷ spread."""

    def spread(self, model: str) -> float:
        """Typical log error of a model; the overall one for a model never seen."""
        return self.models.get(model, self.overall)

    def log_half_width(self, model: str, anchors: int) -> float:
        """Half-width of the 90 % range (log scale) of ``model`` predicted from that many cards."""
        return self.quantiles[anchors > 1] * self.spread(model)


def fit_ranges(points: Points, errors: Floats, anchors: Floats, coverage: float = 0.90) -> Ranges:
    """Ranges from out-of-sample log ``errors`` (n, NaN ignored) of ``points`` with ``anchors`` (n) cards behind each.

    Raises:
        ValueError: too few errors for that coverage.
    """
    known = ~np.isnan(errors)
    points, errors, anchors = points.take(known), errors[known], anchors[known]
    overall = _root_mean_square(errors)
    models = {str(model): _shrunk(errors[points.model == model], overall) for model in np.unique(points.model)}
    # A figure's own error must not widen the yardstick it is measured with: the card's figures are left out.
    scores = np.array(
        [
            abs(error) / _shrunk(errors[(points.model == model) & (points.card != card)], overall)
            for error, model, card in zip(errors, points.model, points.card, strict=True)
        ]
    )
    quantiles = {}
    for several in (False, True):
        here = (anchors > 1) == several
        chosen = here if here.sum() >= _SMALLEST_STRATUM else np.ones(len(scores), dtype=bool)
        quantiles[several] = card_conformal(scores[chosen], points.card[chosen], coverage)
    quantiles[False] = max(quantiles[False], _ONE_ANCHOR_RATIO * quantiles[True])
    return Ranges(overall, models, quantiles)


def card_conformal(scores: Floats, cards: Labels, coverage: float = 0.90) -> float:
    """Quantile of ``scores`` (n) that covers the figures of a card left out.

    A card's figures share their error, so the plain conformal quantile covers too few of a new card's. The level is
    raised until, card by card, the other cards' quantile has covered that share of its figures.

    Raises:
        ValueError: too few scores for that coverage.
    """
    for level in _LEVELS:
        inside = 0
        for card in np.unique(cards):
            others = scores[cards != card]
            if len(others) < 10:
                return conformal_log_half_width(scores, coverage)
            inside += int((scores[cards == card] <= np.quantile(others, level)).sum())
        if inside >= coverage * len(scores):
            break
    return float(np.quantile(scores, level))


def anchor_counts(points: Points) -> Floats:
    """Count for each point (n) the other cards that could anchor it: of any class where its kernels are known."""
    anchored_by = np.where([has_program(str(model)) for model in points.model], points.case, points.group)
    cards = {str(key): set(points.card[anchored_by == key]) for key in np.unique(anchored_by)}
    return np.array([len(cards[str(key)] - {card}) for key, card in zip(anchored_by, points.card, strict=True)])


def _root_mean_square(errors: Floats) -> float:
    return math.sqrt(float(np.mean(errors**2))) if len(errors) else 0.0


def _shrunk(errors: Floats, overall: float) -> float:
    return math.sqrt((float(np.sum(errors**2)) + _SHRINK * overall**2) / (len(errors) + _SHRINK))

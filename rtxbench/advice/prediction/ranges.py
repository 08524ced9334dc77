"""The 90 % range of a prediction: how far the law was off on cards and models it had not seen.

One range for all would be too narrow for the models whose speed the paper figures do not decide and too wide for the
rest. Each model therefore has a spread of its own, and each stack a factor (some publishers' tables are noisier than
others), both shrunk toward those of all while there are few figures. The range is the conformal quantile of errors
measured in that unit, apart for one anchor, for several, and for those of other card classes alone: Papadopoulos et
al., "Inductive Confidence Machines for Regression", ECML 2002 (normalised scores), and Vovk et al., "Algorithmic
Learning in a Random World", 2005 (Mondrian strata).
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from rtxbench.advice.prediction.kernel_law import has_program
from rtxbench.advice.prediction.points import Floats, Labels, Masks, Points
from rtxbench.advice.prediction.scaling_laws import conformal_log_half_width

__all__ = [
    "LARGEST_SPREAD",
    "Ranges",
    "Support",
    "anchor_counts",
    "card_conformal",
    "fit_ranges",
    "support_of",
    "supports",
]

_SHRINK = 4.0
"""Figures' worth of the overall spread that each model's own is mixed with."""
_STACK_SHRINK = 10.0
"""The same for the factor of a stack, whose figures share hosts and faults."""
LARGEST_SPREAD = 0.25
"""Typical log error above which a model is not predicted at all: the paper figures do not decide its speed."""
_SMALLEST_STRATUM = 20
_ONE_ANCHOR_RATIO = math.sqrt(4 / 3)
"""Error of a prediction from one card ÷ that from two: (1 + 1) ÷ (1 + 1/2) in variance, the card's own and the
anchors' being alike."""
_LEVELS = (0.90, 0.92, 0.94, 0.96, 0.98)


Support: TypeAlias = Literal["one", "several", "other classes"]
"""Anchors behind a prediction: one card, several, or none of the card's own class."""


def support_of(own_class: int, others: int) -> Support:
    """Name the support that so many anchors of the card's own class, and of other classes, give."""
    if not own_class and others:
        return "other classes"
    return "several" if own_class + others > 1 else "one"


class Ranges(NamedTuple):
    """The range that a new prediction gets."""

    overall: float
    """Typical log error over all models (root mean square)."""
    models: Mapping[str, float]
    """Model → its own, shrunk."""
    stacks: Mapping[str, float]
    """Stack → its errors ÷ those of all, in units of the models' spread."""
    quantiles: Mapping[Support, float]
    """Support → conformal quantile of |error| ÷ (spread × factor of the stack)."""

    def spread(self, model: str) -> float:
        """Typical log error of a model; the overall one for a model never seen."""
        return self.models.get(model, self.overall)

    def log_half_width(self, model: str, stack: str, support: Support) -> float:
        """Half-width of the 90 % range (log scale) of ``model`` in ``stack`` with that support."""
        return self.quantiles[support] * self.spread(model) * self.stacks.get(stack, 1.0)


def fit_ranges(points: Points, errors: Floats, across: Floats, supported: Labels, coverage: float = 0.90) -> Ranges:
    """Ranges from out-of-sample log errors of ``points``.

    Args:
        points: published points (n).
        errors: log errors (n, NaN ignored).
        across: log errors (n, NaN ignored) of predictions from other card classes alone.
        supported: the `Support` (n) behind each of ``errors``.
        coverage: share of new figures that a range should hold.

    Raises:
        ValueError: too few errors for that coverage.
    """
    known = ~np.isnan(errors)
    points, errors, across, supported = points.take(known), errors[known], across[known], supported[known]
    overall = _root_mean_square(errors)
    models = {str(model): _shrunk(errors[points.model == model], overall, _SHRINK) for model in np.unique(points.model)}
    # A figure's own error must not widen the yardstick it is measured with: the card's figures are left out.
    yardstick = np.array(
        [
            _shrunk(errors[(points.model == model) & (points.card != card)], overall, _SHRINK)
            for model, card in zip(points.model, points.card, strict=True)
        ]
    )
    scores = np.abs(errors) / yardstick
    usual = _root_mean_square(scores)
    stacks = {str(stack): _factor(scores[points.stack == stack], usual) for stack in np.unique(points.stack)}
    factors = [
        _factor(scores[(points.stack == stack) & (points.card != card)], usual)
        for stack, card in zip(points.stack, points.card, strict=True)
    ]
    scores, crossing = scores / factors, np.abs(across) / yardstick / factors
    quantiles: dict[Support, float] = {}
    parts: Mapping[Support, Masks] = {"one": supported == "one", "several": supported != "one"}
    for support, here in parts.items():
        chosen = here if here.sum() >= _SMALLEST_STRATUM else np.ones(len(scores), dtype=bool)
        quantiles[support] = card_conformal(scores[chosen], points.card[chosen], coverage)
    quantiles["one"] = max(quantiles["one"], _ONE_ANCHOR_RATIO * quantiles["several"])
    crossed = ~np.isnan(crossing)
    quantiles["other classes"] = quantiles["several"]
    if crossed.sum() >= _SMALLEST_STRATUM:  # of all points, as if none of its own class had been there
        across_quantile = card_conformal(crossing[crossed], points.card[crossed], coverage)
        quantiles["other classes"] = max(quantiles["several"], across_quantile)
    return Ranges(overall, models, stacks, quantiles)


def _factor(scores: Floats, usual: float) -> float:
    """Widen a stack's ranges by its own errors; never narrower: that few cards agreed says nothing of the next."""
    return max(1.0, _shrunk(scores, usual, _STACK_SHRINK) / usual)


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


def supports(points: Points) -> Labels:
    """Name for each point (n) the `Support` that the other cards give it."""
    crossing = np.array([has_program(str(model)) for model in points.model])
    found = []
    for i, card in enumerate(points.card):
        own = set(points.card[points.group == points.group[i]]) - {card}
        every = set(points.card[points.case == points.case[i]]) - {card} if crossing[i] else own
        found.append(support_of(len(own), len(every - own)))
    return np.array(found, dtype=np.str_)


def _root_mean_square(errors: Floats) -> float:
    return math.sqrt(float(np.mean(errors**2))) if len(errors) else 0.0


def _shrunk(errors: Floats, overall: float, weight: float) -> float:
    return math.sqrt((float(np.sum(errors**2)) + weight * overall**2) / (len(errors) + weight))

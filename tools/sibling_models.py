"""A model not published on a card that other models are published on: do those siblings help?

Candidates take the scaling law (or none) and add what the card's other models say about how it departs from it.
Leave-one-model-out found that the law alone is best, so predictions use no correction; the candidates stay here
because that is a finding, not an assumption.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rtxbench.advice.prediction.scaling_laws import METHODS, Floats, Law, Points, anchored

__all__ = ["CHOSEN_CORRECTION", "SIBLING_CORRECTIONS", "SiblingCorrection", "leave_one_model_out"]


class SiblingCorrection(NamedTuple):
    """One candidate."""

    use_law: bool
    """False: the card's throughput is taken as a plain ratio to its anchors."""
    shrink: float
    """n siblings count n ÷ (n + shrink); infinite ignores them."""
    slope: bool
    """Whether the ratio may depend on the model's arithmetic intensity."""
    belief: str


SIBLING_CORRECTIONS: Mapping[str, SiblingCorrection] = {
    "none": SiblingCorrection(True, math.inf, False, "the law alone"),
    "constant-ratio": SiblingCorrection(False, 0.0, False, "the card's mean ratio to its anchors on its other models"),
    "intensity-slope": SiblingCorrection(
        False, 0.0, True, "that ratio, linear in the model's gain from mixed precision (a proxy of its intensity)"
    ),
    "card-offset": SiblingCorrection(True, 0.0, False, "the law, moved by its mean error on the card's other models"),
    "shrunk-card-offset": SiblingCorrection(True, 4.0, False, "as card-offset, counted n ÷ (n + 4)"),
}
"""Candidates of leave-one-model-out, by name."""

CHOSEN_CORRECTION = "none"
"""What leave-one-model-out chose; a test holds it to that."""


def leave_one_model_out(points: Points, method: str, settings: Mapping[str, float]) -> dict[str, Floats]:
    """Predicted log throughput (n) of each (card, model) without that model's rows on that card, per correction.

    NaN where no anchor is left.
    """
    predicted = {name: np.full(len(points), np.nan) for name in SIBLING_CORRECTIONS}
    for card in np.unique(points.card):
        for model in np.unique(points.model[points.card == card]):
            out = (points.card == card) & (points.model == model)
            train, query = points.take(~out), points.take(out)
            fitted = METHODS[method].fit(train, settings)
            for name, rule in SIBLING_CORRECTIONS.items():
                law = fitted if rule.use_law else _flat
                predicted[name][out] = anchored(train, query, law) + _offsets(train, query, law, rule)
    return predicted


def _flat(points: Points) -> Floats:
    return np.zeros(len(points))


def _offsets(train: Points, query: Points, law: Law, rule: SiblingCorrection) -> Floats:
    """Log correction of each query point (n). All query points are of one card."""
    if math.isinf(rule.shrink):
        return np.zeros(len(query))
    here = train.card == query.card[0]
    siblings = train.take(here)
    error = siblings.log_throughput - anchored(train.take(~here), siblings, law)
    return np.array(
        [_offset(siblings, error, train, query.take(np.arange(len(query)) == i), rule) for i in range(len(query))],
        dtype=np.float64,
    )


def _offset(siblings: Points, error: Floats, train: Points, query: Points, rule: SiblingCorrection) -> float:
    same = (siblings.stack == query.stack[0]) & (siblings.precision == query.precision[0]) & ~np.isnan(error)
    known = error[same]
    if not len(known):
        return 0.0
    if rule.slope:
        stack = str(query.stack[0])
        gains = np.array([_mixed_gain(train, stack, str(model)) for model in siblings.model[same]])
        gain, usable = _mixed_gain(train, stack, str(query.model[0])), ~np.isnan(gains)
        if usable.sum() >= 4 and not math.isnan(gain) and np.ptp(gains[usable]) > 0:
            slope, intercept = np.polyfit(gains[usable], known[usable], 1)
            return float(intercept + slope * gain)
    return float(known.sum() / (len(known) + rule.shrink))


def _mixed_gain(train: Points, stack: str, model: str) -> float:
    """Mean log throughput in mixed_float16 less that in TF32, over the cards of ``train``; NaN where unknown."""
    here = (train.stack == stack) & (train.model == model)
    mixed, full = (train.log_throughput[here & (train.precision == p)] for p in ("mixed_float16", "tf32"))
    return float(mixed.mean() - full.mean()) if len(mixed) and len(full) else math.nan

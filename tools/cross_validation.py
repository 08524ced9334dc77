"""How far off the predictions are, found on published figures they had not seen.

``python -m tools.prediction_page [--write docs/prediction.md]`` runs all of it (seconds) and prints the
page. Nothing is tuned on what it is scored on:

- *Leave one card out.* Every row of one card leaves every stack. The method **and** its settings are picked by the
  same procedure among the remaining cards (nested), and the 90 % range comes from their errors. Then the card is
  predicted.
- *Leave one model out.* The rows of one model on one card leave. Which correction to use is picked by the errors on
  the other models, and the range too.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rtxbench.advice.prediction.batches import fitting_batch
from rtxbench.advice.prediction.ranges import LARGEST_SPREAD, anchor_counts, card_conformal, fit_ranges
from rtxbench.advice.prediction.ratios import PairError, PairErrors
from rtxbench.advice.prediction.scaling_laws import (
    CHOSEN_METHOD,
    METHODS,
    Experiment,
    Floats,
    Masks,
    Points,
    anchored,
    leave_one_card_out,
)
from rtxbench.advice.several import efficiency_of, pairs_of
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import Published

__all__ = [
    "Folds",
    "Score",
    "class_transfer",
    "memory_scaled_batches",
    "nested_card_folds",
    "nested_model_folds",
    "order_counts",
    "pair_efficiency_checks",
    "pick_method",
    "score",
]


class Score(NamedTuple):
    """Absolute relative errors of ``n`` held-out figures, and how many fell inside their stated range."""

    n: int
    median_error_ratio: float
    p90_error_ratio: float
    coverage_ratio: float | None


class Folds(NamedTuple):
    """Held-out predictions (n, NaN where no anchor was left) with the half-width stated for each (n, log scale)."""

    log_predicted: Floats
    log_half_width: Floats
    picked: Mapping[str, str]
    """Held-out unit → method and settings picked without it."""
    refused: Masks | None = None
    """Where nothing is said (n): without the card, the model's errors were too large."""


def score(points: Points, folds: Folds, chosen: Masks | None = None) -> Score:
    """Score the folds over the points where ``chosen`` holds (default all) and a prediction was made."""
    error = folds.log_predicted - points.log_throughput
    use = ~np.isnan(error) if chosen is None else chosen & ~np.isnan(error)
    relative = np.abs(np.expm1(error[use]))
    covered = np.abs(error[use]) <= folds.log_half_width[use]
    return Score(
        n=int(use.sum()),
        median_error_ratio=float(np.median(relative)),
        p90_error_ratio=float(np.quantile(relative, 0.9)),
        coverage_ratio=None if np.isnan(folds.log_half_width[use]).any() else float(covered.mean()),
    )


def pick_method(points: Points) -> tuple[str, Mapping[str, float]]:
    """The method with the smallest median leave-one-card-out error on ``points``, absolute on the log scale.

    Returns:
        Its name in `METHODS`, and the settings it is fitted with.
    """

    def median_error(candidate: tuple[str, Mapping[str, float]]) -> float:
        error = leave_one_card_out(points, *candidate) - points.log_throughput
        return float(np.nanmedian(np.abs(error)))

    return min(_candidates(), key=median_error)


def nested_card_folds(points: Points) -> Folds:
    """Leave one card out, with method, settings and range picked among the other cards."""
    predicted, half_width = np.full(len(points), np.nan), np.full(len(points), np.nan)
    refused, anchors = np.zeros(len(points), dtype=bool), anchor_counts(points)
    picked = {}
    for card in np.unique(points.card):
        out = points.card == card
        train, query = points.take(~out), points.take(out)
        name, settings = pick_method(train)
        inner = leave_one_card_out(train, name, settings) - train.log_throughput
        ranges = fit_ranges(train, inner, anchor_counts(train))
        predicted[out] = anchored(train, query, METHODS[name].fit(train, settings))
        asked = zip(query.model, anchors[out], strict=True)
        half_width[out] = [ranges.log_half_width(str(model), int(count)) for model, count in asked]
        refused[out] = [ranges.spread(str(model)) > LARGEST_SPREAD for model in query.model]
        picked[str(card)] = _named(name, settings)
    return Folds(np.where(refused, np.nan, predicted), half_width, picked, refused & ~np.isnan(predicted))


def nested_model_folds(points: Points, predictions: Mapping[str, Floats]) -> Folds:
    """Of `leave_one_model_out`, the correction and range picked by the errors on the other models."""
    errors = {name: predicted - points.log_throughput for name, predicted in predictions.items()}
    predicted, half_width = np.full(len(points), np.nan), np.full(len(points), np.nan)
    picked = {}
    for model in np.unique(points.model):
        out = points.model == model
        best = min(errors, key=lambda name: float(np.nanmedian(np.abs(errors[name][~out]))))
        predicted[out] = predictions[best][out]
        known = ~out & ~np.isnan(errors[best])
        half_width[out] = card_conformal(np.abs(errors[best][known]), points.card[known])
        picked[str(model)] = best
    return Folds(predicted, half_width, picked)


class Transfer(NamedTuple):
    """One card predicted from anchors of another class in one stack."""

    from_class: str
    to_class: str
    stack: str
    card: str
    median_error_ratio: float
    median_bias_ratio: float
    """Median predicted ÷ published: above 1 the card is flattered."""


def class_transfer(points: Points) -> Iterator[Transfer]:
    """Predict each card from the anchors of each other class, to show why that is refused."""
    name, settings = CHOSEN_METHOD
    for card in np.unique(points.card):
        out = points.card == card
        to_class = str(points.card_class[out][0])
        law = METHODS[name].fit(points.take(~out), settings)
        for from_class in np.unique(points.card_class[points.card_class != to_class]):
            anchors, query = points.take(points.card_class == from_class), points.take(out)
            error = anchored(_one_class(anchors), _one_class(query), law) - query.log_throughput
            for stack in np.unique(query.stack):
                here = error[(query.stack == stack) & ~np.isnan(error)]
                if len(here):
                    yield Transfer(
                        str(from_class),
                        to_class,
                        str(stack),
                        str(card),
                        float(np.median(np.abs(np.expm1(here)))),
                        float(np.exp(np.median(here))),
                    )


def memory_scaled_batches(points: Points, cards: Mapping[str, Card], log_half_width: Floats) -> Folds:
    """Leave one card out where the held-out card's batch is not looked up but is the one that fits, from its anchors'.

    That is what happens for a card nobody measured: its largest batch is not known either. ``log_half_width`` is the
    range stated for each point (n) by `nested_card_folds`.
    """
    name, settings = CHOSEN_METHOD
    predicted = np.full(len(points), np.nan)
    for card in np.unique(points.card):
        out = points.card == card
        train, query = points.take(~out), points.take(out)
        query = dataclasses.replace(query, log_batch=_fitting(cards[str(card)], train, query, cards))
        predicted[out] = anchored(train, query, METHODS[name].fit(train, settings))
    return Folds(predicted, log_half_width, {})


def order_counts(errors: Sequence[PairError], widths: PairErrors, spread: Callable[[str], float]) -> tuple[int, int]:
    """Pairs of which the predicted ratio's range holds 1, and those among them in the right order."""
    undecided = [
        error
        for error in errors
        if abs(error.log_ratio) < widths.log_half_width(abs(error.log_ratio), spread(error.model))
    ]
    return len(undecided), sum(error.log_ratio * (error.log_ratio - error.log_error) > 0 for error in undecided)


class PairEfficiencyCheck(NamedTuple):
    """One published pair predicted from the pairs of other cards."""

    card_class: str
    error_ratio: float
    """Absolute error of the throughput of two."""
    inside: bool


def pair_efficiency_checks(rows: Sequence[Published], cards: Mapping[str, Card]) -> list[PairEfficiencyCheck]:
    """Predict every published pair from the pairs of the other cards of its class."""
    pairs, found = pairs_of(rows, cards), []
    for pair in pairs:
        others = [other for other in pairs if other.card != pair.card]
        kept = efficiency_of(cards[pair.card], Experiment("", pair.model, pair.precision), 2, others)
        if kept is not None:
            error = abs(kept.ratio / pair.efficiency_ratio - 1)
            inside = kept.low_ratio <= pair.efficiency_ratio <= max(kept.high_ratio, 1.02)
            found.append(PairEfficiencyCheck(pair.card_class, error, inside))
    return found


def _fitting(card: Card, train: Points, query: Points, cards: Mapping[str, Card]) -> Floats:
    """Log of the batch each query point (n) would be assumed to run at."""
    found = query.log_batch.copy()
    for i, group in enumerate(query.group):
        anchors = train.take(train.group == group)
        if len(anchors):
            case = Experiment(str(query.stack[i]), str(query.model[i]), str(query.precision[i]))
            found[i] = np.log(max(1, fitting_batch(card, case, anchors, cards)))
    return found


def _one_class(points: Points) -> Points:
    return dataclasses.replace(points, card_class=np.full(len(points), "any"))


def _candidates() -> list[tuple[str, Mapping[str, float]]]:
    return [(name, settings) for name, method in METHODS.items() for settings in method.grid]


def _named(name: str, settings: Mapping[str, float]) -> str:
    return ", ".join([name, *(f"{key} {value:g}" for key, value in settings.items())])

"""How far off the predictions are, found on published figures they had not seen.

``python -m tools.prediction_page [--write docs/prediction.md]`` runs all of it (seconds) and prints the
page. Nothing is tuned on what it is scored on:

- *Leave one card out.* Every row of one card leaves every stack. The method **and** its settings are picked by the
  same procedure among the remaining cards (nested), and the 90 % range comes from their errors. Then the card is
  predicted.
- *Leave one model out.* The law is fitted without the card and without the model, whose other cards are the anchors;
  its range comes from the errors on the other models.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from rtxbench.advice.prediction.batches import fitting_batch
from rtxbench.advice.prediction.kernel_law import has_program
from rtxbench.advice.prediction.points import Experiment, Floats, Masks, Points
from rtxbench.advice.prediction.ranges import LARGEST_SPREAD, Support, card_conformal, fit_ranges, supports
from rtxbench.advice.prediction.ratios import PairError, PairErrors
from rtxbench.advice.prediction.scaling_laws import (
    CHOSEN_METHODS,
    METHODS,
    Choice,
    Fit,
    Law,
    anchored,
    first_that_speaks,
    fit_law,
    leave_one_card_out,
)
from rtxbench.advice.several import COUNTS, efficiency_of, pairs_of
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import Published

CONTESTED = "(the others alone favour the second)"
"""Said of a fold whose other cards have the smaller median by the law of the whole model."""

__all__ = [
    "CONTESTED",
    "Folds",
    "Picked",
    "Score",
    "class_transfer",
    "memory_scaled_batches",
    "model_folds",
    "nested_card_folds",
    "order_counts",
    "pick_methods",
    "predicted_by",
    "score",
    "several_checks",
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


class Picked(NamedTuple):
    """Methods with their settings, each of which speaks where those before it are silent."""

    choices: tuple[Choice, ...]
    log_errors: Floats
    """Of leave-one-card-out by them (n)."""
    log_errors_across: Floats
    """The same from other card classes alone (n)."""
    crossing_is_better: bool
    """The law that crosses classes has the smaller median where both speak."""


def pick_methods(points: Points, fit: Fit = fit_law) -> Picked:
    """Pick by the median leave-one-card-out error on ``points``, absolute on the log scale.

    The law that crosses classes comes first, whatever its median: it alone speaks of a card without published
    neighbours of its class. Behind it comes the best law of the whole model. ``fit`` as in `leave_one_card_out`.
    """
    errors = {
        place: leave_one_card_out(points, *candidate, fit) - points.log_throughput
        for place, candidate in enumerate(_candidates())
    }

    def best(crosses: bool) -> int:
        chosen = [place for place in errors if METHODS[_candidates()[place][0]].crosses_classes == crosses]
        return min(chosen, key=lambda place: float(np.nanmedian(np.abs(errors[place]))))

    whole, crossing = best(False), best(True)
    both = ~np.isnan(errors[whole]) & ~np.isnan(errors[crossing])
    better = bool(np.median(np.abs(errors[crossing][both])) < np.median(np.abs(errors[whole][both])))
    choices = tuple(_candidates()[place] for place in (crossing, whole))
    across = leave_one_card_out(points, *_candidates()[crossing], fit, own_class=False) - points.log_throughput
    return Picked(choices, first_that_speaks([errors[crossing], errors[whole]]), across, better)


def predicted_by(choices: Sequence[Choice], train: Points, query: Points, anchors: Points | None = None) -> Floats:
    """Log throughput of ``query`` (n) by the first method that speaks, fitted to ``train``.

    It is anchored by ``anchors``, where there are none by ``train`` itself.
    """
    found, anchors = [], train if anchors is None else anchors
    for name, settings in choices:
        method = METHODS[name]
        law = method.fit(train, settings)
        found.append(anchored(anchors, query, law, crosses_classes=method.crosses_classes))
    return first_that_speaks(found)


def _remembering_fit() -> Fit:
    """Make a `fit_law` for parts of the same points: what is left without A and B is left without B and A."""
    laws: dict[tuple[str, tuple[tuple[str, float], ...], tuple[str, ...]], Law] = {}

    def fit(train: Points, method: str, settings: Mapping[str, float]) -> Law:
        """Look the law up by its method, its settings and the cards it has seen; fit it where it is new."""
        key = method, tuple(settings.items()), tuple(str(card) for card in np.unique(train.card))
        if key not in laws:
            laws[key] = fit_law(train, method, settings)
        return laws[key]

    return fit


def nested_card_folds(points: Points) -> Folds:
    """Leave one card out, with method, settings and range picked among the other cards."""
    predicted, half_width = np.full(len(points), np.nan), np.full(len(points), np.nan)
    refused, supported = np.zeros(len(points), dtype=bool), supports(points)
    picked, fit = {}, _remembering_fit()
    for out, train, query in points.card_splits:
        found = pick_methods(train, fit)
        ranges = fit_ranges(train, found.log_errors, found.log_errors_across, supports(train))
        predicted[out] = predicted_by(found.choices, train, query)
        asked = zip(query.model, query.stack, supported[out], strict=True)
        half_width[out] = [
            ranges.log_half_width(str(model), str(stack), cast(Support, str(support)))
            for model, stack, support in asked
        ]
        refused[out] = [ranges.spread(str(model)) > LARGEST_SPREAD for model in query.model]
        names = "; ".join(_named(*choice) for choice in found.choices)
        picked[str(query.card[0])] = names if found.crossing_is_better else f"{names} {CONTESTED}"
    return Folds(np.where(refused, np.nan, predicted), half_width, picked, refused & ~np.isnan(predicted))


def model_folds(points: Points) -> Folds:
    """Leave one card and one model out: constants have seen neither, the model's other cards are the anchors.

    The range of a model comes from the errors on the other models.
    """
    predicted, half_width = np.full(len(points), np.nan), np.full(len(points), np.nan)
    for card in np.unique(points.card):
        for model in np.unique(points.model[points.card == card]):
            out = (points.card == card) & (points.model == model)
            train = points.take((points.card != card) & (points.model != model))
            anchors = points.take((points.card != card) & (points.model == model))
            predicted[out] = predicted_by(CHOSEN_METHODS, train, points.take(out), anchors)
    error = predicted - points.log_throughput
    for model in np.unique(points.model):
        others = (points.model != model) & ~np.isnan(error)
        half_width[points.model == model] = card_conformal(np.abs(error[others]), points.card[others])
    return Folds(predicted, half_width, {})


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
    name, settings = CHOSEN_METHODS[-1]
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
    predicted = np.full(len(points), np.nan)
    for card in np.unique(points.card):
        out = points.card == card
        train, query = points.take(~out), points.take(out)
        query = dataclasses.replace(query, log_batch=_fitting(cards[str(card)], train, query, cards))
        predicted[out] = predicted_by(CHOSEN_METHODS, train, query)
    return Folds(predicted, log_half_width, {})


def order_counts(errors: Sequence[PairError], widths: PairErrors, spread: Callable[[str], float]) -> tuple[int, int]:
    """Pairs of which the predicted ratio's range holds 1, and those among them in the right order."""
    undecided = [
        error
        for error in errors
        if abs(error.log_ratio) < widths.log_half_width(abs(error.log_ratio), spread(error.model))
    ]
    return len(undecided), sum(error.log_ratio * (error.log_ratio - error.log_error) > 0 for error in undecided)


class SeveralCheck(NamedTuple):
    """One published machine of several cards, predicted from the pairs of other cards."""

    card_class: str
    cards: int
    error_ratio: float
    """Absolute error of the throughput of all."""
    inside: bool


def several_checks(rows: Sequence[Published], cards: Mapping[str, Card]) -> list[SeveralCheck]:
    """Predict every published machine of 2, 4 or 8 cards from the pairs of the other cards of its class."""
    pairs, found = pairs_of(rows, cards), []
    for count in COUNTS:
        for machine in pairs_of(rows, cards, count):
            others = [other for other in pairs if other.card != machine.card]
            kept = efficiency_of(cards[machine.card], Experiment("", machine.model, machine.precision), count, others)
            if kept is not None:
                error = abs(kept.ratio / machine.efficiency_ratio - 1)
                inside = kept.low_ratio <= machine.efficiency_ratio <= max(kept.high_ratio, 1.02)
                found.append(SeveralCheck(machine.card_class, count, error, inside))
    return found


def _fitting(card: Card, train: Points, query: Points, cards: Mapping[str, Card]) -> Floats:
    """Log of the batch each query point (n) would be assumed to run at."""
    found = query.log_batch.copy()
    for i, (group, same) in enumerate(zip(query.group, query.case, strict=True)):
        crosses = has_program(str(query.model[i]))
        anchors = train.take(train.case == same if crosses else train.group == group)
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

"""Ratios of two cards: how far the law's are off, and those a publisher measured in another stack.

The ratio of two predictions from common anchors does not depend on the anchors, so its error is smaller than that of
either: it is measured here by itself, on pairs of published cards of which the law has seen neither, apart for pairs
the law puts close together and far apart.

Where a publisher ran the same cards through two of his stacks, the ratio of the one carries over to the other: the
same check, on every card that can be left out, is what its range comes from.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rtxbench.advice.prediction.points import Experiment, Floats, Labels, Points
from rtxbench.advice.prediction.ranges import card_conformal
from rtxbench.advice.prediction.scaling_laws import METHODS, Choice, conformal_log_half_width
from rtxbench.catalog.published import PUBLISHERS

__all__ = [
    "FAR",
    "PairError",
    "PairErrors",
    "StackRatios",
    "fit_pair_errors",
    "fit_stack_ratios",
    "pair_errors",
    "stack_errors",
]

FAR = 0.35
"""Log distance from which two cards count as far apart: ×1.42."""


class PairErrors(NamedTuple):
    """Errors of predicted ratios of two cards."""

    near: float
    """Conformal quantile of |log error| ÷ the model's spread, for pairs that the law puts close together."""
    far: float

    def log_half_width(self, log_distance: float, spread: float) -> float:
        """Return the half width for a ratio that lies that far from 1, for a model with this typical log error."""
        return spread * (self.near if log_distance < FAR else self.far)


class PairError(NamedTuple):
    """One ratio of two published cards, predicted by a law that has seen neither."""

    log_error: float
    log_ratio: float
    """As predicted."""
    cards: tuple[str, str]
    model: str


def pair_errors(points: Points, methods: Sequence[Choice]) -> list[PairError]:
    """Predict every two cards of a case by the first of ``methods`` that speaks of it, having seen neither card."""
    found = []
    for one, other in combinations(np.unique(points.card), 2):
        ours, theirs = points.take(points.card == one), points.take(points.card == other)
        rest = points.take((points.card != one) & (points.card != other))
        done: set[tuple[int, int]] = set()
        for name, settings in methods:
            method = METHODS[name]
            mine, his = (ours.case, theirs.case) if method.crosses_classes else (ours.group, theirs.group)
            shared = [(i, j) for i, g in enumerate(mine) for j, h in enumerate(his) if g == h and (i, j) not in done]
            if not shared:
                continue
            law = method.fit(rest, settings)
            left, right = law(ours), law(theirs)
            for i, j in shared:
                predicted = float(left[i] - right[j])
                if not math.isnan(predicted):
                    done.add((i, j))
                    error = predicted - float(ours.log_throughput[i] - theirs.log_throughput[j])
                    found.append(PairError(error, predicted, (str(one), str(other)), str(ours.model[i])))
    return found


def fit_pair_errors(errors: Sequence[PairError], spread: Callable[[str], float], coverage: float = 0.90) -> PairErrors:
    """90 % quantiles by distance; the far one is never the narrower."""
    scores = np.array([abs(e.log_error) / spread(e.model) for e in errors])
    near = np.array([abs(e.log_ratio) < FAR for e in errors])
    widths = [conformal_log_half_width(scores[part], coverage) for part in (near, ~near)]
    return PairErrors(widths[0], max(widths))


class StackRatios:
    """Ratios to other cards that a publisher measured in another software stack."""

    def __init__(self, points: Points, log_half_width: float) -> None:
        self._points = points
        self._index = {
            (str(points.stack[i]), str(points.card[i]), str(points.model[i]), str(points.precision[i])): i
            for i in range(len(points))
        }
        self.log_half_width = log_half_width

    def predict(self, card: str, case: Experiment) -> tuple[float, float, tuple[str, ...], str, int] | None:
        """Log throughput, half-width, anchors, the other stack and its batch; ``None`` where there is no such ratio."""
        found = list(self.ratios(card, case))
        if not found:
            return None
        value = math.fsum(log_value for _, _, log_value in found) / len(found)
        stack = found[0][0]
        batch = round(math.exp(self._points.log_batch[self._index[stack, card, case.model, case.precision]]))
        return value, self.log_half_width, tuple(sorted({name for _, name, _ in found})), stack, batch

    def ratios(self, card: str, case: Experiment) -> Iterator[tuple[str, str, float]]:
        """Return (other stack, anchor, predicted log throughput) of each way from a stack of the same publisher."""
        publisher, values = PUBLISHERS.get(case.stack), self._points.log_throughput
        names = sorted({name for stack, name, _, _ in self._index if stack == case.stack and name != card})
        for stack in (stack for stack in PUBLISHERS if PUBLISHERS[stack] == publisher and stack != case.stack):
            there = self._index.get((stack, card, case.model, case.precision))
            for name in names if publisher is not None and there is not None else ():
                here = self._index.get((case.stack, name, case.model, case.precision))
                base = self._index.get((stack, name, case.model, case.precision))
                if there is not None and here is not None and base is not None:
                    yield stack, name, float(values[here] + values[there] - values[base])


def stack_errors(points: Points) -> tuple[Floats, Labels]:
    """Log errors (n) of `StackRatios` on every card that could be left out, and the cards' names (n)."""
    ratios = StackRatios(points, math.nan)
    errors, names = [], []
    for i in range(len(points)):
        case = Experiment(str(points.stack[i]), str(points.model[i]), str(points.precision[i]))
        found = ratios.predict(str(points.card[i]), case)
        if found is not None:
            errors.append(found[0] - points.log_throughput[i])
            names.append(str(points.card[i]))
    return np.array(errors), np.array(names, dtype=np.str_)


def fit_stack_ratios(points: Points) -> StackRatios:
    """Fit the publisher's ratios, with the 90 % range that held on the cards that could be left out."""
    errors, names = stack_errors(points)
    return StackRatios(points, card_conformal(np.abs(errors), names) if len(errors) >= 10 else math.inf)

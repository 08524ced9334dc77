"""Published fine-tuning speeds of language models, and how far off the kernel law is from them.

The law's constants come from published ratios of other models; nothing here is fitted but one factor for all, which
says how fast a fine-tuning runs against the law's own seconds. How far a publisher's figures lie from the factor of the
others is the range of a predicted speed; how far his two cards lie from the law's ratio is that of a comparison.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rtxbench.advice.memory.models import MODELS
from rtxbench.advice.memory.need import Setup
from rtxbench.advice.prediction.decoders import decoder_program
from rtxbench.advice.prediction.kernel_law import Constants, step_seconds
from rtxbench.advice.prediction.points import Experiment, points_of
from rtxbench.catalog.cards import Card

__all__ = [
    "Level",
    "SpeedCheck",
    "fit_level",
    "law_tokens_per_s",
    "pair_checks",
    "published_speeds",
    "speed_checks",
]

_USUAL_TOKENS = 1024
"""Sequence length of a figure whose publisher states none; tokens a second hardly depend on it from here on."""
_FEWEST_TOKENS = 1024
"""A step of fewer is bound by the host that launches its kernels, on which the publisher says nothing."""


class PublishedSpeed(NamedTuple):
    """One fine-tuning speed that somebody published (``catalog/llm_speeds.csv``)."""

    publisher: str
    model: str
    setup: Setup
    card: str
    tokens_per_s: float
    is_stated: bool
    """Batch, length and recomputation are stated: the figure says how fast, and not only which card is faster."""
    source: str


class SpeedCheck(NamedTuple):
    """A published figure beside the law's."""

    speed: PublishedSpeed
    log_error: float
    """Log of published ÷ law, the factor not applied."""

    @property
    def sets_the_level(self) -> bool:
        """Return whether the factor may rest on it: a stated setup, and a step long enough."""
        setup = self.speed.setup
        return self.speed.is_stated and setup.batch_size * (setup.tokens or 0) >= _FEWEST_TOKENS


class Level(NamedTuple):
    """The factor between the law's speed and a fine-tuning's, and what it is known by."""

    log_factor: float
    log_half_width: float
    """Nine of ten figures lie within this of the factor that the other publishers give."""
    pair_log_half_width: float
    """The largest error of the ratio of a publisher's two cards."""
    figures: int
    publishers: tuple[str, ...]
    pairs: int


@cache
def published_speeds() -> tuple[PublishedSpeed, ...]:
    """Return every published speed with its setup."""
    with resources.files("rtxbench.catalog").joinpath("llm_speeds.csv").open(encoding="utf-8") as stream:
        return tuple(_speed(row) for row in csv.DictReader(stream))


def _speed(row: Mapping[str, str]) -> PublishedSpeed:
    setup = Setup(
        batch_size=int(row["batch_size"] or 1),
        tokens=int(row["tokens"] or _USUAL_TOKENS),
        method=row["method"],
        rank=int(row["rank"]),
        checkpointing=row["checkpointing"] == "1",
    )
    speed = float(row["tokens_per_s"])
    return PublishedSpeed(
        row["publisher"], row["model"], setup, row["card"], speed, bool(row["batch_size"]), row["source"]
    )


def law_tokens_per_s(speed: PublishedSpeed, card: Card, constants: Constants) -> float:
    """Predict tokens a second of a published setup by the law alone, before any factor."""
    model, setup = MODELS[speed.model], speed.setup
    query = points_of([(card, Experiment("", speed.model, setup.precision), setup.batch_size, 1.0)])
    seconds = float(step_seconds(constants, query, [decoder_program(model, setup)])[0])
    return setup.batch_size * (setup.tokens or model.tokens) / seconds


def speed_checks(constants: Constants, cards: Mapping[str, Card]) -> tuple[SpeedCheck, ...]:
    """Compare each published speed of a catalogued card with the law's."""
    return tuple(
        SpeedCheck(
            speed,
            math.log(speed.tokens_per_s / law_tokens_per_s(speed, cards[speed.card], constants)),
        )
        for speed in published_speeds()
        if speed.card in cards
    )


def pair_checks(checks: Sequence[SpeedCheck]) -> tuple[tuple[SpeedCheck, SpeedCheck], ...]:
    """Pair two cards on which one publisher ran one method of one model."""
    return tuple(
        (one, other)
        for one, other in combinations(checks, 2)
        if one.speed.card != other.speed.card
        and (one.speed.publisher, one.speed.model, one.speed.setup.method, one.speed.setup.tokens)
        == (other.speed.publisher, other.speed.model, other.speed.setup.method, other.speed.setup.tokens)
    )


def fit_level(constants: Constants, cards: Mapping[str, Card]) -> Level:
    """Find the factor, each publisher counting once, and the ranges that the published figures ask for."""
    checks = speed_checks(constants, cards)
    pairs = pair_checks(checks)
    groups: dict[str, list[float]] = {}
    for check in checks:
        if check.sets_the_level:
            groups.setdefault(check.speed.publisher, []).append(check.log_error)
    means = {publisher: float(np.mean(errors)) for publisher, errors in groups.items()}
    apart = [
        abs(error - float(np.mean([mean for other, mean in means.items() if other != publisher])))
        for publisher, errors in groups.items()
        for error in errors
    ]
    return Level(
        log_factor=float(np.mean(list(means.values()))),
        log_half_width=float(np.quantile(apart, 0.9)),
        pair_log_half_width=max(abs(one.log_error - other.log_error) for one, other in pairs),
        figures=len(apart),
        publishers=tuple(sorted(groups)),
        pairs=len(pairs),
    )

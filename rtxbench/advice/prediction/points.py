"""Published training throughputs as parallel arrays, with what the laws read of each card."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import Published

__all__ = ["CardSplit", "Experiment", "Floats", "Labels", "Masks", "Points", "joined", "points_of", "training_points"]

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.str_]
Masks: TypeAlias = NDArray[np.bool_]


class Experiment(NamedTuple):
    """One experiment that different cards can run."""

    stack: str
    model: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Points:
    """Single-device training throughputs as parallel arrays of length n; logarithms are natural."""

    card: Labels
    card_class: Labels
    stack: Labels
    model: Labels
    precision: Labels
    log_throughput: Floats
    log_flops: Floats
    """Paper peak of the unit that runs this precision, FLOP/s."""
    log_bandwidth: Floats
    """Paper memory bandwidth, byte/s."""
    log_waves: Floats
    """SM count × boost clock: how fast waves of thread blocks retire."""
    log_power: Floats
    """Power limit ÷ (SM count × boost clock): what there is to feed each multiprocessor's cycle, W/Hz."""
    log_full_flops: Floats
    """Rate of products whose operands are left at 32 bits: TF32, or FP32 where there is none, FLOP/s."""
    log_batch: Floats

    def __len__(self) -> int:
        return len(self.card)

    def take(self, chosen: Masks) -> "Points":
        """Return the points where ``chosen`` (n booleans) holds."""
        return Points(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @cached_property
    def card_splits(self) -> "tuple[CardSplit, ...]":
        """One split per card, in the order of their names; made once, since every law is tried on all of them."""
        masks = [self.card == card for card in np.unique(self.card)]
        return tuple(CardSplit(mask, self.take(~mask), self.take(mask)) for mask in masks)

    @cached_property
    def group(self) -> Labels:
        """Points of one group may anchor each other: same stack, card class, model and precision."""
        return joined(self.stack, self.card_class, self.model, self.precision)

    @cached_property
    def case(self) -> Labels:
        """The same over all card classes."""
        return joined(self.stack, self.model, self.precision)


class CardSplit(NamedTuple):
    """Points without one card, and that card's own."""

    left_out: Masks
    """Points of the card (n)."""
    train: Points
    query: Points


def training_points(rows: Sequence[Published], cards: Mapping[str, Card]) -> Points:
    """Single-device training rows of catalogued cards; several hosts of one card become their geometric mean."""
    merged: dict[tuple[str, ...], list[Published]] = {}
    for row in rows:
        usable = row.task == "train" and row.device_count == 1 and row.batch_size is not None and row.card in cards
        # Other datacenter chips share neither class formula nor memory with the cards that are predicted.
        usable = usable and cards[row.card].architecture not in ("Volta", "Hopper")
        if usable and cards[row.card].peak_flop_per_s(row.precision) and cards[row.card].sm_count:
            merged.setdefault((row.card, row.stack, row.model, row.precision, str(row.batch_size)), []).append(row)
    # One batch size per card and case: the largest published, which is how the figures are quoted.
    largest: dict[tuple[str, ...], list[Published]] = {}
    for key, group in sorted(merged.items(), key=lambda item: int(item[0][4])):
        largest[key[:4]] = group
    shared = Counter(key[1:] for key in largest)  # a case on one card alone says nothing of how cards differ
    return points_of(
        [
            (cards[card], Experiment(stack, model, precision), _batch(group), _geometric_mean([r.value for r in group]))
            for (card, stack, model, precision), group in sorted(largest.items())
            if shared[stack, model, precision] > 1
        ]
    )


def points_of(entries: Sequence[tuple[Card, Experiment, int, float]]) -> Points:
    """Points from (card, case, batch size, throughput per second); throughput 1.0 for a query."""

    def column(of: Callable[[tuple[Card, Experiment, int, float]], float]) -> Floats:
        return np.array([math.log(of(entry)) for entry in entries], dtype=np.float64)

    return Points(
        card=np.array([card.name for card, *_ in entries], dtype=np.str_),
        card_class=np.array([card.card_class for card, *_ in entries], dtype=np.str_),
        stack=np.array([entry[1].stack for entry in entries], dtype=np.str_),
        model=np.array([entry[1].model for entry in entries], dtype=np.str_),
        precision=np.array([entry[1].precision for entry in entries], dtype=np.str_),
        log_throughput=column(lambda entry: entry[3]),
        log_flops=column(lambda entry: entry[0].peak_flop_per_s(entry[1].precision) or math.nan),
        log_bandwidth=column(lambda entry: entry[0].memory_bandwidth_bytes_per_s),
        log_waves=column(lambda entry: (entry[0].sm_count or math.nan) * (entry[0].boost_clock_hz or math.nan)),
        log_power=column(_power_per_cycle),
        log_full_flops=column(lambda entry: entry[0].tf32_flop_per_s or entry[0].fp32_flop_per_s),
        log_batch=column(lambda entry: entry[2]),
    )


def _power_per_cycle(entry: tuple[Card, Experiment, int, float]) -> float:
    card = entry[0]
    return (card.power_limit_w or math.nan) / ((card.sm_count or math.nan) * (card.boost_clock_hz or math.nan))


def joined(*columns: Labels) -> Labels:
    """Labels (n) that are equal where all ``columns`` (n each) are."""
    return np.array(["|".join(parts) for parts in zip(*columns, strict=True)], dtype=np.str_)


def _batch(group: Sequence[Published]) -> int:
    return group[0].batch_size or 1


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))

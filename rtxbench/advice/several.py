"""Several cards in one machine: what data-parallel training keeps of N times one, from published pairs.

Efficiency depends on the model (how many bytes of gradients a second of arithmetic makes), on the class of the card
and on the link between the cards, which published tables seldom name. It is therefore taken from the nearest pairs
there are: the same card and model, else the same class and model, else the class. More than two cards follow from the
pair by the traffic of a ring, 2(n − 1)/n of the gradients per card (Patarasuk & Yuan 2009): four cards send 1.5
times, eight 1.75 times what two send. Eight GeForce cards share lanes and a host in ways that a pair says nothing of:
that is not known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from rtxbench.advice.prediction.points import Experiment
from rtxbench.advice.question import Option
from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import Published
from rtxbench.units import format_percent

__all__ = ["COUNTS", "Efficiency", "Pair", "efficiency_of", "pairs_of", "scaled_option"]

COUNTS = (2, 4, 8)
"""Numbers of cards that a machine may hold, beside one."""
_FEW = 5
_LOW = 0.05
_BETTER_HOST = 1.10
"""Machines of four and eight are servers: published ones gave up to this times as many single cards elsewhere."""
_PER_DOUBLING = 0.12
"""Cost that the ring's traffic leaves out (log scale) for each doubling of the cards beyond a pair; held against the
published machines of four and eight (docs/prediction.md)."""


class Pair(NamedTuple):
    """Two cards of a kind, published beside one: what they kept of twice one."""

    card: str
    card_class: str
    model: str
    precision: str
    efficiency_ratio: float


class Efficiency(NamedTuple):
    """Share of N times one card that N cards keep, with the 90 % range of the pairs it comes from."""

    ratio: float
    low_ratio: float
    high_ratio: float
    pairs: int
    basis: str


def pairs_of(rows: Sequence[Published], cards: Mapping[str, Card], count: int = 2) -> tuple[Pair, ...]:
    """Collect every published pair (or ``count``) of a catalogued card, at the same batch a card where published."""
    singles: dict[tuple[str, ...], list[tuple[int, float]]] = {}
    for row in rows:
        if row.task == "train" and row.device_count == 1:
            singles.setdefault(_key(row), []).append((row.batch_size or 0, row.value))
    found = []
    for row in rows:
        alone = singles.get(_key(row))
        if row.task != "train" or row.device_count != count or row.card not in cards or not alone:
            continue
        batch = (row.batch_size or 0) // count
        same = [value for size, value in alone if size == batch] or [value for _, value in [max(alone)]]
        one = math.exp(sum(math.log(value) for value in same) / len(same))
        card = cards[row.card]
        found.append(Pair(row.card, card.card_class, row.model, row.precision, row.value / (count * one)))
    return tuple(found)


def _key(row: Published) -> tuple[str, ...]:
    return row.stack, row.model, row.precision, row.card


def efficiency_of(card: Card, case: Experiment, count: int, pairs: Sequence[Pair]) -> Efficiency | None:
    """Say what ``count`` of the card keep of that many times one; ``None`` where nothing near enough is published."""
    if _why_unknown(card, count) is not None:
        return None
    here = [pair for pair in pairs if pair.card_class == card.card_class]
    model = [pair for pair in here if pair.model == case.model]
    same = [pair for pair in model if pair.card == card.name and pair.precision == case.precision]
    for chosen, words in (
        (same, f"pairs of {card.name} on {case.model}"),
        (model, f"pairs of {card.card_class} cards on {case.model}"),
        (here, f"pairs of {card.card_class} cards on all models"),
    ):
        if chosen:
            return _scaled([pair.efficiency_ratio for pair in chosen], [p.efficiency_ratio for p in here], count, words)
    return None


def _scaled(ratios: Sequence[float], around: Sequence[float], count: int, words: str) -> Efficiency:
    """Carry the median of the pairs to ``count`` cards; too few pairs take the spread of their class."""
    middle = float(np.median(ratios))
    if len(ratios) >= _FEW:
        low, high = _ends(ratios)
    else:
        centre = float(np.median(around))
        low, high = (middle * end / centre for end in _ends(around))
    doublings = math.log2(count) - 1
    below, above = math.exp(-_PER_DOUBLING * doublings), math.exp(_PER_DOUBLING * doublings)
    ends = [_in_a_ring(min(value, 1.0), count) for value in (middle, low, high)]
    ends = [ends[0], ends[1] * below, min(_BETTER_HOST if doublings else 1.0, ends[2] * above)]
    return Efficiency(ends[0], min(ends[0], ends[1]), max(ends[0], ends[2]), len(ratios), words)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the 90 % range of one more such value: quantiles that leave room for a small sample."""
    low = max(0.0, _LOW - (1 - _LOW) / len(values))
    return float(np.quantile(values, low)), float(np.quantile(values, 1 - low))


def _in_a_ring(pair_ratio: float, count: int) -> float:
    traffic = 2 * (count - 1) / count  # per card and byte of gradients; 1 for a pair
    return 1 / (1 + (1 / pair_ratio - 1) * traffic)


def _why_unknown(card: Card, count: int) -> str | None:
    """Name what keeps anything from being said of ``count`` such cards; ``None`` where it can be."""
    if card.card_class == "laptop":
        return "a laptop holds one"
    if card.card_class == "geforce" and count >= 8:
        return "not known for eight GeForce cards: no peer-to-peer copies, shared lanes, and no published machine"
    return None


def scaled_option(card: Card, single: Option, count: int, case: Experiment | None, pairs: Sequence[Pair]) -> Option:
    """Make the option of ``count`` such cards from that of one, predicted with its range or with why it cannot be."""
    option = Option(
        name=f"{count}× {card.name}",
        card=card.name,
        devices=count,
        power_w=None if card.power_limit_w is None else count * card.power_limit_w,
        power_origin="board power (TDP)",
        cannot_say=_why_unknown(card, count) or single.cannot_say or "no published pair is near enough",
    )
    value = single.throughput_per_s
    kept = None if case is None else efficiency_of(card, case, count, pairs)
    if value is None or kept is None:
        return option
    low, high = (single.low_per_s or value) / value, (single.high_per_s or value) / value
    # Independent errors: the ranges of one card and of the efficiency add in squares on the log scale.
    below = math.hypot(math.log(low), math.log(kept.low_ratio / kept.ratio))
    above = math.hypot(math.log(high), math.log(kept.high_ratio / kept.ratio))
    total = count * value * kept.ratio
    link = "no NVLink" if card.nvlink in (None, "none") else f"with or without {card.nvlink.split()[0]}"
    words = (
        f"{count} cards keep {format_percent(kept.ratio, 0)} of {count} times one ({kept.pairs} {kept.basis}; {link})"
    )
    return replace(
        option,
        origin="predicted",
        predicted_by="scaling of several",
        stack=single.stack,
        throughput_per_s=total,
        low_per_s=total * math.exp(-below),
        high_per_s=total * math.exp(above),
        batch_size=None if single.batch_size is None else count * single.batch_size,
        cannot_say=None,
        why=(words, "board, power supply and space not counted"),
    )

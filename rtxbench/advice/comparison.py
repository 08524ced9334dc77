"""An option's derived figures, and two options against each other: the ratio's own range, break-even, rent or buy.

Two predictions from common anchors share the anchors' error, so that the ranges of both overlap long before their order
is in doubt: pairs are judged by the range of their ratio, which was measured by itself (`prediction.ratios`).
"""

import math
from collections.abc import Mapping
from typing import Protocol

from rtxbench.advice.cost import (
    Assumptions,
    break_even_examples,
    break_even_hours_per_day,
    cost_per_million,
    energy_per_example_j,
    rent_hours,
)
from rtxbench.advice.prediction.forecast import Forecaster
from rtxbench.advice.prediction.points import Experiment
from rtxbench.advice.question import RANKINGS, BreakEven, Option, Ratio, RentOrBuy
from rtxbench.catalog.cards import Card

__all__ = ["Judge", "break_even_between", "economics", "figure_ratio", "rent_or_buy", "throughput_ratio"]


class Judge(Protocol):
    """The facts a comparison of cards needs."""

    @property
    def cards(self) -> Mapping[str, Card]:
        """The catalogue."""
        ...

    @property
    def forecaster(self) -> Forecaster:
        """The fitted law with its ranges."""
        ...

    @property
    def case(self) -> Experiment | None:
        """The case of the ranked figures."""
        ...


def throughput_ratio(one: Option, other: Option, judge: Judge) -> Ratio | None:
    """Divide ``one`` by ``other``; ``None`` where either is unknown or they stand on different work or software."""
    if one.throughput_per_s is None or other.throughput_per_s is None or one.stack != other.stack:
        return None
    value = one.throughput_per_s / other.throughput_per_s
    half_width = _log_half_width(one, other, judge)
    origins = sorted({str(option.origin) for option in (one, other)})
    return Ratio(
        value=value,
        low=value * math.exp(-half_width),
        high=value * math.exp(half_width),
        of=other.name,
        basis=" and ".join(origins),
    )


def _log_half_width(one: Option, other: Option, judge: Judge) -> float:
    if one.predicted_by == other.predicted_by == "law" and one.card and other.card and judge.case is not None:
        batches = (one.batch_size or 1, other.batch_size or 1)
        cards = judge.cards
        return judge.forecaster.pair_log_half_width(cards[one.card], cards[other.card], judge.case, batches)
    return math.hypot(_own_log_half_width(one), _own_log_half_width(other))


def _own_log_half_width(option: Option) -> float:
    value, low, high = option.throughput_per_s, option.low_per_s, option.high_per_s
    if value is None or low is None or high is None or low <= 0:
        return 0.0
    return math.log(high / low) / 2


def figure_ratio(one: Option, other: Option, rank_by: str, judge: Judge) -> Ratio | None:
    """Divide ``one`` by ``other`` in the figure ranked by: above 1 ``one`` is the better."""
    name, larger = RANKINGS[rank_by]
    ours, theirs = getattr(one, name), getattr(other, name)
    if ours is None or theirs is None or theirs == 0 or ours == 0:
        return None
    value = float(ours / theirs if larger else theirs / ours)
    if rank_by == "price":
        return Ratio(value=value, low=value, high=value, of=other.name, basis="prices")
    speed = throughput_ratio(one, other, judge)
    if speed is None:
        return None
    # Every other figure is throughput, or its inverse, times what is known of the card: the same relative range.
    return Ratio(
        value=value,
        low=value * speed.low / speed.value,
        high=value * speed.high / speed.value,
        of=other.name,
        basis=speed.basis,
    )


def break_even_between(one: Option, other: Option, assumptions: Assumptions, judge: Judge) -> BreakEven | None:
    """Find from where the dearer of the two has cost less; ``None`` where they cost the same or cannot be compared."""
    cheap, dear = sorted((one, other), key=lambda option: option.price_amount or 0.0)
    ratio = throughput_ratio(dear, cheap, judge)
    if ratio is None or not cheap.power_w or not dear.power_w or cheap.price_amount == dear.price_amount:
        return None
    low, high = _ledger(cheap, 1.0), {end: _ledger(cheap, 1.0, dear, end) for end in (ratio.low, ratio.high)}
    middle = _ledger(cheap, 1.0, dear, ratio.value)
    examples = {end: break_even_examples(low, dear_ledger, assumptions) for end, dear_ledger in high.items()}
    hours = {end: break_even_hours_per_day(low, dear_ledger, assumptions) for end, dear_ledger in high.items()}
    slowest, fastest = _speed_ends(cheap)
    return BreakEven(
        cheaper=cheap.name,
        dearer=dear.name,
        examples=break_even_examples(low, middle, assumptions),
        # A slower pair breaks even after fewer examples: each example costs more electricity.
        examples_low=_times(examples[ratio.high], slowest),
        examples_high=_times(examples[ratio.low], fastest),
        hours_per_day=break_even_hours_per_day(low, middle, assumptions),
        hours_per_day_low=hours[ratio.high],
        hours_per_day_high=hours[ratio.low],
    )


def rent_or_buy(
    first: Option, rented: Option, price_per_hour: float, assumptions: Assumptions, judge: Judge
) -> RentOrBuy | None:
    """Hours of renting ``rented`` after which buying ``first`` has cost less for the same examples."""
    ratio = throughput_ratio(first, rented, judge)
    if ratio is None or first.price_amount is None or first.power_w is None:
        return None
    price, power = first.price_amount, first.power_w

    def hours(speed_ratio: float) -> float | None:
        return rent_hours(price, power, speed_ratio, price_per_hour, assumptions)

    return RentOrBuy(
        bought=first.name,
        rented=rented.name,
        price_per_hour=price_per_hour,
        hours=hours(ratio.value),
        hours_low=hours(ratio.high),
        hours_high=hours(ratio.low),
    )


def _ledger(cheap: Option, scale: float, dear: Option | None = None, ratio: float = 1.0) -> tuple[float, float, float]:
    """Return (price, power, throughput) of the cheap one, or of the dear one at ``ratio`` times its throughput."""
    option = dear or cheap
    return (option.price_amount or 0.0, option.power_w or 0.0, (cheap.throughput_per_s or 1.0) * scale * ratio)


def _speed_ends(option: Option) -> tuple[float, float]:
    value = option.throughput_per_s or 1.0
    return (option.low_per_s or value) / value, (option.high_per_s or value) / value


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def economics(option: Option, assumptions: Assumptions) -> dict[str, float | None]:
    """Energy, throughput per price and cost per million of an option, each with the range its throughput has."""
    throughput, power, price = option.throughput_per_s, option.power_w, option.price_amount
    if throughput is None:
        return {}
    low, high = option.low_per_s or throughput, option.high_per_s or throughput

    def energy(speed: float) -> float | None:
        return None if power is None else energy_per_example_j(power, speed)

    def cost(speed: float) -> float | None:
        return None if price is None or power is None else cost_per_million(price, power, speed, assumptions)

    def per_price(speed: float) -> float | None:
        return None if price is None else speed / price

    return {
        "energy_per_example_j": energy(throughput),
        "energy_low_j": energy(high),
        "energy_high_j": energy(low),
        "throughput_per_price": per_price(throughput),
        "throughput_per_price_low": per_price(low),
        "throughput_per_price_high": per_price(high),
        "cost_per_million": cost(throughput),
        "cost_low": cost(high),
        "cost_high": cost(low),
    }

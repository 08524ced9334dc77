"""The answer in a sentence: which card, what it rests on, which others cannot be told from it, what would change it."""

from collections.abc import Mapping, Sequence

from rtxbench.advice.comparison import Judge, figure_ratio, throughput_ratio
from rtxbench.advice.question import RANKINGS, Alternative, Option, Question, Ratio
from rtxbench.units import format_bytes, format_money, format_number
from rtxbench.wording import name_of

__all__ = ["alternatives", "answer_sentence", "compact", "ranged", "short_name", "times", "undecided", "would_change"]

_MOST: Mapping[str, str] = {
    "throughput": "the fastest",
    "value": "the most throughput for the money",
    "cost": "the cheapest per example",
    "energy": "the least energy per example",
    "price": "the cheapest that fits",
}
_ALTERNATIVES: tuple[tuple[str, str, bool], ...] = (
    # (reason, field of Option or "memory", larger is better)
    ("most for the money", "throughput_per_price", True),
    ("fastest", "throughput_per_s", True),
    ("cheapest", "price_amount", False),
    ("least energy", "energy_per_example_j", False),
)


def short_name(name: str) -> str:
    """Return the name without the words that every card shares."""
    name = name.replace("GeForce ", "").replace(" Generation", "").replace("NVIDIA ", "")
    return name.replace(" Workstation Edition", "").replace(" Server Edition", " Server")


def compact(value: float | None) -> str:
    """Three significant digits, thousands and millions by their letter; – for unknown."""
    if value is None:
        return "–"
    for least, factor, prefix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / factor:.3g} {prefix}"
    return format_number(value)


def ranged(value: float | None, low: float | None, high: float | None) -> str:
    """Write a figure with its range, the range left out where there is none."""
    if value is None or low is None or high is None or low == high:
        return compact(value)
    return f"{compact(value)} ({compact(low)} to {compact(high)})"


def answer_sentence(ranked: Sequence[Option], question: Question, ranked_by: str, currency: str, unit: str) -> str:
    """Name the card to buy with the figures it stands on, or what keeps one from being named where none is ranked."""
    condition = _condition(question, currency)
    if not ranked:
        return f"{condition}: no card can be named; the reasons are listed below."
    first = ranked[0]
    of = f" of {name_of(question.workload)}" if question.memory_model is not None and unit != "tokens" else ""
    facts = [*_memory_facts(first), *_speed_facts(first, unit, of), *_money_facts(first, unit)]
    price = "" if first.price is None else f" at {format_money(first.price.amount, first.price.currency)}"
    if first.price is not None:
        price += ", its launch price" if first.price.is_launch_price else f", seen {first.price.date}"
    return f"{condition}: {short_name(first.name)}{price}, {_MOST[ranked_by]} ({'; '.join(facts)})."


def _condition(question: Question, currency: str) -> str:
    head = (
        f"Under {format_money(question.budget, currency)}" if question.budget is not None else "With no budget given,"
    )
    if question.memory_model is not None:
        return f"{head} for {question.memory_model.partition(':')[0].rpartition('/')[2]}{_method(question)}"
    return f"{head} for training {name_of(question.workload)}"


def _method(question: Question) -> str:
    method = (question.memory_model or "").rpartition(":")[2] if ":" in (question.memory_model or "") else ""
    return f" with {method}" if method else " with full fine-tuning"


def _memory_facts(option: Option) -> list[str]:
    memory = option.memory
    if memory is None or memory.state is None or memory.card_bytes is None:
        return []
    if memory.state == "fits":
        return [f"fits with {format_bytes(memory.card_bytes - memory.high_bytes)} to spare"]
    return [f"memory is tight: {format_bytes(memory.low_bytes)} to {format_bytes(memory.high_bytes)}"]


def _speed_facts(option: Option, unit: str, of: str) -> list[str]:
    facts = []
    if option.throughput_per_s is not None:
        figure = ranged(option.throughput_per_s, option.low_per_s, option.high_per_s)
        facts.append(f"{option.origin} {figure} {unit}{'' if unit.startswith('×') else '/s'}{of}")
    if option.times_yours is not None:
        facts.append(f"{times(option.times_yours)} your {short_name(option.times_yours.of)}")
    return facts


def _money_facts(option: Option, unit: str) -> list[str]:
    if option.cost_per_million is None or option.price is None:
        return []
    cost = ranged(option.cost_per_million, option.cost_low, option.cost_high)
    return [f"{cost} {option.price.currency} per million {unit}"]


def times(ratio: Ratio) -> str:
    """Write ``1.3× (1.1 to 1.5)``."""
    if ratio.low == ratio.high:
        return f"{ratio.value:.2f}×"
    return f"{ratio.value:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})"


def undecided(ranked: Sequence[Option], rank_by: str, judge: Judge) -> tuple[str, ...]:
    """Options behind the first whose ratio to it has a range that holds 1."""
    if not ranked:
        return ()
    ratios = [(option.name, figure_ratio(ranked[0], option, rank_by, judge)) for option in ranked[1:]]
    return tuple(name for name, ratio in ratios if ratio is not None and not ratio.is_certain)


def would_change(options: Sequence[Option], ranked_by: str, currency: str) -> tuple[str, ...]:
    """Name what would put another card first: a larger budget, another price, a larger batch."""
    ranked = [option for option in options if option.rank is not None]
    if not ranked:
        return ()
    found = [*_budget_change(options, ranked[0], currency), *_price_change(ranked, ranked_by, currency)]
    memory = ranked[0].memory
    if memory is not None and memory.largest_batch and ranked[0].card is not None:
        found.append(
            f"a batch above {memory.largest_batch}, which no longer fits {short_name(ranked[0].card)} for sure"
        )
    return tuple(found)


def _budget_change(options: Sequence[Option], first: Option, currency: str) -> list[str]:
    faster = [
        option
        for option in options
        if (option.excluded or "").startswith("over budget")
        and option.price is not None
        and (option.throughput_per_s or 0.0) > (first.throughput_per_s or 0.0)
    ]
    if not faster:
        return []
    cheapest = min(faster, key=lambda option: option.price_amount or 0.0)
    budget = format_money(cheapest.price_amount or 0.0, currency)
    return [f"a budget from {budget} on ({short_name(cheapest.name)})"]


def _price_change(ranked: Sequence[Option], ranked_by: str, currency: str) -> list[str]:
    if ranked_by not in ("value", "price") or len(ranked) < 2:
        return []
    first, second = ranked[:2]
    if first.price_amount is None or second.price_amount is None:
        return []
    limit = second.price_amount
    if ranked_by == "value":
        if not first.throughput_per_price or not second.throughput_per_price:
            return []
        limit = first.price_amount * first.throughput_per_price / second.throughput_per_price
    return [f"a price above {format_money(limit, currency)} for it (then {short_name(second.name)})"]


def alternatives(ranked: Sequence[Option], rank_by: str, judge: Judge, count: int = 3) -> tuple[Alternative, ...]:
    """Up to three other options, each the best at something; filled up with the next in the ranking."""
    if not ranked:
        return ()
    chosen: dict[str, str] = {}
    others = list(ranked[1:])
    for reason, name, larger in _ALTERNATIVES:
        if name == RANKINGS[rank_by][0]:
            continue
        known = [option for option in (ranked[0], *others) if getattr(option, name) is not None]
        if known:
            best = (max if larger else min)(known, key=lambda option, name=name: getattr(option, name))  # type: ignore[misc]
            if best is not ranked[0]:
                chosen.setdefault(best.name, reason)
    largest = max(ranked, key=lambda option: option.memory.card_bytes or 0 if option.memory else 0)
    if largest is not ranked[0] and largest.memory is not None:
        chosen.setdefault(largest.name, "most memory")
    for option in others:
        chosen.setdefault(option.name, "next in the ranking")
    by_name = {option.name: option for option in others}
    picked = sorted(list(chosen.items())[:count], key=lambda item: by_name[item[0]].rank or 0)
    return tuple(
        Alternative(name=name, reason=reason, text=_alternative_text(by_name[name], ranked[0], reason, judge))
        for name, reason in picked
    )


def _alternative_text(option: Option, first: Option, reason: str, judge: Judge) -> str:
    price = "" if option.price is None else f" at {format_money(option.price.amount, option.price.currency)}"
    ratio = throughput_ratio(option, first, judge)
    speed = "" if ratio is None else f", {times(ratio)} the speed of {short_name(first.name)}"
    return f"{short_name(option.name)}{price}: {reason}{speed}"

"""The answer in a sentence: which card, what it rests on, which others cannot be told from it, what would change it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rtxbench.advice.comparison import Judge, figure_ratio, throughput_ratio
from rtxbench.advice.question import RANKINGS, Alternative, Option, Question, Ratio, split_memory_model
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
    if question.memory_model is not None and len(question.cards) == 1 and first.devices == 1:
        return _one_card(first, question, unit)
    if first.rank is None:
        return f"{condition}: no card can be named; the reasons are listed below."
    of = f" of {name_of(question.workload)}" if question.memory_model is not None and unit != "tokens" else ""
    facts = [*_memory_facts(first), *_speed_facts(first, unit, of), *_money_facts(first, unit)]
    price = "" if first.price is None else f" at {format_money(first.price.amount, first.price.currency)}"
    if first.price is not None:
        price += ", its launch price" if first.price.is_launch_price else f", seen {first.price.date}"
    most = _MOST[ranked_by]
    if _is_tight(first) != any(map(_is_tight, ranked)):
        most = "the cheapest that surely fits" if ranked_by == "price" else f"{most} of the cards that surely hold it"
    return f"{condition}: {short_name(first.name)}{price}, {most} ({'; '.join(facts)})."


def _is_tight(option: Option) -> bool:
    return option.memory is not None and option.memory.state == "tight"


def _one_card(option: Option, question: Question, unit: str) -> str:
    """Answer whether the one card that was asked about holds the model, and how fast it is then."""
    facts, name = [*_speed_facts(option, unit, ""), *_money_facts(option, unit)], short_name(option.name)
    told = f" ({'; '.join(facts)})" if unit == "tokens" and facts else ""
    memory, model = option.memory, _fine_tuning(question)
    if memory is None or memory.state is None or memory.card_bytes is None:
        return f"{name}: nothing is known of the memory that {model} takes{told}."
    if memory.state == "fits":
        spare = format_bytes(memory.card_bytes - memory.high_bytes)
        return f"Yes: {model} fits {name} with {spare} to spare at batch {memory.batch_size}{told}."
    if memory.state == "no":
        return (
            f"No: {model} takes at least {format_bytes(memory.low_bytes)} at batch {memory.batch_size}, and {name} has "
            f"{format_bytes(memory.card_bytes)}. A leaner setup may do: --setup framework=unsloth, fewer --tokens."
        )
    return (
        f"Perhaps: {model} takes {format_bytes(memory.low_bytes)} to {format_bytes(memory.high_bytes)} at batch "
        f"{memory.batch_size}, and {name} has {format_bytes(memory.card_bytes)}{told}. Try it on a rented one first."
    )


_METHODS: Mapping[str, str] = {
    "full": "full fine-tuning",
    "full-bf16": "full fine-tuning in bfloat16",
    "lora": "LoRA",
    "dora": "DoRA",
    "lora-embeddings": "LoRA and trained embeddings",
    "int8-lora": "LoRA over an 8-bit base",
    "qlora": "QLoRA",
    "qdora": "QDoRA",
}
_FAMILIES: Mapping[str, str] = {"gpt": "gpt", "oss": "oss", "bert": "BERT", "flux.1": "FLUX.1", "flux.2": "FLUX.2"} | {
    "sdxl": "SDXL",
    "sd": "SD",
    "gpt2": "GPT-2",
    "vit": "ViT",
    "deepseek": "DeepSeek",
    "r1": "R1",
    "dev": "dev",
    "klein": "klein",
    "tinyllama": "TinyLlama",
    "stablelm": "StableLM",
    "mt0": "mT0",
}


def model_words(name: str) -> str:
    """Write a model's id as people do: ``llama-3.1-8b`` as Llama 3.1 8B."""
    if name_of(name) != name:
        return name_of(name)
    words = []
    for part in name.split("-"):
        size = part[:-1].replace(".", "").replace("x", "").removeprefix("a").isdigit() and part.endswith("b")
        words.append(f"{part[:-1]}B".replace("a", "A") if size else _FAMILIES.get(part, part[:1].upper() + part[1:]))
    return " ".join(words).replace("gpt oss", "gpt-oss")


def _fine_tuning(question: Question) -> str:
    """Name the model that must fit and its method."""
    name, method = split_memory_model(question.memory_model or "")
    own = Path(name).parent.name or Path(name).stem
    return f"{own if name.endswith('.json') else model_words(name)} with {_METHODS.get(method, method)}"


def _condition(question: Question, currency: str) -> str:
    head = (
        f"Under {format_money(question.budget, currency)}" if question.budget is not None else "With no budget given,"
    )
    if question.memory_model is not None:
        return f"{head} for {_fine_tuning(question)}"
    return f"{head} for training {name_of(question.workload)}"


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
    found += _unpriced_holder(options, ranked[0])
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


def _unpriced_holder(options: Sequence[Option], first: Option) -> list[str]:
    """Name the smallest cards that surely hold what the first may not, and have no known price."""
    if not _is_tight(first):
        return []
    holders = [option for option in options if option.price is None and option.memory and option.memory.state == "fits"]
    least = min((option.memory.card_bytes or 0 for option in holders if option.memory), default=0)
    names = [short_name(o.name) for o in holders if o.memory and o.memory.card_bytes == least and o.devices == 1]
    return [f"a price for {names[0]}, which surely holds it"] if names else []


def _price_change(ranked: Sequence[Option], ranked_by: str, currency: str) -> list[str]:
    if ranked_by not in ("value", "price") or len(ranked) < 2:
        return []
    first, second = ranked[:2]
    if first.price_amount is None or second.price_amount is None or _is_tight(first) != _is_tight(second):
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
    tight = ", but it may not fit" if _is_tight(option) and not _is_tight(first) else ""
    return f"{short_name(option.name)}{price}: {reason}{speed}{tight}"

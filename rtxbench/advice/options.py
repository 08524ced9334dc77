"""Build the advice: pick the stack it stands on, one option per card, two-card options, one's own machines."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench.advice.aliases import OPTIMIZER_ALIASES, PRECISION_ALIASES, canonical
from rtxbench.advice.basis import (
    Basis,
    choose_basis,
    decoder_basis,
    is_scalable,
    no_basis_note,
    no_speed_note,
    own_program_basis,
    published_figure,
)
from rtxbench.advice.comparison import break_even_between, economics, rent_or_buy, throughput_ratio
from rtxbench.advice.cost import energy_per_example_j
from rtxbench.advice.figures import figure_of
from rtxbench.advice.memory.need import FitState
from rtxbench.advice.memory_basis import MemoryBasis, memory_basis, memory_on
from rtxbench.advice.notes import notes
from rtxbench.advice.own_machines import OwnMeasurement, owned_machines
from rtxbench.advice.own_program import REFERENCE, RELATIVE_STACK, own_program
from rtxbench.advice.prediction.forecast import DECODER_STACK, Forecaster
from rtxbench.advice.prediction.points import Experiment
from rtxbench.advice.question import Advice, BreakEven, Option, Question, Ratio, RentOrBuy, rank_options
from rtxbench.advice.sentence import alternatives, answer_sentence, undecided, would_change
from rtxbench.advice.several import COUNTS, Pair, pairs_of, scaled_option
from rtxbench.catalog.cards import Card, find_card, load_cards
from rtxbench.catalog.prices import PriceList, load_prices, price_of
from rtxbench.catalog.published import WORKLOAD_MODELS, Published, curated
from rtxbench.errors import UsageError
from rtxbench.lookup import named
from rtxbench.precision import precision_named
from rtxbench.results.store import LoadedRun, load_results
from rtxbench.units import format_bytes, format_money, format_percent
from rtxbench.workloads import WORKLOADS

__all__ = ["advise", "answer"]

_DEFAULT_PRICES = Path("prices.toml")
_DEFAULT_RESULTS = Path("results")

_STAND_IN = "bert-large"
"""The largest transformer with figures on many cards: its speed is shown where only a model that must fit is named."""


class Desk(NamedTuple):
    """Everything an option is made from."""

    question: Question
    cards: Mapping[str, Card]
    prices: PriceList
    forecaster: Forecaster
    basis: Basis | None
    basis_note: str
    """Name of the basis; where there is none, the reason."""
    memory: MemoryBasis | None
    pairs: Sequence[Pair]
    """Published pairs of cards, for several in one machine."""

    @property
    def case(self) -> Experiment | None:
        """The case of the ranked figures."""
        return None if self.basis is None else self.basis.case


def advise(
    question: Question,
    cards: Mapping[str, Card],
    rows: Sequence[Published],
    prices: PriceList,
    runs: Sequence[LoadedRun] = (),
    forecaster: Forecaster | None = None,
) -> Advice:
    """Answer a buyer's question; pass a ``forecaster`` of the same rows and cards to ask several.

    Raises:
        UsageError: an unknown card, stack, ranking or model; an impossible assumption; a budget below every card.
    """
    if not question.workload and question.memory_model is None and question.own_model is None:
        raise UsageError("nothing to train is named.", next_step="Pass --workload bert-base or --memory-model NAME.")
    forecaster = forecaster or Forecaster(rows, cards)
    question = _canonical(question)
    question.assumptions.checked()
    precision_named(question.precision)
    decoder, unspoken = decoder_basis(question, forecaster), no_speed_note(question)
    if decoder is not None:
        forecaster = decoder[1]
    question = replace(question, workload=question.workload or _STAND_IN)
    named_model = question.own_model
    own = own_program(named_model, question.precision, question.batch_size) if named_model else None
    if own is None:
        _check_workload(question.workload, rows)
    else:
        question = replace(question, workload=own.name, batch_size=own.batch_size)
        forecaster = forecaster.with_programs({(own.name, own.width): own.program})
    wanted = _wanted_cards(question, cards)
    _check_budget(question, wanted, prices)
    owned = owned_machines(question.workload, question.precision, runs, cards)
    classes = sorted({card.card_class for card in wanted}) if question.cards else ("geforce",)
    basis = decoder[0] if decoder is not None else None
    if decoder is None and unspoken is None:
        basis = choose_basis(question, rows, forecaster, owned, classes)
    if own is not None:
        basis = own_program_basis(own, basis, question, cards)
    note = basis.note if basis else unspoken or no_basis_note(question, rows, owned)
    memory = memory_basis(question, runs, basis.tokens if basis else None)
    pairs = pairs_of(rows, cards) if question.max_devices is not None and question.max_devices > 1 else ()
    desk = Desk(question, cards, prices, forecaster, basis, note, memory, pairs)
    options = [option for card in wanted for option in _options_of(card, desk)]
    options = [replace(option, times_yours=_times_yours(option, owned, desk)) for option in options]
    options += [_owned_option(machine, desk) for machine in owned]
    return _advice(options, desk)


def _advice(options: Sequence[Option], desk: Desk) -> Advice:
    question, currency, unit = desk.question, desk.prices.currency, _unit(desk.basis)
    rank_by = question.rank_by or _usual_ranking(options, question)
    every = rank_options(options, rank_by)
    ranked = [option for option in every if option.rank is not None]
    return Advice(
        question=question,
        answer=answer_sentence(ranked or _only_card(every, question), question, rank_by, currency, unit),
        indistinguishable=undecided(ranked, rank_by, desk),
        would_change=would_change(every, rank_by, currency),
        alternatives=alternatives(ranked, rank_by, desk),
        currency=currency,
        unit=unit,
        basis=desk.basis.case.stack if desk.basis else None,
        basis_note=desk.basis_note,
        ranked_by=rank_by,
        options=every,
        break_even=_break_even(ranked, desk),
        rent_or_buy=_rent_or_buy(ranked, desk),
        notes=notes(every, question, desk.basis, desk.prices, desk.forecaster),
    )


def _only_card(options: Sequence[Option], question: Question) -> list[Option]:
    """Return the one card that was asked about, though it is out of the running, where a model must fit."""
    asked = question.memory_model is not None and len(question.cards) == 1
    return [option for option in options if asked and option.devices == 1 and not option.owned][:1]


def _usual_ranking(options: Sequence[Option], question: Question) -> str:
    """Throughput under a budget, else throughput per price; the price where no speed is known."""
    if not any(option.throughput_per_s is not None and not option.owned for option in options):
        return "price"
    priced = any(option.throughput_per_price is not None for option in options)
    return "value" if priced and question.budget is None else "throughput"


def _canonical(question: Question) -> Question:
    return replace(
        question,
        precision=canonical(question.precision, PRECISION_ALIASES),
        optimizer=canonical(question.optimizer, OPTIMIZER_ALIASES),
    )


def _times_yours(option: Option, owned: Sequence[OwnMeasurement], desk: Desk) -> Ratio | None:
    """Compare the option with one's own fastest measured card: by measurement, or by the figures of the stack."""
    mine = [machine for machine in owned if is_scalable(machine)]
    if not mine or desk.basis is None or option.card is None:
        return None
    card = max(mine, key=lambda machine: machine.throughput_per_s).card
    assert card is not None
    return None if option.card == card.name else throughput_ratio(option, _single(card, desk), desk)


def answer(
    question: Question, cards_file: Path | None, prices_file: Path | None, results: Sequence[Path] | None
) -> Advice:
    """Answer by `advise` on the package's data and a person's own files; absent default files are skipped.

    Raises:
        UsageError: as `advise`, or a file cannot be read.
        RecordError: a named results file is missing or malformed.
    """
    cards = load_cards(cards_file)
    if prices_file is None and _DEFAULT_PRICES.exists():
        prices_file = _DEFAULT_PRICES
    if results is None:
        results = [_DEFAULT_RESULTS] if _DEFAULT_RESULTS.exists() else []
    return advise(question, cards, curated().kept, load_prices(prices_file, cards), load_results(results))


def _wanted_cards(question: Question, cards: Mapping[str, Card]) -> list[Card]:
    if question.cards:
        return list(dict.fromkeys(find_card(name, cards) for name in question.cards))
    return [card for card in cards.values() if card.card_class not in ("datacenter", "laptop")]


def _check_workload(workload: str, rows: Sequence[Published]) -> None:
    """Raise unless the workload is one of the suite's or a published model's name."""
    known = [*WORKLOADS, *WORKLOAD_MODELS, *(row.model for row in rows if row.task == "train")]
    named(dict.fromkeys(known), workload, "workload or published model")


def _check_budget(question: Question, wanted: Sequence[Card], prices: PriceList) -> None:
    if question.budget is None:
        return
    if not math.isfinite(question.budget) or question.budget <= 0:
        raise UsageError(f"a budget of {question.budget:g} buys nothing.", next_step="Give a positive amount.")
    known = [(price.amount, card.name) for card in wanted if (price := price_of(card, prices))]
    if known and min(known)[0] > question.budget:
        amount, name = min(known)
        raise UsageError(
            f"a budget of {format_money(question.budget, prices.currency)} is below every card asked about.",
            next_step=f"The cheapest is {name} at {format_money(amount, prices.currency)}.",
        )


def _options_of(card: Card, desk: Desk) -> list[Option]:
    single = _judged(_single(card, desk), card, desk)
    return [single, *(_judged(option, card, desk) for option in _several(card, single, desk))]


def _several(card: Card, single: Option, desk: Desk) -> list[Option]:
    """Several of the card where that is published; predicted too where several were asked for."""
    most = desk.question.max_devices
    if most == 1:
        return []
    found = {count: _published_several(card, single, count, desk) for count in COUNTS if count <= (most or 2)}
    if most is not None:
        found = {
            count: option or scaled_option(card, single, count, desk.case, desk.pairs)
            for count, option in found.items()
        }
    return [option for option in found.values() if option is not None]


def _single(card: Card, desk: Desk) -> Option:
    option = Option(name=card.name, card=card.name, power_w=card.power_limit_w, power_origin="board power (TDP)")
    if desk.basis is None:
        return replace(option, cannot_say=desk.basis_note)
    return replace(option, **figure_of(card, desk.basis, desk.question, desk.forecaster)._asdict())


def _published_several(card: Card, single: Option, count: int, desk: Desk) -> Option | None:
    """Return ``count`` of the card, where somebody published them in the same stack."""
    published = None if desk.basis is None else published_figure(card.name, count, desk.basis)
    if published is None or desk.basis is None or single.origin != "published" or not single.throughput_per_s:
        return None
    efficiency = float(str(published["throughput_per_s"])) / (count * single.throughput_per_s)
    link = "no NVLink" if card.nvlink in (None, "none") else "published without saying whether NVLink was used"
    names = "two cards give {} of twice one" if count == 2 else f"{count} cards give {{}} of {count} times one"
    words = f"{names.format(format_percent(efficiency, 0))} ({link}); board, power supply and space not counted"
    return Option(
        name=f"{count}× {card.name}",
        card=card.name,
        devices=count,
        origin="published",
        stack=desk.basis.case.stack,
        power_w=None if card.power_limit_w is None else count * card.power_limit_w,
        power_origin="board power (TDP)",
        **{**published, "why": (*published["why"], words)},  # type: ignore[arg-type, misc]  # fields of Option
    )


def _judged(option: Option, card: Card, desk: Desk) -> Option:
    """Complete the option with price, energy, cost, memory, and whether it is out of the running."""
    unit_price = price_of(card, desk.prices)
    price = replace(unit_price, amount=unit_price.amount * option.devices) if unit_price else None
    memory = memory_on(card, desk.memory) if desk.memory else None
    option = replace(option, price=price, memory=memory)
    if desk.case is None or desk.case.stack != RELATIVE_STACK:  # a multiple of another card's speed has no cost
        option = replace(option, **economics(option, desk.question.assumptions))
    elif option.throughput_per_s is not None and price is not None:
        option = replace(option, throughput_per_price=option.throughput_per_s / price.amount)
    return replace(option, excluded=_excluded(option, desk), why=(*option.why, *_reasons(option, card)))


def _excluded(option: Option, desk: Desk) -> str | None:
    budget = desk.question.budget
    if budget is not None and option.price is None:
        return f"no {desk.prices.currency} price is known, so it cannot be held against the budget"
    if budget is not None and option.price is not None and option.price.amount > budget:
        return f"over budget: {format_money(option.price.amount, option.price.currency)}"
    if option.memory is not None and option.memory.state == "no":
        need = format_bytes(option.memory.low_bytes)
        return f"{option.memory.model} at batch {option.memory.batch_size} needs at least {need} on each card"
    return None


_FIT_WORDS: Mapping[FitState, str] = {
    "fits": "{model} fits (up to {high} at batch {batch}; largest batch {largest})",
    "tight": "{model} is tight: {low} to {high} at batch {batch}",
    "no": "{model} does not fit: at least {low} at batch {batch}",
}


def _reasons(option: Option, card: Card) -> tuple[str, ...]:
    reasons = []
    if option.memory is not None and option.memory.state is not None:
        memory = option.memory
        reasons.append(
            _FIT_WORDS[option.memory.state].format(
                model=memory.model,
                low=format_bytes(memory.low_bytes),
                high=format_bytes(memory.high_bytes),
                batch=memory.batch_size,
                largest=memory.largest_batch,
            )
        )
    if option.price is not None and option.price.is_launch_price:
        reasons.append(f"priced at its launch price of {option.price.date[:7]}")
    reasons += [f"catalogue: {caveat}" for caveat in card.caveats]
    return tuple(reasons)


def _owned_option(machine: OwnMeasurement, desk: Desk) -> Option:
    power = machine.power_w
    return Option(
        name=f"{machine.name} (yours)",
        card=machine.card.name if machine.card else None,
        origin="measured",
        stack=machine.stack,
        throughput_per_s=machine.throughput_per_s,
        low_per_s=machine.low_per_s,
        high_per_s=machine.high_per_s,
        batch_size=machine.batch_size,
        power_w=power,
        power_origin="measured by the board's sensor" if power is not None else "",
        energy_per_example_j=None if power is None else energy_per_example_j(power, machine.throughput_per_s),
        memory=memory_on(machine.card, desk.memory) if machine.card and desk.memory else None,
        owned=True,
        comparable=not _is_other_work(machine, desk.basis),
        why=_owned_reasons(machine, desk),
        sources=(machine.record_id,),
    )


def _is_other_work(machine: OwnMeasurement, basis: Basis | None) -> bool:
    return basis is not None and basis.tokens is not None and machine.tokens not in (None, basis.tokens)


def _owned_reasons(machine: OwnMeasurement, desk: Desk) -> tuple[str, ...]:
    reasons = [f"measured here in {machine.stack}, {machine.label}", *filter(None, [machine.scaling])]
    basis = desk.basis
    if basis is not None and basis.own is machine:
        return (*reasons, "the ranked figures are predicted from this row")
    if basis is not None and _is_other_work(machine, basis):
        reasons.append(f"{machine.tokens} tokens an example against {basis.tokens}: not the same work")
    elif basis is not None and basis.case.stack != machine.stack:
        reasons.append("another software stack than the ranked figures: up to a factor of two lies in that alone")
    if machine.precision != desk.question.precision:
        reasons.append(f"it never ran {desk.question.precision}; this is its fastest other precision")
    return tuple(reasons)


def _unit(basis: Basis | None) -> str:
    if basis is not None and basis.case.stack == RELATIVE_STACK:
        return f"× {REFERENCE}"
    if basis is not None and basis.case.stack == DECODER_STACK:
        return "tokens"
    if basis is not None and basis.rows:
        return basis.rows[0].unit.removesuffix("/s")
    return "examples"


def _break_even(ranked: Sequence[Option], desk: Desk) -> tuple[BreakEven, ...]:
    """Compare the best with every cheaper or dearer ranked option next to it (up to five)."""
    rows = [o for o in ranked if o.rank is not None and o.price and o.power_w and o.throughput_per_s]
    pairs = (break_even_between(rows[0], other, desk.question.assumptions, desk) for other in rows[1:6])
    return tuple(pair for pair in pairs if pair is not None)


def _rent_or_buy(ranked: Sequence[Option], desk: Desk) -> RentOrBuy | None:
    """Compare the first option with the card that could be rented."""
    if desk.question.rent is None or not ranked:
        return None
    name, price_per_hour = desk.question.rent
    rented = ranked[0]
    if name:
        card = find_card(name, desk.cards)
        rented = next((o for o in ranked if o.card == card.name and o.devices == 1), _single(card, desk))
    return rent_or_buy(ranked[0], rented, price_per_hour, desk.question.assumptions, desk)

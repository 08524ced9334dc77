"""The advice as text for a terminal, and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from textwrap import fill

import msgspec

from rtxbench.advice.prediction.forecast import DECODER_STACK
from rtxbench.advice.question import Advice, BreakEven, Option, RentOrBuy
from rtxbench.advice.sentence import compact, ranged, short_name
from rtxbench.units import format_bytes, format_count, format_money, format_percent

__all__ = ["advice_json", "advice_text"]

_PLAIN_WIDTH = 80
"""Width where the output is no terminal."""
_WIDE = 104
"""Width from which the columns that 80 have no room for are shown too."""

_RANKED_BY: Mapping[str, str] = {
    "throughput": "throughput",
    "value": "throughput per price",
    "cost": "cost per million examples",
    "energy": "energy per example",
    "price": "price, as no speed is known",
}
_ORIGINS: Mapping[str | None, str] = {"published": "pub", "predicted": "pred", "measured": "meas", None: ""}


def advice_json(advice: Advice) -> str:
    """Write every field, units in the names; an unknown figure is null."""
    return msgspec.json.format(msgspec.json.encode(advice), indent=2).decode()


def advice_text(advice: Advice, *, width: int | None = None) -> str:
    """Write the answer, three alternatives, a ranked table, and what cannot be said.

    Args:
        advice: the answer.
        width: columns; ``None`` takes the terminal's, 80 where there is none.
    """
    columns = width or get_terminal_size((_PLAIN_WIDTH, 24)).columns
    lines = "\n".join(_parts(advice, max(columns, _PLAIN_WIDTH))).split("\n")
    wrapped = (line if len(line) <= columns else _wrapped(line, columns) for line in lines)
    return "\n".join(line.rstrip() for line in wrapped).strip() + "\n"


def _wrapped(line: str, columns: int) -> str:
    """Break the line between words and indent what follows below it."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return fill(line, columns, subsequent_indent=indent, break_on_hyphens=False)


def _parts(advice: Advice, columns: int) -> Iterable[str]:
    ranked = [option for option in advice.options if option.rank is not None]
    yield advice.answer
    yield from _after_the_answer(advice)
    yield _question_line(advice)
    basis = "" if advice.basis == DECODER_STACK else f"{advice.basis}: "
    yield f"Stands on: {basis}{advice.basis_note}" if advice.basis else f"Cannot say: {advice.basis_note}."
    if ranked:
        yield "\n" + _table(advice, ranked, columns)
        yield _legend(advice, ranked)
    for option in (option for option in advice.options if option.owned):
        yield _owned_line(option)
    if ranked:
        yield "\nWhy, for the first five:"
        yield from (f"  {o.rank}. {o.name}: {'; '.join(o.why)}." for o in ranked[:5])
    yield from _break_even_lines(advice.break_even, advice)
    if advice.rent_or_buy is not None:
        yield _rent_line(advice.rent_or_buy, advice.currency)
    yield from _unranked_lines(advice, columns)
    if ranked:
        yield _assumption_line(advice)
    yield from (f"Note: {note}" for note in advice.notes)


def _after_the_answer(advice: Advice) -> Iterable[str]:
    if advice.indistinguishable:
        names = [short_name(name) for name in advice.indistinguishable]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"Not distinguishable from it: {', '.join(names[:5])}{more}."
    if advice.would_change:
        yield f"Would change with: {'; '.join(advice.would_change)}."
    if advice.alternatives:
        yield "\nAlternatives:"
        yield from (f"  {alternative.text}" for alternative in advice.alternatives)
    yield ""


def _question_line(advice: Advice) -> str:
    question = advice.question
    budget = f", budget {format_money(question.budget, advice.currency)}" if question.budget is not None else ""
    trained = f"Training {question.workload} in {question.precision}{budget}"
    if question.memory_model and advice.basis in (DECODER_STACK, None):
        trained = f"Fine-tuning {question.memory_model}{budget}"
    elif question.memory_model:
        trained += f", must hold {question.memory_model}"
    return f"{trained}; ranked by {_RANKED_BY[advice.ranked_by]}"


def _table(advice: Advice, ranked: Sequence[Option], columns: int) -> str:
    """Ranked options, one line each, within the columns there are."""
    head = ["#", "card", "per s", "90 % range", "is", "batch", advice.currency, "/mln", "memory"]
    rows = [_cells(option) for option in ranked]
    if columns >= _WIDE:
        head += ["J each", "/1000", "x yours"]
        rows = [(*row, *_wide_cells(option)) for row, option in zip(rows, ranked, strict=True)]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    spare = columns - sum(widths) - len(widths) + 1
    widths[1] += min(0, spare)
    return "\n".join(_line(row, widths) for row in (head, *rows))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = {1, 4, 8}
    cells = (
        (text if len(text) <= width else text[: width - 1] + "…").ljust(width) if i in left else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return " ".join(cells).rstrip()


def _cells(option: Option) -> tuple[str, ...]:
    mark = "*" if option.price is not None and option.price.is_launch_price else ""
    return (
        "" if option.rank is None else str(option.rank),
        short_name(option.name),
        compact(option.throughput_per_s).replace(" ", ""),
        _range(option),
        _ORIGINS[option.origin],
        "" if option.batch_size is None else str(option.batch_size),
        "–" if option.price is None else f"{format_count(option.price.amount)}{mark}",
        compact(option.cost_per_million).replace(" ", ""),
        _memory_words(option),
    )


def _wide_cells(option: Option) -> tuple[str, ...]:
    value = None if option.throughput_per_price is None else 1000 * option.throughput_per_price
    yours = "–" if option.times_yours is None else f"{option.times_yours.value:.2f}"
    return (compact(option.energy_per_example_j), compact(value), yours)


def _memory_words(option: Option) -> str:
    memory = option.memory
    if memory is None:
        return "unknown"
    if memory.state is None or memory.state == "fits":
        return f"{'fits ' if memory.state else ''}≤ {memory.largest_batch}"
    return memory.state


def _legend(advice: Advice, ranked: Sequence[Option]) -> str:
    unit, currency = advice.unit, advice.currency
    memory = next((option.memory for option in ranked if option.memory is not None), None)
    of = f" Memory: largest batch of {memory.model} ({memory.basis})." if memory is not None else ""
    if memory is not None and memory.parts:
        parts = ", ".join(f"{part.name} {format_bytes(part.value_bytes)}" for part in memory.parts)
        of += (
            f" At batch {memory.batch_size}: {parts}; {format_bytes(memory.low_bytes)} to "
            f"{format_bytes(memory.high_bytes)} together."
        )
    return (
        f"per s: {unit}{'' if unit.startswith('×') else ' per second'}, pub(lished), pred(icted) or meas(ured) at that "
        f"batch; /mln: {currency} a million {unit}, with the range of the speed.{of}"
    )


def _owned_line(option: Option) -> str:
    name, throughput = option.name.removesuffix(" (yours)"), compact(option.throughput_per_s)
    return f"Yours: {name}: {throughput} examples/s measured; {'; '.join(option.why)}."


def _break_even_lines(pairs: Sequence[BreakEven], advice: Advice) -> Iterable[str]:
    if pairs:
        yield "\nBreak-even, electricity included:"
    for pair in pairs:
        cheaper, dearer = short_name(pair.cheaper), short_name(pair.dearer)
        if pair.examples is None and pair.examples_low is None:
            yield f"  {dearer} never makes up for its price over {cheaper}."
            continue
        years = f"{advice.question.assumptions.years:g} years"
        yield (
            f"  {dearer} makes up for its price over {cheaper} after, in {advice.unit}, "
            f"{_span(pair.examples, pair.examples_low, pair.examples_high)}: {_hours(pair)} a day of the {cheaper} "
            f"over {years}."
        )


def _span(value: float | None, low: float | None, high: float | None) -> str:
    middle, least, most = ("never" if count is None else _counted(count) for count in (value, low, high))
    return middle if least == most else f"{middle} ({least} to {most})"


def _hours(pair: BreakEven) -> str:
    def told(hours: float | None) -> str:
        return "more than 24" if hours is None else f"{hours:.1f}"

    if pair.hours_per_day == pair.hours_per_day_low == pair.hours_per_day_high:
        return f"{told(pair.hours_per_day)} hours"
    return f"{told(pair.hours_per_day)} ({told(pair.hours_per_day_low)} to {told(pair.hours_per_day_high)}) hours"


def _rent_line(pair: RentOrBuy, currency: str) -> str:
    rented = f"renting {short_name(pair.rented)} at {pair.price_per_hour:g} {currency} an hour"
    if pair.hours is None:
        return f"\nRent or buy: {rented} costs less than the electricity of {short_name(pair.bought)} alone."
    hours = ranged(pair.hours, pair.hours_low, pair.hours_high)
    return f"\nRent or buy: buying {short_name(pair.bought)} costs less than {rented} from {hours} hours of it on."


def _counted(examples: float) -> str:
    for factor, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if examples >= factor:
            return f"{examples / factor:.3g} {word}"
    return format_count(examples)


def _unranked_lines(advice: Advice, columns: int) -> Iterable[str]:
    """Write every other card with what is known of it, then the reasons, each told once."""
    rest = [option for option in advice.options if option.rank is None and not option.owned]
    if not rest:
        return
    known = [option for option in rest if option.throughput_per_s is not None or _holds_the_model(option, advice)]
    yield "\nNot ranked" + (", with what is known of them:" if known else ":")
    if known:
        yield _table(advice, known, columns)
    reasons: dict[str, list[str]] = {}
    for option in rest:
        reasons.setdefault(_unranked_reason(option), []).append(short_name(option.name))
    yield from (f"  {', '.join(names)}: {reason}." for reason, names in reasons.items())


def _holds_the_model(option: Option, advice: Advice) -> bool:
    asked = advice.question.memory_model is not None or bool(advice.question.cards)
    return asked and option.memory is not None and option.memory.state != "no"


def _unranked_reason(option: Option) -> str:
    if option.excluded is not None:
        return "over budget" if option.excluded.startswith("over budget") else option.excluded
    if option.cannot_say is not None:
        return f"cannot say: {option.cannot_say}"
    return "no price is known"


def _assumption_line(advice: Advice) -> str:
    a = advice.question.assumptions
    return (
        f"\nAssumed: electricity {a.electricity_per_kwh:g} {advice.currency}/kWh, {a.hours_per_day:g} hours a day, "
        f"{a.years:g} years, resale at {format_percent(a.resale_ratio, 0)} of the price, {a.host_w:g} W for the rest "
        "of the machine."
    )


def _range(option: Option) -> str:
    if option.low_per_s is None or option.high_per_s is None:
        return "–"
    return f"{compact(option.low_per_s)} to {compact(option.high_per_s)}".replace(" k", "k")

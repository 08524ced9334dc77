"""The advice and the catalogue as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING

import msgspec

from rtxbench.advice.question import Advice, BreakEven, Option

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["advice_json", "advice_text"]

_PLAIN_WIDTH = 132
"""Width where the output is no terminal."""

_RANKED_BY: Mapping[str, str] = {
    "throughput": "throughput",
    "value": "throughput per price",
    "cost": "cost per million examples",
    "energy": "energy per example",
}


def advice_json(advice: Advice) -> str:
    """Every field, units in the names; an unknown figure is null."""
    return msgspec.json.format(msgspec.json.encode(advice), indent=2).decode()


def advice_text(advice: Advice, *, width: int | None = None) -> str:
    """A ranked table, why the first few are where they are, and what cannot be said.

    Args:
        advice: the answer.
        width: columns; ``None`` wraps sentences at the terminal's and lets the table be wider.
    """
    from rich.console import Console

    # No markup: names and notes may hold square brackets, which are text here.
    console = Console(width=width or _PLAIN_WIDTH, force_terminal=False, color_system=None, markup=False)
    columns = min(console.width, get_terminal_size((_PLAIN_WIDTH, 24)).columns)
    with console.capture() as captured:
        for part in _parts(advice):
            console.print(_wrapped(part, columns) if isinstance(part, str) else part, highlight=False)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().rstrip().splitlines())


def _wrapped(text: str, columns: int) -> str:
    """Each line broken between words, what follows indented below it."""
    return "\n".join(
        fill(line, columns, subsequent_indent=" " * (len(line) - len(line.lstrip()) + 2), break_on_hyphens=False)
        for line in text.split("\n")
    )


def _parts(advice: Advice) -> Iterable[RenderableType]:
    ranked = [option for option in advice.options if option.rank is not None]
    yield _question_line(advice)
    yield f"Stands on: {advice.basis}: {advice.basis_note}" if advice.basis else f"Cannot say: {advice.basis_note}."
    if ranked:
        yield _ranked_table(advice, ranked)
    owned = [option for option in advice.options if option.owned]
    for option in owned:
        yield _owned_line(option)
    if ranked:
        yield "\nWhy, for the first five:"
        yield from (f"  {o.rank}. {o.name}: {'; '.join(o.why)}." for o in ranked[:5])
    yield from _break_even_lines(advice.break_even, advice)
    yield from _unranked_lines(advice)
    if ranked:
        yield _assumption_line(advice)
    yield from (f"Note: {note}" for note in advice.notes)


def _question_line(advice: Advice) -> str:
    question = advice.question
    budget = f", budget {question.budget:,.0f} {advice.currency}" if question.budget is not None else ""
    model = f", must hold {question.memory_model}" if question.memory_model else ""
    return (
        f"Training {question.workload} in {question.precision}{budget}{model}; ranked by {_RANKED_BY[advice.ranked_by]}"
    )


def _ranked_table(advice: Advice, ranked: Sequence[Option]) -> RenderableType:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("Card", no_wrap=True)
    for title in (f"{advice.unit}/s", "90 % range", "figure is"):
        table.add_column(title, justify="left" if title == "figure is" else "right", no_wrap=True)
    for title in (advice.currency, "per 1000", "J each", "per million", "memory"):
        table.add_column(title, justify="left" if title == "memory" else "right", no_wrap=True)
    for option in ranked:
        table.add_row(*_cells(option))
    return table


def _cells(option: Option) -> tuple[str, ...]:
    mark = "*" if option.price is not None and option.price.is_launch_price else ""
    return (
        str(option.rank),
        option.name,
        _number(option.throughput_per_s),
        _range(option),
        option.origin or "–",
        "–" if option.price is None else f"{option.price.amount:,.0f}{mark}",
        _number(None if option.throughput_per_price is None else 1000 * option.throughput_per_price),
        _number(option.energy_per_example_j),
        _number(option.cost_per_million),
        _memory_words(option),
    )


def _memory_words(option: Option) -> str:
    memory = option.memory
    if memory is None:
        return "unknown"
    if memory.state is None or memory.state == "fits":
        return f"{'fits, ' if memory.state else ''}batch ≤ {memory.largest_batch}"
    return memory.state


def _owned_line(option: Option) -> str:
    name, throughput = option.name.removesuffix(" (yours)"), _number(option.throughput_per_s)
    return f"Yours: {name}: {throughput} examples/s measured; {'; '.join(option.why)}."


def _break_even_lines(pairs: Sequence[BreakEven], advice: Advice) -> Iterable[str]:
    if pairs:
        yield "\nBreak-even, electricity included:"
    for pair in pairs:
        if pair.examples is None:
            yield f"  {pair.dearer} never makes up for its price over {pair.cheaper}."
            continue
        count = f"{_counted(pair.examples)} {advice.unit}"
        years = f"{advice.question.assumptions.years:g} years"
        hours = (
            f"{pair.hours_per_day:.1f} hours a day of the {pair.cheaper} over {years}"
            if pair.hours_per_day is not None
            else f"more than 24 hours a day over {years}"
        )
        yield f"  {pair.dearer} has cost less than {pair.cheaper} after {count} ({hours})."


def _counted(examples: float) -> str:
    for factor, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if examples >= factor:
            return f"{examples / factor:.3g} {word}"
    return f"{examples:,.0f}"


def _unranked_lines(advice: Advice) -> Iterable[str]:
    reasons: dict[str, list[str]] = {}
    for option in advice.options:
        if option.rank is None and not option.owned:
            reasons.setdefault(_unranked_reason(option), []).append(option.name)
    if reasons:
        yield "\nNot ranked:"
    for reason, names in reasons.items():
        yield f"  {', '.join(names)}: {reason}."


def _unranked_reason(option: Option) -> str:
    if option.cannot_say is not None:
        return f"cannot say: {option.cannot_say}"
    if option.excluded is not None:
        return "over budget" if option.excluded.startswith("over budget") else option.excluded
    return "no price is known"


def _assumption_line(advice: Advice) -> str:
    a = advice.question.assumptions
    return (
        f"\nAssumed: electricity {a.electricity_per_kwh:g} {advice.currency}/kWh, {a.hours_per_day:g} hours a day, "
        f"{a.years:g} years, resale at {a.resale_ratio:.0%} of the price, {a.host_w:g} W for the rest of the machine. "
        f"'per 1000': {advice.unit}/s per 1000 {advice.currency}; 'per million': {advice.currency} a million "
        f"{advice.unit}."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    for least, factor, prefix in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if abs(value) >= least:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _range(option: Option) -> str:
    if option.low_per_s is None or option.high_per_s is None:
        return "–"
    return f"{_number(option.low_per_s)} to {_number(option.high_per_s)}"

"""Show which card to buy: the answer first, then every card and one's own machine, per price, per joule, what fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from rtxbench.report.drawing.purchase import (
    Curve,
    Dot,
    DotColumn,
    FitCell,
    break_even_curves,
    card_dots,
    fit_matrix,
)
from rtxbench.report.parts import Block, Cell, Code, Column, Context, Figure, Paragraph, Section, Subheading, Table
from rtxbench.units import format_count, format_number, format_percent
from rtxbench.wording import say_stack

if TYPE_CHECKING:
    from rtxbench.advice.cost import Assumptions
    from rtxbench.advice.question import Advice, Option

__all__ = ["purchase_section"]

_PRECISION: Final = "mixed_float16"
_WORKLOADS: Final[Mapping[str, str]] = {"resnet50": "ResNet-50", "bert-base": "BERT-base"}
_UNITS: Final[Mapping[str, str]] = {
    "throughput": "per second",
    "value": "per second and 1,000 USD",
    "energy": "per kilojoule",
}
_WORTH: Final[Mapping[str, str]] = {"value": "per price", "energy": "per energy"}
_NAMED: Final = 6
_CURVES: Final = 6
_HOURS: Final = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
_MEMORIES_GB: Final = (6, 8, 10, 12, 16, 24, 32, 48, 96)
_FIT_ROWS: Final = (
    # (model, method): what people ask of these cards
    ("bert-large", "full"),
    ("gpt2-xl", "full"),
    ("llama-3.2-1b", "full"),
    ("llama-3.2-3b", "lora"),
    ("llama-3.1-8b", "full-bf16"),
    ("llama-3.1-8b", "lora"),
    ("llama-3.1-8b", "qlora"),
    ("qwen3-14b", "lora"),
    ("qwen3-14b", "qlora"),
    ("gpt-oss-20b", "qlora"),
    ("gemma-3-27b", "qlora"),
    ("qwen3-32b", "qlora"),
    ("llama-3.3-70b", "qlora"),
)
_FIT_TOKENS: Final = 512
_LOSES_NOTHING: Final = (
    "These are published figures of other people's machines and predictions from them, not measurements of this one; "
    "the two are told apart by their marks. One advice stands on one software stack."
)


def purchase_section(context: Context) -> Section | None:
    """Advice from the package's published data, joined by the machines of this report."""
    from rtxbench.advice.options import advise
    from rtxbench.advice.prediction.forecast import published_forecaster
    from rtxbench.advice.question import Question, rank_options
    from rtxbench.catalog.cards import load_cards
    from rtxbench.catalog.prices import load_prices
    from rtxbench.catalog.published import curated

    cards, rows = load_cards(), curated().kept
    forecaster, prices = published_forecaster(), load_prices(None, cards)

    def asked(workload: str) -> Advice:
        question = Question(workload=workload, precision=_PRECISION, max_devices=1)
        return advise(question, cards, rows, prices, context.runs, forecaster)

    advised = {workload: asked(workload) for workload in _WORKLOADS}
    blocks = [block for advice in advised.values() for block in _answer_blocks(advice)]
    answers = {
        workload: structs.replace(advice, options=rank_options(advice.options, "throughput"))
        for workload, advice in advised.items()
    }
    blocks += [Subheading("The figures behind it"), Paragraph(_LOSES_NOTHING)]
    blocks += [*_figures(answers), *_own_blocks(answers)]
    blocks += [_table(workload, advice) for workload, advice in answers.items()]
    blocks += [
        Paragraph("Ask with your own prices, budget and model:"),
        Code("rtxbench advise --workload bert-base --budget 1200 --memory-model llama-3.1-8b:qlora"),
    ]
    return Section(id="purchase", title="Which card to buy", blocks=tuple(blocks))


def _answer_blocks(advice: Advice) -> list[Block]:
    """Write the answer in a sentence, what it cannot be told from, and three alternatives with what speaks for each."""
    from rtxbench.advice.sentence import short_name

    said = [advice.answer]
    if advice.indistinguishable:
        names = [short_name(name) for name in advice.indistinguishable]
        said.append(f"Not distinguishable from it: {', '.join(names[:_NAMED])}{' and others' * (len(names) > _NAMED)}.")
    if advice.would_change:
        said.append(f"Would change with: {'; '.join(advice.would_change)}.")
    rows = tuple(
        (short_name(other.name), other.reason, other.text.partition(": ")[2].removeprefix(f"{other.reason}, "))
        for other in advice.alternatives
    )
    columns = (Column("Alternative"), Column("What speaks for it"), Column("Beside the first"))
    caption = f"Three alternatives for {_WORKLOADS[advice.question.workload]}, at launch prices"
    return [Paragraph(" ".join(said)), Table(caption=caption, columns=columns, rows=rows)]


def _own_blocks(answers: Mapping[str, Advice]) -> list[Block]:
    """List one's own machines beside the ranked stack: measured, and in words why they are not ranked with it."""
    rows = [
        (
            option.name.removesuffix(" (yours)"),
            _WORKLOADS[workload],
            Cell(f"{_short(option.throughput_per_s)} examples/s"),
            "; ".join(option.why),
        )
        for workload, advice in answers.items()
        for option in advice.options
        if option.owned
    ]
    if not rows:
        text = f"No machine of this report measured {' or '.join(_WORKLOADS.values())}, so none joins the comparison."
        return [Paragraph(text, tone="muted")]
    columns = (Column("Machine"), Column("Workload"), Column("Throughput", numeric=True), Column("How it compares"))
    return [Table(caption="Machines of this report", columns=columns, rows=tuple(rows))]


def _figures(answers: Mapping[str, Advice]) -> list[Figure]:
    speed = _dots([(answers[workload], title, "throughput") for workload, title in _WORKLOADS.items()])
    worth = _dots([(answers["bert-base"], f"BERT-base, {title}", figure) for figure, title in _WORTH.items()])
    names = [name for name, _ in speed[0]]
    stacks = " and ".join(
        f"{say_stack(advice.basis or '')} for {_WORKLOADS[workload]}" for workload, advice in answers.items()
    )
    origin = f"Filled: published; hollow: predicted with its 90 % range. Software stack: {stacks}."
    measured = any(option.owned for advice in answers.values() for option in advice.options)
    own = " Diamond: measured here, in another stack." if measured else ""
    return [
        Figure(
            name="purchase-throughput",
            build=partial(card_dots, *speed),
            alt=f"Dot plot of training throughput by card; the fastest is {names[0]}, the slowest {names[-1]}.",
            caption=f"Training throughput on one card, {_PRECISION}: images (ResNet-50) and sequences of 384 tokens "
            f"(BERT-base) per second. {origin}{own}",
            origin="published",
        ),
        Figure(
            name="purchase-value",
            build=partial(card_dots, *worth),
            alt=f"Dot plot of BERT-base training per price and energy by card; {worth[0][0][0]} gives most per price.",
            caption="Sequences per second and 1,000 USD of launch price, which is not today's price; and sequences per "
            "kilojoule at the vendor's board power, a lower bound without the rest of the machine. Board sensors are "
            f"off by up to 8 %, so smaller differences in energy are no evidence. {origin}",
            origin="published",
        ),
        _break_even_figure(answers["bert-base"]),
        _fit_figure(),
    ]


def _dots(wanted: Sequence[tuple[Advice, str, str]]) -> tuple[tuple[tuple[str, str], ...], tuple[DotColumn, ...]]:
    """Rows (card, group) and a column per (advice, title, figure).

    Cards best first by the first column's figure, one's own machines at the foot.
    """
    first, _, figure = wanted[0]
    known = [o for o in first.options if not o.owned and _value(o, figure) is not None]
    ordered = sorted(known, key=lambda option: -(_value(option, figure) or 0.0))
    rows = [(_label(option), _group(option)) for option in ordered]
    owned = (o for advice, _, shown in wanted for o in advice.options if o.owned and _value(o, shown) is not None)
    rows += dict.fromkeys((_label(option), "your machine") for option in owned)
    return tuple(rows), tuple(
        DotColumn(title, f"{advice.unit} {_UNITS[shown]}", _column(rows, advice, shown))
        for advice, title, shown in wanted
    )


def _label(option: Option) -> str:
    name = option.name.removesuffix(" (yours)").removeprefix("NVIDIA ").removeprefix("GeForce ")
    if option.owned:
        return name.replace("(R)", "").replace("(TM)", "")
    return name.removesuffix(" Edition").removesuffix(" Generation").replace(" Blackwell", "")


def _group(option: Option) -> str:
    if option.owned:
        return "your machine"
    for series in ("20", "30", "40", "50"):
        if option.name.startswith(f"GeForce RTX {series}"):
            return f"GeForce RTX {series}"
    return "workstation"


def _column(rows: Sequence[tuple[str, str]], advice: Advice, figure: str) -> tuple[Dot, ...]:
    options = {(_label(option), _group(option)): option for option in advice.options}
    return tuple(_dot(options.get(row), figure) for row in rows)


def _dot(option: Option | None, figure: str) -> Dot:
    value = None if option is None else _value(option, figure)
    if option is None or value is None or option.throughput_per_s is None:
        return Dot(None, None, None, "published")
    factor = value / option.throughput_per_s
    low, high = (None if v is None else v * factor for v in (option.low_per_s, option.high_per_s))
    return Dot(value, low, high, option.origin or "predicted")


def _value(option: Option, figure: str) -> float | None:
    factor = _factor(option, figure)
    if option.throughput_per_s is None or factor is None or not option.comparable:
        return None
    return option.throughput_per_s * factor


def _factor(option: Option, figure: str) -> float | None:
    """Give the factor that turns throughput into the figure: 1, 1000 ÷ price, 1000 ÷ power."""
    if figure == "throughput":
        return 1.0
    if figure == "value":
        return None if option.price is None else 1000 / option.price.amount
    return None if option.power_w is None else 1000 / option.power_w


def _curve(option: Option, assumptions: Assumptions) -> Curve:
    from rtxbench.advice.cost import cost_per_million

    price = option.price.amount if option.price else 0.0
    costs = (
        cost_per_million(
            price,
            option.power_w or 0.0,
            option.throughput_per_s or 1.0,
            msgspec.structs.replace(assumptions, hours_per_day=hours),
        )
        for hours in _HOURS
    )
    return Curve(option.name.removeprefix("GeForce "), _HOURS, tuple(costs), option.origin or "predicted")


def _break_even_figure(advice: Advice) -> Figure:
    assumptions = advice.question.assumptions
    priced = [o for o in advice.options if o.price and o.power_w and o.throughput_per_s and not o.owned]
    every = [_curve(option, assumptions) for option in priced]
    cheapest = [min(curve.cost[i] for curve in every) for i in range(len(_HOURS))]

    def regret(curve: Curve) -> float:
        return min(cost / least for cost, least in zip(curve.cost, cheapest, strict=True))

    curves = tuple(sorted(every, key=regret)[:_CURVES])
    return Figure(
        name="purchase-break-even",
        build=partial(break_even_curves, curves, advice.currency, advice.unit),
        alt="Cost per million examples above the cheapest card against hours of training a day, a line per card: "
        + ", ".join(curve.label for curve in curves),
        caption=f"What a million {advice.unit} of BERT-base cost above the cheapest card, over {assumptions.years:g} "
        f"years: launch price less "
        f"{format_percent(assumptions.resale_ratio, 0)} resale, electricity at {assumptions.electricity_per_kwh:g} "
        f"{advice.currency}/kWh for the card at its board power and {assumptions.host_w:g} W for the rest. The "
        f"{len(curves)} cards that come closest; where lines cross, cards break even. Dashed: throughput is predicted, "
        "and its 90 % range is wider than most gaps here.",
        origin="predicted",
    )


def _fit_cell(name: str, method: str, memory_gb: int) -> FitCell:
    from rtxbench.advice.memory.models import model_named
    from rtxbench.advice.memory.need import Need, Setup, fit_state, largest_batch, training_need

    model, memory_bytes = model_named(name), memory_gb * 2**30

    def need(batch: int) -> Need:
        return training_need(model, Setup(batch_size=batch, tokens=_FIT_TOKENS, method=method))

    state = fit_state(need(1).low_bytes, need(1).high_bytes, memory_bytes)
    return FitCell(state, largest_batch(lambda batch: need(batch).high_bytes, memory_bytes))


def _fit_figure() -> Figure:
    cells = tuple(tuple(_fit_cell(name, method, size) for size in _MEMORIES_GB) for name, method in _FIT_ROWS)
    labels = tuple(f"{name}, {method}" for name, method in _FIT_ROWS)
    return Figure(
        name="purchase-fit",
        build=partial(fit_matrix, labels, _MEMORIES_GB, cells),
        alt="Matrix of models and memory sizes: which fine-tuning fits, with the largest batch.",
        caption=f"What fits in one card's memory when training with Adam at {_FIT_TOKENS} tokens: computed from the "
        "models' dimensions (full: float32 master weights in mixed precision; lora and qlora recompute activations). "
        "Tight: the card's memory lies within the range of at most ±20 % around the computed need (Hugging Face "
        "Transformers; leaner frameworks need less).",
        origin="predicted",
    )


_COLUMNS: Final = (
    Column("Card"),
    Column("Throughput", numeric=True),
    Column("Launch price, USD", numeric=True),
    Column("Per 1,000 USD", numeric=True),
    Column("J each", numeric=True),
    Column("USD per million", numeric=True),
    Column("Why"),
)


def _table(workload: str, advice: Advice) -> Table:
    options = [o for o in advice.options if o.origin in ("published", "predicted")]
    return Table(
        caption=f"{_WORKLOADS[workload]}, {advice.unit} per second: {advice.basis_note}",
        columns=_COLUMNS,
        rows=tuple(_table_row(option) for option in options),
        folded=True,
    )


def _table_row(option: Option) -> tuple[Cell | str, ...]:
    interval = (
        f"{_short(option.low_per_s)} to {_short(option.high_per_s)}"
        if option.low_per_s is not None and option.high_per_s is not None
        else ""
    )
    value = None if option.throughput_per_price is None else 1000 * option.throughput_per_price
    return (
        option.name,
        Cell(_short(option.throughput_per_s), origin=option.origin or "predicted", note=interval),
        "" if option.price is None else format_count(option.price.amount),
        _short(value),
        _short(option.energy_per_example_j),
        _short(option.cost_per_million),
        "; ".join(option.why),
    )


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return format_number(value)

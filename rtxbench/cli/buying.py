"""``rtxbench advise``: which card to buy."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["advise"]

_Workload: TypeAlias = Annotated[
    str, typer.Option("--workload", "-w", help="What you train: resnet50, bert-base, bert-large, …")
]
_Model: TypeAlias = Annotated[
    str | None, typer.Option(help="A model that must fit: NAME or config.json, with :METHOD, as llama-3.1-8b:qlora.")
]
_Setup: TypeAlias = Annotated[
    str, typer.Option(help="How the memory model is trained: rank=64,checkpointing=off,framework=torchtune …")
]
_Rent: TypeAlias = Annotated[
    str, typer.Option(help="What renting costs an hour: 0.40, or of which card: 4090=0.40.", metavar="[CARD=]PRICE")
]
_Batch: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Batch size, of the memory model where one is given.")
]
_Devices: TypeAlias = Annotated[
    int | None, typer.Option("--devices", min=1, max=8, help="Most cards in one machine: 1, 2, 4 or 8.")
]
_Stack: TypeAlias = Annotated[str | None, typer.Option(help="Published software stack to stand on, or own.")]


_OwnModel: TypeAlias = Annotated[
    str | None, typer.Option("--model", metavar="FILE:FUNCTION", help="A model of your own: its kernels are compared.")
]


def advise(
    workload: _Workload = "",
    precision: Annotated[str, typer.Option(help="Precision you train in.")] = "mixed_float16",
    budget: Annotated[float | None, typer.Option(help="Most you would pay, in the prices' currency.")] = None,
    names: Annotated[str, typer.Option("--cards", help="Only these cards, separated by commas.")] = "",
    memory_model: _Model = None,
    model: _OwnModel = None,
    batch_size: _Batch = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Sequence length of the memory model.")] = None,
    optimizer: Annotated[str, typer.Option(help="Optimizer of the memory model.")] = "adam",
    setup: _Setup = "",
    prices: Annotated[Path | None, typer.Option(help="Your price file. Default: ./prices.toml.")] = None,
    results: Annotated[list[Path] | None, typer.Option(help="Results of your own machine. Default: results/")] = None,
    electricity: Annotated[float, typer.Option(help="Price of a kWh.")] = 0.30,
    hours: Annotated[float, typer.Option(help="Hours of training a day.")] = 4.0,
    years: Annotated[float, typer.Option(help="Years the card is used.")] = 3.0,
    resale: Annotated[float, typer.Option(help="Share of the price got back at the end, 0 to 1.")] = 0.3,
    host_watts: Annotated[float, typer.Option(help="Draw of the rest of the machine.")] = 100.0,
    rank_by: Annotated[str | None, typer.Option(help="throughput, value, cost, energy or price.")] = None,
    stack: _Stack = None,
    rent: _Rent = "",
    max_devices: _Devices = None,
    cards_file: Annotated[Path | None, typer.Option(help="A CSV file with cards of your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which card to buy: one sentence first, with what is measured, published and predicted kept apart."""
    import msgspec

    from rtxbench.advice.options import answer
    from rtxbench.advice.question import Question, rent_of, setup_of
    from rtxbench.advice.text import advice_json, advice_text

    cards = [name.strip() for name in names.split(",") if name.strip()]
    lives = {"electricity_per_kwh": electricity, "hours_per_day": hours, "years": years, "resale_ratio": resale}
    trained = {"workload": workload, "own_model": model, "precision": precision, "memory_model": memory_model}
    how = {"batch_size": batch_size, "tokens": tokens, "optimizer": optimizer, "setup": setup_of(setup)}
    where = {"stack": stack, "rank_by": rank_by, "rent": rent_of(rent), "max_devices": max_devices, "cards": cards}
    assumptions = {**lives, "host_w": host_watts}
    question = msgspec.convert({**trained, "budget": budget, **how, **where, "assumptions": assumptions}, Question)
    advice = answer(question, cards_file, prices, results)
    typer.echo(advice_json(advice) if as_json else advice_text(advice), nl=as_json)

"""Eight buyers ask: what ``rtxbench advise`` answers them, as a table of docs/purchase.md.

``python -m tools.buyers --write docs/purchase.md`` puts it there, between its two marks; a test holds it to that.
Without a price file: launch prices.
"""

import shlex
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from rtxbench.advice.options import advise
from rtxbench.advice.question import Question, setup_of
from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices
from rtxbench.catalog.published import curated

__all__ = ["BUYERS", "Buyer", "answers"]

_START: Final = "<!-- eight buyers: written by `python -m tools.buyers --write docs/purchase.md` -->"
_END: Final = "<!-- end of the eight buyers -->"


class Buyer(NamedTuple):
    """Somebody with a question."""

    wants: str
    command: str
    """Behind ``rtxbench advise``."""
    asked: dict[str, Any]


BUYERS: Final = (
    Buyer("7B with QLoRA, 1,200 USD", "--budget 1200 --memory-model llama-2-7b:qlora",
          {"budget": 1200.0, "memory_model": "llama-2-7b:qlora"}),
    Buyer("70B with QLoRA: who holds it?", "--memory-model llama-3-70b:qlora", {"memory_model": "llama-3-70b:qlora"}),
    Buyer("RTX 4080 or a used 3090 for 8B QLoRA", "--cards 4080,3090 --memory-model llama-3-8b:qlora --batch-size 4",
          {"cards": ("4080", "3090"), "memory_model": "llama-3-8b:qlora", "batch_size": 4}),
    Buyer("full fine-tune of 8B on one RTX 4090",
          "--cards 4090 --memory-model llama-3-8b:full-bf16 --batch-size 2 --tokens 2048 --optimizer adam-8bit-paged "
          "--setup framework=torchtune,backward=on",
          {"cards": ("4090",), "memory_model": "llama-3-8b:full-bf16", "batch_size": 2, "tokens": 2048,
           "optimizer": "adam-8bit-paged", "setup": setup_of("framework=torchtune,backward=on")}),
    Buyer("14B with QLoRA on 12 GB", "--cards '3060 12gb' --memory-model qwen2.5-14b:qlora --setup framework=unsloth",
          {"cards": ("3060 12gb",), "memory_model": "qwen2.5-14b:qlora", "setup": setup_of("framework=unsloth")}),
    Buyer("BERT-large, 900 USD", "-w bert-large --budget 900", {"workload": "bert-large", "budget": 900.0}),
    Buyer("RTX 6000 Ada or RTX PRO 6000 for ResNet-50", "-w resnet50 --cards '6000 ada,pro 6000 blackwell max-q'",
          {"workload": "resnet50", "cards": ("6000 ada", "pro 6000 blackwell max-q")}),
    Buyer("rent an RTX 4090 at 0.40 an hour, or buy?", "-w bert-base --cards 4090 --rent 4090=0.40",
          {"workload": "bert-base", "cards": ("4090",), "rent": ("4090", 0.40)}),
)  # fmt: skip


def answers() -> str:
    """The table: question, command, first sentence."""
    cards, rows = load_cards(), curated().kept
    prices = load_prices(None, cards)
    lines = ["| buyer | `rtxbench advise …` | answer |", "| --- | --- | --- |"]
    for buyer in BUYERS:
        shlex.split(buyer.command)  # a command that a shell would not take is no example
        question = msgspec.convert({"workload": "", **buyer.asked}, Question)
        advice = advise(question, cards, rows, prices)
        text = advice.answer
        if advice.rent_or_buy is not None and advice.rent_or_buy.hours is not None:
            rent = advice.rent_or_buy
            text += f" Buying costs less than renting after {rent.hours:,.0f} hours."
        lines.append(f"| {buyer.wants} | `{buyer.command}` | {text} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Print the table, or put it between the marks of the page behind ``--write``."""
    table = answers()
    if arguments[:1] != ["--write"]:
        sys.stdout.write(table + "\n")
        return
    page = Path(arguments[1])
    before, _, rest = page.read_text(encoding="utf-8").partition(_START)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_START}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

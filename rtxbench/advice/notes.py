"""The notes under an answer: what a figure does not say."""

import math
from collections.abc import Sequence

from rtxbench.advice.basis import Basis
from rtxbench.advice.prediction.forecast import DECODER_STACK, Forecaster
from rtxbench.advice.question import RANKINGS, Option, Question
from rtxbench.catalog.prices import PriceList
from rtxbench.wording import name_of

__all__ = ["notes"]

_NO_SPEED_NOTE = (
    "Nothing says how fast these cards are at the model that must fit: the speed shown is that of {workload}, which "
    "need not rank them alike."
)
_LEANER_NOTE = (
    "What does not fit may fit in a leaner setup: --setup framework=torchtune, a smaller --batch-size or --tokens, "
    "--optimizer adam-8bit-paged, another :METHOD."
)
_P2P_NOTE = (
    "GeForce RTX 40 cards have no NVLink and their driver allows no peer-to-peer copies: gradients pass through the "
    "host, and two cards do not pool their memory under data parallelism."
)
_SENSOR_NOTE = (
    "Joules per example at the vendor's board power, an upper bound. Board sensors are themselves off by up to 8 %, "
    "so a smaller difference is no evidence."
)


def notes(
    options: Sequence[Option], question: Question, basis: Basis | None, prices: PriceList, forecaster: Forecaster
) -> tuple[str, ...]:
    """Write what a reader of the table must know, a sentence or two each."""
    found = []
    if basis is not None and basis.case.stack == DECODER_STACK:
        found.append(_decoder_note(forecaster))
    elif question.memory_model is not None and basis is not None:
        found.append(_NO_SPEED_NOTE.format(workload=name_of(question.workload)))
    if any(option.memory is not None and option.memory.state == "no" for option in options):
        found.append(_LEANER_NOTE)
    found += [_SENSOR_NOTE] if any(option.energy_per_example_j is not None for option in options) else []
    if any(option.price is not None and option.price.is_launch_price for option in options):
        found.append("* Launch prices (MSRP), not today's: give yours with --prices prices.toml.")
    if any(option.devices > 1 for option in options):
        found.append(_P2P_NOTE)
    if any(option.origin == "predicted" for option in options):
        found.append(
            "Predicted figures carry a 90 % range whose coverage was checked on cards left out (docs/prediction.md)."
        )
    if prices.path is not None and prices.currency != "USD":
        found.append(f"Cards without a price in {prices.path} have none: launch prices are in USD.")
    if question.rank_by is None:
        found.append(f"Rank by something else with --rank-by {'|'.join(RANKINGS)}.")
    return tuple(found)


def _decoder_note(forecaster: Forecaster) -> str:
    level = forecaster.level
    return (
        "Fine-tuning speeds are predicted from the model's kernels. Use them to compare cards: two whose speeds differ "
        f"by less than ×{math.exp(level.pair_log_half_width):.1f} are not told apart, the most that the {level.pairs} "
        "published pairs of cards were off. The speed itself, and the cost that rests on it, depends on software and "
        f"settings and is known within ×÷{math.exp(level.log_half_width):.1f} only."
    )

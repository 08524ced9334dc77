"""The part of docs/prediction.md on language models: published fine-tuning speeds against the kernel law."""

import math

import numpy as np

from rtxbench.advice.prediction.decoder_speeds import SpeedCheck, fit_level, pair_checks, speed_checks
from rtxbench.advice.prediction.kernel_law import fit_constants
from rtxbench.advice.prediction.points import Points
from rtxbench.catalog.cards import load_cards
from tools.page_tables import table

__all__ = ["language_section"]


def language_section(points: Points) -> str:
    """Compare every published fine-tuning speed with the law, whose constants come from other models."""
    cards, constants = load_cards(), fit_constants(points)
    checks, level = speed_checks(constants, cards), fit_level(constants, cards)
    groups = sorted({_group(check) for check in checks})
    rows = [(*group, *_figures([check for check in checks if _group(check) == group])) for group in groups]
    pairs = [
        (
            f"{one.speed.publisher}, {one.speed.model} with {one.speed.setup.method}",
            f"{one.speed.card} ÷ {other.speed.card}",
            f"{one.speed.tokens_per_s / other.speed.tokens_per_s:.2f}",
            f"{one.speed.tokens_per_s / other.speed.tokens_per_s / math.exp(one.log_error - other.log_error):.2f}",
        )
        for one, other in pair_checks(checks)
    ]
    short = sum(not check.sets_the_level and check.speed.is_stated for check in checks)
    return f"""## Language models

Which card fine-tunes a language model faster is known within ×÷{math.exp(level.pair_log_half_width):.1f}, and how
fast within ×÷{math.exp(level.log_half_width):.1f}. The kernels of a decoder follow from its dimensions and the method
(`rtxbench.advice.prediction.decoders`; `python -m tools.decoder_recording` holds them to a recording of Transformers'
Llama with PEFT's LoRA). The law's constants are those below, fitted to vision models, BERT and other networks of before
2023: no decoder and no fine-tuning by adapters is in them. Against {len(checks)} published speeds of
{len({check.speed.card for check in checks})} cards:

{table(("publisher", "model", "method", "card", "figures", "published ÷ law, median", "lowest to highest"), rows)}

Steps of fewer than 1,024 tokens ({short} figures) wait for the host that launches their kernels and are up to four
times slower than the law: they set no level. The level is the mean of the publishers',
×{math.exp(level.log_factor):.2f} of the law; the stated range holds nine of ten of the {level.figures} figures by
the level of the other publishers. One publisher compiles and one does not, which alone is worth that much.

Cards against each other, on which one publisher ran one method; the worst of them is the range of every comparison:

{table(("source", "cards", "published ratio", "the law's"), pairs)}

The two cards of torchtune ran with and without recomputation, and on one the optimizer's state lay in the host's
memory; Exxact states neither batch nor length. Torchtune's 4,699 tokens a second on an RTX A6000 ask for 141 TFLOP/s
of products, 91 % of the paper rate, where measured ones reach 61 to 80 %: the figure stays, and the range has room
for it."""


def _group(check: SpeedCheck) -> tuple[str, str, str, str]:
    speed = check.speed
    return speed.publisher, speed.model, speed.setup.method, speed.card


def _figures(checks: list[SpeedCheck]) -> tuple[str, str, str]:
    ratios = [math.exp(check.log_error) for check in checks]
    return str(len(ratios)), f"{np.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"

"""The evaluation as a page: docs/prediction.md, written by ``python -m tools.prediction_page``."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rtxbench.advice.prediction.forecast import Forecaster, published_forecaster
from rtxbench.advice.prediction.held_out import held_out_errors, write_held_out
from rtxbench.advice.prediction.kernel_law import has_program
from rtxbench.advice.prediction.points import Labels, Points, training_points
from rtxbench.advice.prediction.ranges import LARGEST_SPREAD, anchor_counts
from rtxbench.advice.prediction.ratios import FAR, fit_pair_errors, fit_stack_ratios, stack_errors
from rtxbench.advice.prediction.scaling_laws import CHOSEN_METHODS, METHODS, leave_one_card_out
from rtxbench.catalog.cards import Card, load_cards
from rtxbench.catalog.published import FILTERS, curated, load_published
from rtxbench.units import format_percent
from tools.cross_validation import (
    CONTESTED,
    Folds,
    Score,
    class_transfer,
    memory_scaled_batches,
    model_folds,
    nested_card_folds,
    order_counts,
    pick_methods,
    score,
    several_checks,
)
from tools.kernel_page import kernel_section
from tools.language_page import language_section
from tools.memory_check import left_out_peak_checks
from tools.memory_page import memory_section
from tools.page_tables import cells, row, table
from tools.tail_page import tail_section

__all__ = ["main", "page"]


def page(points: Points, cards: Mapping[str, Card]) -> str:
    """The whole page, Markdown."""
    folds, models = nested_card_folds(points), model_folds(points)
    parts = (
        _head(points, folds, score(points, models)),
        language_section(points),
        _by_card(points, folds),
        _strata(points, folds, cards),
        tail_section(points, folds),
        _pairs(points, cards),
        _other_stacks(points),
        _several(cards),
        _by_model(points, models),
        _batches(points, folds, cards),
        _classes(points),
        _inference(cards),
        kernel_section(points),
        _methods(points),
        _data(),
        memory_section(),
    )
    return "\n\n".join(parts) + "\n"


def _head(points: Points, folds: Folds, models: Score) -> str:
    overall, refused = score(points, folds), _refused(folds)
    share = refused / (refused + overall.n)
    half, most = _above(overall.median_error_ratio), _above(overall.p90_error_ratio)
    return f"""# How far off the predictions are

*In three sentences: the speed of a card nobody measured is off by less than {half} in half of the cases and by less
than {most} in nine of ten, tried on cards the prediction had not seen. A model fits as computed in
{_memory_share()} of the published cases. Buy by these figures where two cards lie far apart; where their ranges
overlap, buy by price, memory and power.*

*This page is written by `python -m tools.prediction_page --write docs/prediction.md`; run it to check.*

{table(("you ask", "how far off the answer was", "where"), _answers(half, most))}

Where it fails: one table of 2020, small cards with small batches, and models that wait for the host
([the tail](#the-tail)). Laptops, precisions nobody published and architectures nobody published are refused.

| what was left out | figures | median error | 90th percentile | stated 90 % range covered |
|---|---|---|---|---|
{row("one card, everywhere (nested)", overall)}
{row("one model on one card", models)}

Refused, and not counted: {refused} of {refused + overall.n} ({share:.0%}), of models whose speed the paper figures do
not decide. The law: {_choices()}. Each model has a range of its own, wider in a stack whose figures are noisy, for one
card as anchor, and for anchors of other classes alone."""


def _answers(half: str, most: str) -> list[tuple[str, str, str]]:
    level = published_forecaster().level
    apart, speed = math.exp(level.pair_log_half_width), math.exp(level.log_half_width)
    language = "[language models](#language-models)"
    return [
        ("how fast is a card at a model that others published?", f"half within {half}, nine of ten within {most}",
         "[by card](#leave-one-card-out-nested)"),
        ("which of two cards is faster at it?", "told apart from ×1.4 on", "[pairs](#two-cards-against-each-other)"),
        ("which card fine-tunes a language model faster?", f"told apart from ×{apart:.1f} on", language),
        ("how many tokens a second?", f"within ×÷{speed:.1f}", language),
        ("does the model fit?", f"{_memory_share()} of published peaks inside the range of at most ±20 %",
         "[memory](#memory-does-it-fit)"),
    ]  # fmt: skip


def _memory_share() -> str:
    checks = left_out_peak_checks()
    return format_percent(sum(check.inside for check in checks) / len(checks), 0)


def _choices() -> str:
    words = []
    for name, settings in CHOSEN_METHODS:
        values = "".join(f"; {key.replace('_', ' ')} {value:g}" for key, value in settings.items())
        words.append(f"**{name}** ({METHODS[name].belief}{values})")
    return ", and where it is silent ".join(words)


def _above(error_ratio: float) -> str:
    """The next whole percentage above an error: ``9 %`` for 8.8 %."""
    return f"{math.ceil(100 * error_ratio)} %"


def _data() -> str:
    every, (kept, dropped) = load_published(), curated()
    counts = {name: sum(by == name for by, _ in dropped) for name, _, _ in FILTERS}
    return f"""## The data

{len(every):,} public measurements, {len(kept):,} kept. Each keeps its source, path, licence note, date, framework and
the precision that really ran (NGC's "fp32" on Ampere is TF32). Filters are a literal table; list what they drop with
`python -m rtxbench.catalog.published --list`.

{table(("filter", "rows", "reason"), ((n, str(counts[n]), reason) for n, _, reason in FILTERS))}

Predictions use the training rows of catalogued cards on one device, one batch size a card (the largest published).
A case found on one card alone says nothing of how cards differ and is left out."""


def _methods(points: Points) -> str:
    def best(name: str) -> tuple[float, float]:
        """Return the median and the 90th percentile of the method's error, in the settings with the least median."""
        errors = [
            np.abs(np.expm1(leave_one_card_out(points, name, settings) - points.log_throughput))
            for settings in METHODS[name].grid
        ]
        medians = [float(np.nanmedian(error)) for error in errors]
        chosen = errors[int(np.argmin(medians))]
        return min(medians), float(np.nanquantile(chosen, 0.9))

    rows = []
    for name, method in METHODS.items():
        median, p90 = best(name)
        rows.append((name, method.belief, f"{median:.1%}", f"{p90:.1%}"))
    name = " and ".join(choice[0] for choice in pick_methods(points).choices)
    return f"""## Candidates

Leave-one-card-out with each method's best settings. These errors choose the method (**{name}**) and are therefore
slightly flattering; the next table is nested and is not.

{table(("method", "belief", "median error", "90th percentile"), rows)}

Published batches are the largest that fit the card, so a small card is starved by its batch as well as slow. Laws
that ignore the batch charge the card's memory to its arithmetic."""


def _by_card(points: Points, folds: Folds) -> str:
    rows = []
    for card in np.unique(points.card):
        chosen = points.card == card
        if (chosen & ~np.isnan(folds.log_predicted)).any():
            rows.append((str(card), folds.picked[str(card)], *cells(score(points, folds, chosen))))
    for name in np.unique(points.card_class):
        chosen = points.card_class == name
        if (chosen & ~np.isnan(folds.log_predicted)).any():
            rows.append((f"**all {name}**", "", *cells(score(points, folds, chosen))))
    contested = f"{sum(CONTESTED in words for words in folds.picked.values())} of {len(folds.picked)}"
    header = ("held-out card", "picked without it", "figures", "median error", "90th percentile", "covered")
    return f"""## Leave one card out, nested

Every row of the card leaves every stack; the law of the whole model, its settings and the range are picked among the
others. That the kernel law comes first was decided on all figures, not fold by fold: it alone crosses classes. In
{contested} folds the other cards alone have a smaller median by the law of the whole model where both speak.

{table(header, rows)}

Coverage is a property of the whole, not of a card: a card's figures share their error. Ada is checked on a GeForce
and a workstation card, Blackwell on one GeForce (RTX 5090), Turing on one workstation card. RTX PRO and RTX 20 are
predicted by the kernel law alone, which crosses classes: no card of their own class and architecture was there to
check on. Refused, and not counted above: {_refused(folds)} figures of models on which the law was off by more than
{LARGEST_SPREAD:.0%} (root mean square) on the other cards."""


def _refused(folds: Folds) -> int:
    return 0 if folds.refused is None else int(folds.refused.sum())


def _strata(points: Points, folds: Folds, cards: Mapping[str, Card]) -> str:
    anchors = anchor_counts(points)
    columns = {
        "class": points.card_class,
        "architecture": np.array([cards[str(card)].architecture for card in points.card]),
        "memory": np.array([f"{cards[str(card)].memory_bytes / 2**30:.0f} GB" for card in points.card]),
        "anchors": np.where(anchors > 3, "four or more", np.where(anchors > 1, "two or three", "one")),
        "anchored by": _anchor_classes(points),
        "law": np.where([has_program(str(model)) for model in points.model], "kernels", "whole model"),
        "stack": points.stack,
    }
    rows = []
    for what, values in columns.items():
        for value in np.unique(values):
            chosen = values == value
            if (chosen & ~np.isnan(folds.log_predicted)).any():
                rows.append((what, str(value), *cells(score(points, folds, chosen))))
    outside = [f"{row[1]} ({row[5]})" for row in rows if int(row[2]) >= 20 and not 85 <= float(row[5][:-1]) <= 95]
    return f"""### The same figures by stratum

{table(("by", "", "figures", "median error", "90th percentile", "covered"), rows)}

Of the strata of 20 figures or more these are covered outside 85 to 95 %: {", ".join(outside) or "none"}. The 40 GB, the
anchors of other classes alone and TensorFlow are one card, the A100 PCIe 40GB: in two old tables it is the only one of
its class, and is off there by half and more on AlexNet and VGG-16 of a TensorFlow of 2020 and on Transformer-XL. The
10 GB are one card too, and the ranges of the 80 GB cards are wider than they need be."""


def _anchor_classes(points: Points) -> Labels:
    """For each point (n) whether a card of its own class, of others, or of both could anchor it."""
    words = []
    for card, group, case in zip(points.card, points.group, points.case, strict=True):
        own = ((points.group == group) & (points.card != card)).any()
        other = ((points.case == case) & (points.group != group)).any()
        words.append("both classes" if own and other else "its own class alone" if own else "other classes alone")
    return np.array(words, dtype=np.str_)


def _pairs(points: Points, cards: Mapping[str, Card]) -> str:
    errors, ranges = held_out_errors(points)[2], Forecaster(curated().kept, cards).ranges
    widths, rows = fit_pair_errors(errors, ranges.spread), []
    for words, factor, near in (("closer than ×1.42", widths.near, True), ("farther apart", widths.far, False)):
        part = [e for e in errors if (abs(e.log_ratio) < FAR) == near]
        off = np.abs(np.expm1([e.log_error for e in part]))
        stated = np.exp(np.median([factor * ranges.spread(e.model) for e in part]))
        rows.append((words, str(len(part)), f"{np.median(off):.1%}", f"{np.quantile(off, 0.9):.1%}", f"×÷{stated:.2f}"))
    undecided, right = order_counts(errors, widths, ranges.spread)
    return f"""## Two cards against each other

The ratio of two predictions does not depend on their common anchors. Checked on pairs of published cards of which the
law had seen neither:

{table(("the law puts them", "ratios", "median error", "90th percentile", "stated range, median"), rows)}

Of {undecided} ratios whose range holds 1, the order was right in {right / undecided:.0%}."""


def _several(cards: Mapping[str, Card]) -> str:
    checks = several_checks(curated().kept, cards)
    rows = []
    for name, count in sorted({(check.card_class, check.cards) for check in checks}):
        here = [check for check in checks if (check.card_class, check.cards) == (name, count)]
        errors = [check.error_ratio for check in here]
        inside = sum(check.inside for check in here) / len(here)
        figures = (f"{np.median(errors):.1%}", f"{np.quantile(errors, 0.9):.1%}", f"{inside:.0%}")
        rows.append((name, str(count), str(len(here)), *figures))
    return f"""## Several cards

What several cards keep of that many times one, predicted from the published pairs of other cards of the class; four and
eight follow from the pair by the traffic of a ring:

{table(("class", "cards", "figures", "median error", "90th percentile", "covered"), rows)}

Machines of four and eight are of RTX 6000 Ada and A100 SXM4; none of GeForce, of which eight are refused."""


def _other_stacks(points: Points) -> str:
    errors, names = stack_errors(points)
    relative = np.abs(np.expm1(errors))
    width = fit_stack_ratios(points).log_half_width
    return f"""## A publisher's ratios in another stack

The same publisher ran some cards through two stacks: the ratio of two cards in the one, times the second card's figure
in the other. On the {len(errors)} figures that can be left out ({", ".join(np.unique(names))}; across classes too) the
median error is {np.median(relative):.1%} and the 90th percentile {np.quantile(relative, 0.9):.1%}; the stated range is
×÷{np.exp(width):.2f}. Where there is such a ratio it comes before the law."""


def _by_model(points: Points, folds: Folds) -> str:
    rows = [
        (str(model), *cells(score(points, folds, points.model == model)))
        for model in np.unique(points.model)
        if ((points.model == model) & ~np.isnan(folds.log_predicted)).any()
    ]
    return f"""## Leave one card and one model out

The laws are fitted without the card and without the model, as for a model that nobody published; its other cards are
the anchors, and the range is that of the other models.

{table(("held-out model", "figures", "median error", "90th percentile", "covered"), rows)}

Models covered far below 90 % are those whose speed the card's paper figures do not decide, or whose published runs
disagree among themselves; above, with figures of their own, they have ranges of their own."""


def _batches(points: Points, folds: Folds, cards: Mapping[str, Card]) -> str:
    scaled = memory_scaled_batches(points, cards, folds.log_half_width)
    return f"""## When the batch is not known either

Above, the held-out card's published batch is given. For a card nobody measured it is the one that fills its memory as
the anchors' fill theirs (in proportion to memory where the model's need is not known), as `rtxbench advise` does:

| batch | figures | median error | 90th percentile | covered |
|---|---|---|---|---|
{row("that fits", score(points, scaled))}"""


def _classes(points: Points) -> str:
    rows = sorted(class_transfer(points), key=lambda t: (t.from_class, t.to_class, t.card, t.stack))
    cells = [
        (t.from_class, t.card, t.stack, f"{t.median_error_ratio:.0%}", f"{t.median_bias_ratio:.2f}×") for t in rows
    ]
    return f"""## Why a law of the whole model does not cross classes

The whole-model law with anchors of another card class, same stack. Where no kernels of a model are known it is refused:

{table(("anchors", "card", "stack", "median error", "predicted ÷ published"), cells)}

Absolute figures of two stacks are never mixed: the same card gains 1.67× (median) from torch.compile, and up to half
from three years of PyTorch releases."""


def _inference(cards: Mapping[str, Card]) -> str:
    speeds: dict[str, dict[str, float]] = {}
    for figure in curated().kept:
        if figure.stack == "pytorch-2.4-eager" and figure.task == "infer":
            speeds.setdefault(figure.model, {})[figure.card] = figure.value
    old, new = cards["GeForce RTX 3090"], cards["GeForce RTX 4090"]
    ratios = np.array([s[new.name] / s[old.name] for s in speeds.values() if old.name in s and new.name in s])
    low, median, high = np.quantile(ratios, [0.05, 0.5, 0.95])
    law = (new.fp32_flop_per_s / old.fp32_flop_per_s) ** CHOSEN_METHODS[-1][1]["compute_exponent"] * (
        new.memory_bandwidth_bytes_per_s / old.memory_bandwidth_bytes_per_s
    ) ** (1 - CHOSEN_METHODS[-1][1]["compute_exponent"])
    return f"""## Inference is another matter

The largest public comparison of two cards is of inference: {len(ratios):,} models, RTX 4090 ÷ RTX 3090, same stack and
batch. Median {median:.2f}× (5th to 95th percentile {low:.2f} to {high:.2f}), where the peak FLOP/s say
{new.fp32_flop_per_s / old.fp32_flop_per_s:.2f}× and the law chosen for training {law:.2f}×. `rtxbench advise` therefore
speaks of training only."""


def main(arguments: list[str]) -> None:
    """Print the evaluation as the page docs/prediction.md, or write it with ``--write PATH``.

    ``--errors`` writes what the ranges rest on instead: ``rtxbench/catalog/held_out.csv``.
    """
    cards = load_cards()
    points = training_points(curated().kept, cards)
    if arguments[:1] == ["--errors"]:
        with Path("rtxbench/catalog/held_out.csv").open("w", encoding="utf-8") as stream:
            write_held_out(points, stream)
        return
    text = page(points, cards)
    if arguments[:1] == ["--write"]:
        Path(arguments[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The evaluation as a page: docs/prediction.md, written by ``python -m tools.prediction_page``."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rtxbench.advice.prediction.forecast import Forecaster
from rtxbench.advice.prediction.ranges import LARGEST_SPREAD, anchor_counts
from rtxbench.advice.prediction.ratios import FAR, fit_pair_errors, fit_stack_ratios, pair_errors, stack_errors
from rtxbench.advice.prediction.scaling_laws import (
    CHOSEN_METHOD,
    METHODS,
    Floats,
    Points,
    leave_one_card_out,
    training_points,
)
from rtxbench.catalog.cards import Card, load_cards
from rtxbench.catalog.published import FILTERS, curated, load_published
from tools.cross_validation import (
    Folds,
    Score,
    class_transfer,
    memory_scaled_batches,
    nested_card_folds,
    nested_model_folds,
    order_counts,
    pair_efficiency_checks,
    pick_method,
    score,
)
from tools.memory_check import (
    compiled_checks,
    left_out_peak_checks,
    plan_checks,
    published_batch_checks,
    published_peak_checks,
)
from tools.sibling_models import CHOSEN_CORRECTION, SIBLING_CORRECTIONS, leave_one_model_out

__all__ = ["main", "page"]


def page(points: Points, cards: Mapping[str, Card]) -> str:
    """The whole page, Markdown."""
    folds, by_model = nested_card_folds(points), leave_one_model_out(points, *CHOSEN_METHOD)
    model_folds = nested_model_folds(points, by_model)
    parts = (
        _head(score(points, folds), score(points, model_folds)),
        _data(),
        _methods(points),
        _by_card(points, folds),
        _strata(points, folds, cards),
        _pairs(points, cards),
        _other_stacks(points),
        _several(cards),
        _by_model(points, by_model, model_folds),
        _batches(points, folds, cards),
        _classes(points),
        _inference(cards),
        _memory(),
    )
    return "\n\n".join(parts) + "\n"


def _head(overall: Score, models: Score) -> str:
    name, settings = CHOSEN_METHOD
    values = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in settings.items())
    half, most = _above(overall.median_error_ratio), _above(overall.p90_error_ratio)
    return f"""# How far off the predictions are

*In three sentences: for a card that nobody measured, training speed is predicted from its arithmetic rate and its
memory bandwidth. Tried on cards and models it had not seen, the prediction was off by less than {half} in half of
the cases and by less than {most} in nine of ten. Use it to rank cards that lie far apart; two cards whose ranges
overlap cannot be told apart by it.*

*This page is written by `python -m tools.prediction_page --write docs/prediction.md`; run it to check.*

`rtxbench advise` predicts the training throughput of cards nobody measured in a software stack. The method was
picked by cross-validation over public measurements, and its error is stated on figures it had not seen:

| what was left out | figures | median error | 90th percentile | stated 90 % range covered |
|---|---|---|---|---|
{_row("one card, everywhere (nested)", overall)}
{_row("one model on one card", models)}

Chosen: **{name}** ({values}): {METHODS[name].belief}.
Pairs of cards are judged by the range of their ratio, below.
The range is wide because a tenth of the published figures lie that far off, not because most do; each model has a range
of its own, and one for predictions from a single card."""


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

{_table(("filter", "rows", "reason"), ((n, str(counts[n]), reason) for n, _, reason in FILTERS))}

Predictions use the training rows of catalogued cards on one device, one batch size a card (the largest published).
A case found on one card alone says nothing of how cards differ and is left out."""


def _methods(points: Points) -> str:
    def best(name: str) -> tuple[float, float]:
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
    name, _ = pick_method(points)
    return f"""## Candidates

Leave-one-card-out with each method's best settings. These errors choose the method (**{name}**) and are therefore
slightly flattering; the next table is nested and is not.

{_table(("method", "belief", "median error", "90th percentile"), rows)}

Published batches are the largest that fit the card, so a small card is starved by its batch as well as slow. Laws
that ignore the batch charge the card's memory to its arithmetic."""


def _by_card(points: Points, folds: Folds) -> str:
    rows = []
    for card in np.unique(points.card):
        chosen = points.card == card
        if (chosen & ~np.isnan(folds.log_predicted)).any():
            rows.append((str(card), folds.picked[str(card)], *_cells(score(points, folds, chosen))))
    for name in np.unique(points.card_class):
        chosen = points.card_class == name
        if (chosen & ~np.isnan(folds.log_predicted)).any():
            rows.append((f"**all {name}**", "", *_cells(score(points, folds, chosen))))
    header = ("held-out card", "picked without it", "figures", "median error", "90th percentile", "covered")
    return f"""## Leave one card out, nested

Every row of the card leaves every stack; method, settings and range are picked among the others.

{_table(header, rows)}

Coverage is a property of the whole, not of a card: a card's figures share their error. Ada is checked on one GeForce
(RTX 4090), Blackwell on one (RTX 5090), Ampere on three; no Ada or Blackwell workstation card was there to check on:
those are refused. Refused as well, and not counted above: {_refused(folds)}
figures of models on which the law was off by more than {LARGEST_SPREAD:.0%} (root mean square) on the other cards."""


def _refused(folds: Folds) -> int:
    return 0 if folds.refused is None else int(folds.refused.sum())


def _strata(points: Points, folds: Folds, cards: Mapping[str, Card]) -> str:
    anchors = anchor_counts(points)
    columns = {
        "class": points.card_class,
        "architecture": np.array([cards[str(card)].architecture for card in points.card]),
        "memory": np.array([f"{cards[str(card)].memory_bytes / 2**30:.0f} GB" for card in points.card]),
        "anchors": np.where(anchors > 1, "two or more", "one"),
        "stack": points.stack,
    }
    rows = []
    for what, values in columns.items():
        for value in np.unique(values):
            chosen = values == value
            if (chosen & ~np.isnan(folds.log_predicted)).any():
                rows.append((what, str(value), *_cells(score(points, folds, chosen))))
    return f"""### The same figures by stratum

{_table(("by", "", "figures", "median error", "90th percentile", "covered"), rows)}"""


def _pairs(points: Points, cards: Mapping[str, Card]) -> str:
    errors, ranges = pair_errors(points, *CHOSEN_METHOD), Forecaster(curated().kept, cards).ranges
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

{_table(("the law puts them", "ratios", "median error", "90th percentile", "stated range, median"), rows)}

Of {undecided} ratios whose range holds 1, the order was right in {right / undecided:.0%}."""


def _several(cards: Mapping[str, Card]) -> str:
    checks = pair_efficiency_checks(curated().kept, cards)
    rows = []
    for name in sorted({check.card_class for check in checks}):
        here = [check for check in checks if check.card_class == name]
        errors = [check.error_ratio for check in here]
        inside = sum(check.inside for check in here) / len(here)
        row = (f"{np.median(errors):.1%}", f"{np.quantile(errors, 0.9):.1%}", f"{inside:.0%}")
        rows.append((name, str(len(here)), *row))
    return f"""## Several cards

What two cards keep of twice one, predicted from the pairs of other cards of the class:

{_table(("class", "pairs", "median error", "90th percentile", "covered"), rows)}

Four and eight follow from the pair by the traffic of a ring; one published machine of four checks it (RTX PRO 4500,
LoRA: 96 % of four times one) and none of eight. Eight GeForce cards are refused."""


def _other_stacks(points: Points) -> str:
    errors, names = stack_errors(points)
    relative = np.abs(np.expm1(errors))
    width = fit_stack_ratios(points).log_half_width
    return f"""## A publisher's ratios in another stack

The same publisher ran some cards through two stacks: the ratio of two cards in the one, times the second card's figure
in the other. On the {len(errors)} figures that can be left out ({", ".join(np.unique(names))}; across classes too) the
median error is {np.median(relative):.1%} and the 90th percentile {np.quantile(relative, 0.9):.1%}; the stated range is
×÷{np.exp(width):.2f}. Where there is such a ratio it comes before the law."""


def _by_model(points: Points, predictions: Mapping[str, Floats], folds: Folds) -> str:
    rows = []
    for name, rule in SIBLING_CORRECTIONS.items():
        error = np.abs(np.expm1(predictions[name] - points.log_throughput))
        rows.append((name, rule.belief, f"{np.nanmedian(error):.1%}", f"{np.nanquantile(error, 0.9):.1%}"))
    worst = [
        (str(model), *_cells(score(points, folds, points.model == model)))
        for model in np.unique(points.model)
        if ((points.model == model) & ~np.isnan(folds.log_predicted)).any()
    ]
    return f"""## Leave one model out

A model not published on a card whose other models are. Does knowing those help? Chosen: **{CHOSEN_CORRECTION}**.

{_table(("correction", "belief", "median error", "90th percentile"), rows)}

{_table(("held-out model", "figures", "median error", "90th percentile", "covered"), worst)}

Models covered far below 90 % are those whose speed the card's paper figures do not decide, or whose published runs
disagree among themselves."""


def _batches(points: Points, folds: Folds, cards: Mapping[str, Card]) -> str:
    scaled = memory_scaled_batches(points, cards, folds.log_half_width)
    return f"""## When the batch is not known either

Above, the held-out card's published batch is given. For a card nobody measured it is the one that fills its memory as
the anchors' fill theirs (in proportion to memory where the model's need is not known), as `rtxbench advise` does:

| batch | figures | median error | 90th percentile | covered |
|---|---|---|---|---|
{_row("that fits", score(points, scaled))}"""


def _classes(points: Points) -> str:
    rows = sorted(class_transfer(points), key=lambda t: (t.from_class, t.to_class, t.card, t.stack))
    cells = [
        (t.from_class, t.card, t.stack, f"{t.median_error_ratio:.0%}", f"{t.median_bias_ratio:.2f}×") for t in rows
    ]
    return f"""## Why classes are not mixed

The same method with anchors of another card class, same stack. This is refused:

{_table(("anchors", "card", "stack", "median error", "predicted ÷ published"), cells)}

Absolute figures of two stacks are never mixed: the same card gains 1.67× (median) from torch.compile, and up to half
from three years of PyTorch releases."""


def _inference(cards: Mapping[str, Card]) -> str:
    speeds: dict[str, dict[str, float]] = {}
    for row in curated().kept:
        if row.stack == "pytorch-2.4-eager" and row.task == "infer":
            speeds.setdefault(row.model, {})[row.card] = row.value
    old, new = cards["GeForce RTX 3090"], cards["GeForce RTX 4090"]
    ratios = np.array([s[new.name] / s[old.name] for s in speeds.values() if old.name in s and new.name in s])
    low, median, high = np.quantile(ratios, [0.05, 0.5, 0.95])
    law = (new.fp32_flop_per_s / old.fp32_flop_per_s) ** CHOSEN_METHOD[1]["compute_exponent"] * (
        new.memory_bandwidth_bytes_per_s / old.memory_bandwidth_bytes_per_s
    ) ** (1 - CHOSEN_METHOD[1]["compute_exponent"])
    return f"""## Inference is another matter

The largest public comparison of two cards is of inference: {len(ratios):,} models, RTX 4090 ÷ RTX 3090, same stack and
batch. Median {median:.2f}× (5th to 95th percentile {low:.2f} to {high:.2f}), where the peak FLOP/s say
{new.fp32_flop_per_s / old.fp32_flop_per_s:.2f}× and the law chosen for training {law:.2f}×. `rtxbench advise` therefore
speaks of training only."""


def _memory() -> str:
    batch_checks = list(published_batch_checks())
    batches = [
        (c.what, str(c.published_batch), f"{c.smallest_largest} to {c.largest_largest}", "yes" if c.inside else "no")
        for c in batch_checks
    ]
    checks = list(compiled_checks())
    lines = [
        (c.workload, c.precision, str(c.batch_size), _mib(c.peak_bytes), f"{c.error_ratio:+.1%}", c.how) for c in checks
    ]
    errors = [abs(check.error_ratio) for check in checks]
    between = [abs(check.error_ratio) for check in checks if check.how.startswith("between")]
    inside = sum(check.inside for check in batch_checks)
    plans = [(c.what, _mib(c.plan_bytes), _mib(c.low_bytes), _mib(c.high_bytes)) for c in plan_checks()]
    within = sum(error <= 0.10 for error in errors)
    return f"""## Memory: does it fit?

Computed from dimensions (weights, gradients, optimizer slots, activations and logits, and what framework and libraries
add), as a range of at most ±20 % around the sum.

{_peaks()}

Against the batches people published per card (PyTorch; BERT at 384 tokens), which are about the largest that fit; the
computed largest batch is a range, and the published one should lie in it. Only ResNet-50 on 24 and 40 GB was used to
set the model. {inside} of {len(batches)} lie inside:

{_table(("case", "published batch", "computed largest", "inside"), batches)}

For the suite's own workloads, the line through the peaks an engine reported at two batch sizes, checked on a third
between them or beyond. JAX reports the compiler's plan; these are of a CPU, in float32 and bfloat16
(`KERAS_BACKEND=jax python -m tools.memory_survey`). {within} of {len(lines)} within 10 %, of
those between {sum(error <= 0.10 for error in between)} of {len(between)}; median {np.median(errors):.1%}:

{_table(("workload", "precision", "held-out batch", "peak, MiB", "error", "how"), lines)}

A compiler's plan for a CPU is no forecast of a GPU's peak: XLA's CPU back end keeps float32 copies and unfused
temporaries that a GPU's libraries do not. Where a model's dimensions are known `rtxbench advise` therefore uses the
computed range, your own measured peaks before it, and the CPU's plan only for the workloads that have neither. MiB:

{_table(("case", "XLA's plan for a CPU", "computed for a GPU, lower end", "upper end"), plans)}"""


def _peaks() -> str:
    checks, left_out = published_peak_checks(), left_out_peak_checks()
    kinds = sorted({(c.peak.setup.framework, c.peak.setup.method) for c in checks})
    rows = []
    for framework, method in [*kinds, ("all", "")]:
        here, apart = (
            [
                c
                for c in part
                if framework == "all" or (c.peak.setup.framework, c.peak.setup.method) == (framework, method)
            ]
            for part in (checks, left_out)
        )
        errors = [abs(c.error_ratio) for c in here]
        covered = f"{sum(c.inside for c in apart) / len(apart):.0%}"
        rows.append(
            (framework, method, str(len(here)), f"{np.median(errors):.1%}", f"{np.quantile(errors, 0.9):.1%}",
             f"{sum(c.inside for c in here) / len(here):.0%}", covered)
        )  # fmt: skip
    every = [
        (
            f"{c.peak.model}, {c.peak.setup.method}, {c.peak.setup.framework}, batch {c.peak.setup.batch_size}, "
            f"{c.peak.setup.tokens} tokens{'' if c.peak.setup.checkpointing else ', nothing recomputed'}",
            f"{c.peak.peak_bytes / 2**30:.1f}",
            f"{c.low_bytes / 2**30:.1f} to {c.high_bytes / 2**30:.1f}",
            "" if c.inside else "outside",
            c.peak.source.split(" (")[0],
        )
        for c in checks
    ]
    return f"""Against {len(checks)} peaks that others measured on GPUs. Four constants of each framework were chosen on
these peaks (`rtxbench.advice.memory.practice`); the last column chooses them without the model that is then predicted:

{_table(("framework", "method", "peaks", "median error", "90th percentile", "inside", "inside, model left out"), rows)}

Every peak, GiB; where the publisher read the framework's allocator, the driver's context is left out of the range:

{_table(("case", "published", "computed", "", "source"), every)}"""


def _mib(value_bytes: float) -> str:
    return f"{value_bytes / 2**20:,.0f}"


def _row(label: str, scored: Score) -> str:
    return "| " + " | ".join((label, *_cells(scored))) + " |"


def _cells(scored: Score) -> tuple[str, ...]:
    covered = "" if scored.coverage_ratio is None else f"{scored.coverage_ratio:.1%}"
    return str(scored.n), f"{scored.median_error_ratio:.1%}", f"{scored.p90_error_ratio:.1%}", covered


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str]) -> None:
    """Print the evaluation as the page docs/prediction.md, or write it with ``--write PATH``."""
    cards = load_cards()
    text = page(training_points(curated().kept, cards), cards)
    if arguments[:1] == ["--write"]:
        Path(arguments[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])

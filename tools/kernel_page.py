"""The part of docs/prediction.md on the kernel law: against laws of the whole model, within and across card classes."""

from collections.abc import Callable

import numpy as np

from rtxbench.advice.prediction.kernel_law import PRIOR, fit_constants, has_program
from rtxbench.advice.prediction.points import Floats, Labels, Masks, Points
from rtxbench.advice.prediction.scaling_laws import METHODS, Choice
from tools.page_tables import table

__all__ = ["kernel_section", "single_anchor_errors"]

_LAWS: tuple[tuple[str, Choice], ...] = (
    ("√(FLOP/s × bandwidth)", ("geometric-mean", {})),
    ("FLOP/s^0.6 × bandwidth^0.4, batch", ("batch-saturation", {"compute_exponent": 0.6, "ridge": 0.001})),
    ("kernels, without the power limit", ("kernel-roofline", {"power": 0.0})),
    ("kernels, convolutions like other products", ("kernel-roofline", {"convolutions": 0.0})),
    ("**kernels**", ("kernel-roofline", {})),
)


def single_anchor_errors(points: Points, choice: Choice, *, without_model: bool = False) -> tuple[Floats, Labels]:
    """Log errors (m) of every card predicted from every other alone, by a law that has not seen it.

    Args:
        points: published figures.
        choice: method and settings.
        without_model: the law has not seen the model either.

    Returns:
        The errors, and (m, 2) the class of the anchor and of the card.
    """
    errors, classes = [], []
    for card in np.unique(points.card):
        models: list[str | None] = [*np.unique(points.model[points.card == card])] if without_model else [None]
        for model in models:
            out = (points.card == card) & (True if model is None else points.model == model)
            unseen = points.card != card if model is None else (points.card != card) & (points.model != model)
            law = METHODS[choice[0]].fit(points.take(unseen), choice[1])(points)
            for target in np.flatnonzero(out):
                anchors = np.flatnonzero((points.case == points.case[target]) & (points.card != card))
                rest = points.log_throughput[anchors] - law[anchors]
                errors += list(rest + law[target] - points.log_throughput[target])
                classes += [(points.card_class[a], points.card_class[target]) for a in anchors]
    return np.array(errors), np.array(classes, dtype=np.str_).reshape(-1, 2)


_COLUMNS: tuple[tuple[str, Callable[[Labels, Labels], Masks]], ...] = (
    ("all", lambda one, other: np.full(len(one), True)),
    ("within a class", lambda one, other: one == other),
    ("GeForce and workstation", lambda one, other: (one != other) & (one != "datacenter") & (other != "datacenter")),
    ("datacenter and others", lambda one, other: (one != other) & ((one == "datacenter") | (other == "datacenter"))),
)


def kernel_section(points: Points) -> str:
    """What the law is, its constants, and the table of laws on the same held-out figures."""
    known = points.take(np.array([has_program(str(model)) for model in points.model]))
    rows = [_line(words, known, choice, without_model=False) for words, choice in _LAWS]
    rows.append(_line("kernels, model left out too", known, _LAWS[-1][1], without_model=True))
    constants = fit_constants(known)
    fitted = ", ".join(
        f"{name.removeprefix('log_').replace('_', ' ')} {np.exp(value) if name.startswith('log_') else value:.2g}"
        for name, value in constants._asdict().items()
    )
    count = len(np.unique(known.model))
    return f"""## A roofline per kernel

The step of each of {count} published models was recorded operation by operation, with FLOPs and bytes, without a card
(`python -m tools.published_programs`; tables in `rtxbench/catalog/programs.csv`). A card's time is the sum over kernels
of max(FLOP ÷ rate, byte ÷ bandwidth) and a launch. {len(PRIOR)} constants are the same for every card, stack and model,
fitted to published ratios of cards: {fitted}.
Two of them tell cards apart that look alike on paper: a bandwidth that too few multiprocessors cannot ask for, and a
clock that the power limit does not allow. The law without the latter was fitted before the figures of RTX 6000 Ada and
A10 were looked at; on these two cards of little power it was 15 to 20 % too fast on all models alike, which is why the
power limit was added.

Every card predicted from every other one alone (median / 90th percentile of the error in %, in brackets how many), law
fitted without the card:

{table(("law", *(name for name, _ in _COLUMNS)), rows)}"""


def _line(words: str, points: Points, choice: Choice, *, without_model: bool) -> tuple[str, ...]:
    errors, classes = single_anchor_errors(points, choice, without_model=without_model)
    cells = []
    for _, chosen in _COLUMNS:
        off = np.abs(np.expm1(errors[chosen(classes[:, 0], classes[:, 1])])) * 100
        cells.append(f"{np.median(off):.1f} / {np.quantile(off, 0.9):.0f} ({len(off)})")
    return (words, *cells)

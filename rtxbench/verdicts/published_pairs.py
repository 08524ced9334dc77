"""Published throughput of one card against another, over every model published for both in one software stack."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rtxbench.catalog.cards import find_card, load_cards
from rtxbench.catalog.published import Published, curated
from rtxbench.units import format_ratio
from rtxbench.verdicts.claims import Elsewhere
from rtxbench.wording import name_of, say_stack

__all__ = ["PublishedPair", "published_pairs"]


class PublishedPair(NamedTuple):
    """Geometric mean and range of candidate ÷ baseline over the cases published for both cards."""

    text: str
    value: float
    low: float
    high: float
    figure_count: int
    """Figures it stands on."""
    sources: tuple[str, ...]
    """Paths of the published files."""


def published_pairs(wanted: Elsewhere) -> list[PublishedPair]:
    """Compare each pair of cards that the claim names; pairs without a shared case are left out.

    Raises:
        UsageError: a card does not exist.
    """
    rows = [
        row
        for row in curated().kept
        if row.task == "train" and row.model in wanted.models and row.precision == wanted.precision
    ]
    pairs = [[find_card(name, load_cards()).name for name in pair] for pair in wanted.compare]
    found = [_pair(candidate, baseline, rows) for candidate, baseline in pairs]
    return [pair for pair in found if pair is not None]


def _pair(candidate: str, baseline: str, rows: Sequence[Published]) -> PublishedPair | None:
    ours, theirs = _by_case(candidate, rows), _by_case(baseline, rows)
    shared = [case for case in ours if case in theirs]
    if not shared:
        return None
    logs = [ours[case][0] - theirs[case][0] for case in shared]
    low, value, high = (math.exp(log) for log in (min(logs), math.fsum(logs) / len(logs), max(logs)))
    models, stacks = ({case.model for case in shared}, sorted({case.stack for case in shared}))
    text = (
        f"{candidate} ÷ {baseline}: {format_ratio(value)} in training throughput, geometric mean of {len(shared)} "
        f"figures of {len(models)} models from {format_ratio(low)} to {format_ratio(high)} "
        f"({name_of(shared[0].precision)}, {' and '.join(map(say_stack, stacks))}, each card at the largest batch "
        "published)"
    )
    text += _per_price_and_watt(value, candidate, baseline)
    sources = dict.fromkeys(row.path for case in shared for row in (*ours[case][1], *theirs[case][1]))
    return PublishedPair(text, value, low, high, len(shared), tuple(sources))


def _per_price_and_watt(ratio: float, candidate: str, baseline: str) -> str:
    """Say what the ratio becomes for the list price at launch and for the power limit, as far as both are known."""
    ours, theirs = (load_cards()[name] for name in (candidate, baseline))
    said = []
    if ours.msrp_usd and theirs.msrp_usd:
        said.append(f"{format_ratio(ratio * theirs.msrp_usd / ours.msrp_usd)} for the same list price at launch")
    if ours.power_limit_w and theirs.power_limit_w:
        said.append(f"{format_ratio(ratio * theirs.power_limit_w / ours.power_limit_w)} for the same board power limit")
    return f"; {' and '.join(said)}" if said else ""


class _Case(NamedTuple):
    stack: str
    model: str
    precision: str


def _by_case(card: str, rows: Sequence[Published]) -> dict[_Case, tuple[float, list[Published]]]:
    """Case → log throughput of one such card at its largest published batch (mean over hosts), with the rows."""
    groups: dict[_Case, list[Published]] = {}
    for row in rows:
        if row.card == card and row.device_count == 1:
            groups.setdefault(_Case(row.stack, row.model, row.precision), []).append(row)
    found = {}
    for case, members in groups.items():
        largest = max(row.batch_size or 0 for row in members)
        hosts = [row for row in members if (row.batch_size or 0) == largest]
        found[case] = (math.fsum(math.log(row.value) for row in hosts) / len(hosts), hosts)
    return found

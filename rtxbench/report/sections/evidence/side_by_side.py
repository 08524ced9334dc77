"""Machines side by side: each machine's training speed relative to one of them, at one precision on one device.

The chart shows the geometric mean over the workloads that both machines ran, on a logarithmic axis; the table holds
every workload, and what a launch price and a joule buy. Batch, engine and software differ: no verdict rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rtxbench.catalog.cards import load_cards, match_device
from rtxbench.placement import is_functional_check
from rtxbench.records import NATIVE, Case
from rtxbench.report.labels import plural
from rtxbench.report.parts import (
    Block,
    Cell,
    Column,
    Context,
    Interval,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
    Table,
)
from rtxbench.report.titles import device_title, distinctions
from rtxbench.units import format_quantity, format_ratio
from rtxbench.wording import engine_name, name_of

__all__ = ["side_by_side_section"]

_MOST_WORKLOADS: Final = 8
_MOST_ROWS: Final = 12
"""A chart with more rows than this shows its ends; the folded table has all."""
_FASTEST: Final = 5
_SLOWEST: Final = 3


class _Machine(NamedTuple):
    """One machine, or several of its GPUs together: the best case of each workload at one precision."""

    machine: str
    name: str
    device_count: int
    cases: Mapping[str, dict[str, Any]]
    """Workload → row of the cases frame."""
    price_usd: float | None
    is_here: bool
    """Set for the machine of the reader."""


class _Standing(NamedTuple):
    """An entry beside the reference, over the workloads that both ran."""

    entry: _Machine
    ratios: Mapping[str, float]
    mean: float
    per_price: float | None
    per_joule: float | None


def side_by_side_section(context: Context) -> Section | None:
    """Compare machines at each precision that at least two of them ran; ``None`` where there is none."""
    measured = [row for row in context.cases if _is_usable(row)]
    found: list[tuple[str, Sequence[_Machine]]] = []
    for precision in dict.fromkeys(row["precision"] for row in measured):
        entries = _entries(context, [row for row in measured if row["precision"] == precision])
        if len({entry.machine for entry in entries}) > 1:
            found.append((precision, entries))
    if not found:
        return None
    blocks = _blocks(context, found)
    lead = Paragraph(
        "Training speed relative to one machine, at one precision: the geometric mean over the workloads that both "
        "ran, and in brackets the lowest and the highest of them (no confidence interval). Each machine's best engine "
        "and batch count, and software differs, so that no verdict rests on it."
    )
    return Section(id="side-by-side", title="Machines side by side", blocks=(lead, *blocks))


def _is_usable(row: dict[str, Any]) -> bool:
    plain = row["status"] == "measured" and row["variant"] in (None, NATIVE) and not row["invalid"]
    return plain and row["throughput_per_s"] > 0 and not is_functional_check(row["placement"])


def _engine_of(row: dict[str, Any]) -> str:
    fields = ("workload", "batch_size", "engine")
    return engine_name(Case(**{name: row[name] for name in fields}, variant=row["variant"] or ""))


def _entries(context: Context, measured: Sequence[dict[str, Any]]) -> list[_Machine]:
    best: dict[tuple[str, int, bool], dict[str, dict[str, Any]]] = {}
    for row in measured:
        cases = best.setdefault((row["machine"], row["device_count"], row["placement"] == "cpu"), {})
        known = cases.get(row["workload"])
        if known is None or row["throughput_per_s"] > known["throughput_per_s"]:
            cases[row["workload"]] = row
    machines = {key: context.machines[key[0]] for key in best}
    names = {key: device_title(machines[key], "cpu" if key[2] else "gpu", key[1]) for key in best}
    apart = distinctions(machines, names)
    return [
        _Machine(
            machine=key[0],
            name=f"{names[key]} ({apart[key]})" if apart[key] else names[key],
            device_count=key[1],
            cases=cases,
            price_usd=_price(context, *key),
            is_here=key[0] == context.focus and not context.foreign,
        )
        for key, cases in best.items()
    ]


def _price(context: Context, machine: str, count: int, on_cpu: bool) -> float | None:
    """Launch price of the cards in use; ``None`` for a CPU and for cards without one."""
    gpus = context.machines[machine].gpus
    card = match_device(gpus[0].name, gpus[0].memory_bytes, load_cards()) if gpus and not on_cpu else None
    return None if card is None or card.msrp_usd is None else count * card.msrp_usd


def _blocks(context: Context, found: Sequence[tuple[str, Sequence[_Machine]]]) -> list[Block]:
    """Make one chart of all precisions and kinds of device, then a folded table per precision."""
    groups: list[IntervalGroup] = []
    tables: list[Block] = []
    for precision, entries in found:
        reference = _reference(context, entries)
        standings = [standing for entry in entries if (standing := _standing(entry, reference)) is not None]
        standings.sort(key=lambda standing: -standing.mean)
        name = name_of(precision)
        for kind, several in (("one device", False), ("several devices", True)):
            of_kind = [standing for standing in standings if (standing.entry.device_count > 1) == several]
            title, shown = _group(f"{name}, {kind}, relative to {reference.name}", of_kind)
            rows = tuple(_interval(standing, reference) for standing in shown)
            groups += [IntervalGroup(title, rows)] if rows else []
        tables.append(_table(precision, reference, standings))
    chart = Intervals(caption="", groups=tuple(groups), better="Right of 1× is faster.", spread="[lowest, highest]")
    return [chart, *tables]


def _group(title: str, standings: Sequence[_Standing]) -> tuple[str, Sequence[_Standing]]:
    """Sort a chart's rows: all of a few; of many the ends, and where the reader's machine stands among them."""
    if len(standings) <= _MOST_ROWS:
        return title, standings
    here = [number for number, standing in enumerate(standings) if standing.entry.is_here]
    near = {other for number in here for other in (number - 1, number, number + 1)}
    shown = {*range(_FASTEST), *range(len(standings) - _SLOWEST, len(standings)), *near} & set(range(len(standings)))
    yours = ", and this machine between its neighbours" if here else ""
    words = f"{title}: {len(shown)} of {len(standings)}, the fastest, the slowest{yours}"
    return words, [standings[number] for number in sorted(shown)]


def _reference(context: Context, entries: Sequence[_Machine]) -> _Machine:
    """Choose the reader's machine where it has one device in the list; else the entry with most workloads."""
    own = [entry for entry in entries if entry.machine == context.focus]
    return max(own or entries, key=lambda entry: (entry.device_count == 1, len(entry.cases)))


def _standing(entry: _Machine, reference: _Machine) -> _Standing | None:
    common = [workload for workload in entry.cases if workload in reference.cases]
    if not common:
        return None
    ratios = {w: entry.cases[w]["throughput_per_s"] / reference.cases[w]["throughput_per_s"] for w in common}
    mean = _mean(list(ratios.values()))
    dear, cheap = entry.price_usd, reference.price_usd
    energy = "gpu_energy_per_example_j"
    joules = [
        reference.cases[w][energy] / entry.cases[w][energy]
        for w in common
        if entry.cases[w][energy] and reference.cases[w][energy]
    ]
    per_price = mean * cheap / dear if dear and cheap else None
    return _Standing(entry, ratios, mean, per_price, _mean(joules) if joules else None)


def _mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _interval(standing: _Standing, reference: _Machine) -> Interval:
    values = sorted(standing.ratios.values())
    spread = len(values) > 1 and standing.entry is not reference
    return Interval(
        label=standing.entry.name,
        value=standing.mean,
        low=values[0] if spread else None,
        high=values[-1] if spread else None,
        tone=next(iter(standing.entry.cases.values()))["precision"],
        caution=plural(len(values), "workload") + ("; this machine" if standing.entry.is_here else ""),
    )


def _table(precision: str, reference: _Machine, standings: Sequence[_Standing]) -> Table:
    counts: dict[str, int] = {}
    for standing in standings:
        for workload in standing.ratios:
            counts[workload] = counts.get(workload, 0) + 1
    shown = sorted(counts, key=lambda workload: -counts[workload])[:_MOST_WORKLOADS]
    columns = (
        Column("Machine"),
        Column("Geometric mean", numeric=True),
        Column("Per launch price", numeric=True),
        Column("Per joule", numeric=True),
        *(Column(name_of(workload), numeric=True) for workload in shown),
    )
    body = tuple(
        (
            standing.entry.name,
            format_ratio(standing.mean),
            "" if standing.per_price is None else format_ratio(standing.per_price),
            "" if standing.per_joule is None else format_ratio(standing.per_joule),
            *(_cell(standing, workload) for workload in shown),
        )
        for standing in standings
    )
    caption = (
        f"{name_of(precision)}, every machine ({len(body)}) and workload, relative to {reference.name}; absolute "
        "examples per second below"
    )
    return Table(caption=caption, columns=columns, rows=body, folded=True)


def _cell(standing: _Standing, workload: str) -> Cell | str:
    if workload not in standing.ratios:
        return ""
    case = standing.entry.cases[workload]
    note = f"{format_quantity(case['throughput_per_s'], '/s')}, {_engine_of(case)}, batch {case['batch_size']}"
    return Cell(format_ratio(standing.ratios[workload]), note=note)

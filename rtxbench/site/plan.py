"""From tables to pages: every page of the site with the data it is made of, nothing rendered yet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.published import curated
from rtxbench.site import aggregates
from rtxbench.site.cards import CardData, card_body, paper_of
from rtxbench.site.engines import EngineData, engine_body, engine_title
from rtxbench.site.likes import relative_speeds
from rtxbench.site.machine_pages import MachineData, machine_body
from rtxbench.site.machines import Machine, machines_of
from rtxbench.site.names import address
from rtxbench.site.overview import HistoryData, IndexData, SpreadData, history_body, index_body, spread_body
from rtxbench.site.page import MOST_MACHINES, Page, sentence
from rtxbench.site.rows import Comparison, Figures, Month, Paired, SpreadOver, Standing, Successor, VersionFigures
from rtxbench.site.search import Index, index_of
from rtxbench.site.workloads import WorkloadData, workload_body
from rtxbench.wording import name_of

if TYPE_CHECKING:
    import duckdb

__all__ = ["Site", "plan_site"]

_AT_ONCE: Final = 200
"""Machines whose rows are held at a time."""
_NEWEST: Final = 20
_Row = TypeVar("_Row")


class Site(NamedTuple):
    """The site before it is written."""

    pages: Iterator[Page]
    page_count: int
    """Beside the home page."""
    home: Page
    searchable: Index


class _Facts(NamedTuple):
    """All aggregates of the tables."""

    machines: tuple[Machine, ...]
    figures: list[Figures]
    spreads: list[SpreadOver]
    comparisons: list[Comparison]
    versions: list[VersionFigures]
    successors: list[Successor]
    months: list[Month]
    kinds: dict[str, str]
    """Device → card or processor."""
    owners: dict[str, list[Machine]]
    """Device → its machines, those with most records first."""


def plan_site(connection: duckdb.DuckDBPyConnection, tables: Path) -> Site:
    """Gather the data of every page.

    Args:
        connection: `rtxbench.results.query.opened`.
        tables: the folder it was opened on, for messages.

    Returns:
        The pages in order; those of machines are gathered while they are asked for, a few at a time.
    """
    facts = _facts(connection, tables)
    few = [*_cards(facts), *_workloads(facts), *_engines(facts)]
    shells = [_machine_page(machine, (), ()) for machine in facts.machines]
    index = index_of([*few, *shells])
    home = Page("index.html", (_index_data(facts, index), index.data), partial(index_body, _index_data(facts, index)))
    spread, history = SpreadData(tuple(facts.spreads)), HistoryData(tuple(facts.months))
    first = [
        Page("spread.html", spread, partial(spread_body, spread)),
        Page("history.html", history, partial(history_body, history)),
    ]
    pages = itertools.chain(first, few, _machines(connection, facts.machines))
    return Site(pages, len(first) + len(few) + len(facts.machines), home, index)


def _facts(connection: duckdb.DuckDBPyConnection, tables: Path) -> _Facts:
    machines = tuple(machines_of(connection, tables))
    aggregates.prepare(connection, machines)
    owners: dict[str, list[Machine]] = {}
    for machine in sorted(machines, key=lambda one: (-one.records, one.slug)):
        for device in filter(None, (machine.card or machine.cards, machine.processor)):
            owners.setdefault(device, []).append(machine)
    published = {row.card for row in curated().kept if row.task == "train" and row.device_count == 1}
    kinds = dict.fromkeys((one.processor for one in machines), "processor")
    kinds |= dict.fromkeys((name for name in load_cards() if name in published), "card")
    kinds |= dict.fromkeys((one.card for one in machines if one.card), "card")
    return _Facts(
        machines,
        aggregates.figures(connection),
        list(aggregates.spreads(connection)),
        aggregates.comparisons(connection),
        aggregates.version_figures(connection),
        aggregates.successors(connection),
        aggregates.months(connection),
        kinds,
        owners,
    )


def _by(rows: Iterable[_Row], field: str) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for row in rows:
        found.setdefault(getattr(row, field), []).append(row)
    return found


def _cards(facts: _Facts) -> Iterator[Page]:
    likes = relative_speeds(facts.figures, facts.kinds)
    papers = {name: paper_of(card) for name, card in load_cards().items()}
    figures, comparisons = _by(facts.figures, "device"), _by(facts.comparisons, "device")
    spreads: dict[str, list[SpreadOver]] = {}
    for row in facts.spreads:
        spreads.setdefault(row.case.device, []).append(row)
    for device, kind in sorted(facts.kinds.items()):
        owners, own_likes = facts.owners.get(device, []), likes.get(device, [])
        data = CardData(
            kind=kind,
            name=device,
            paper=papers.get(device) if kind == "card" else None,
            figures=tuple(figures.get(device, ())),
            spreads=tuple(sorted(spreads.get(device, ()), key=lambda row: (-row.machines, row.case))),
            comparisons=tuple(comparisons.get(device, ())),
            likes=tuple(own_likes),
            papers={row.device: papers[row.device] for row in own_likes if row.device in papers},
            machines=tuple((one.slug, one.latest, one.records) for one in owners[:MOST_MACHINES]),
            machine_count=len(owners),
        )
        weight = sum(one.records for one in owners)
        yield Page(address(kind, device), data, partial(card_body, data), kind, device, weight)


def _workloads(facts: _Facts) -> Iterator[Page]:
    figures, comparisons = _by(facts.figures, "workload"), _by(facts.comparisons, "workload")
    for name in sorted(figures.keys() | comparisons.keys()):
        rows, pairs = figures.get(name, []), comparisons.get(name, [])
        data = WorkloadData(name, tuple(rows), _kinds_of(facts, (*rows, *pairs)), tuple(pairs))
        title = sentence(name_of(name))
        words = title if title.lower() == name.lower() else f"{title} ({name})"
        body = partial(workload_body, data)
        yield Page(address("workload", name), data, body, "workload", words, sum(row.machines for row in rows))


def _kinds_of(facts: _Facts, rows: Iterable[object]) -> dict[str, str]:
    names = sorted({str(getattr(row, "device", "")) for row in rows})
    return {name: facts.kinds[name] for name in names if name in facts.kinds}


def _engines(facts: _Facts) -> Iterator[Page]:
    rows: dict[tuple[str, str], list[VersionFigures]] = {}
    for row in facts.versions:
        rows.setdefault((row.engine, row.version), []).append(row)
    for (engine, version), own in sorted(rows.items()):
        others = tuple(one for one in facts.successors if (one.engine, one.version) == (engine, version))
        data = EngineData(engine, version, tuple(own), others, _kinds_of(facts, own))
        title, body = engine_title(engine, version), partial(engine_body, data)
        weight = sum(row.machines for row in own)
        yield Page(address("engine", f"{engine} {version}"), data, body, "engine", title, weight)


def _machines(connection: duckdb.DuckDBPyConnection, machines: Sequence[Machine]) -> Iterator[Page]:
    aggregates.rank(connection)
    for start in range(0, len(machines), _AT_ONCE):
        few = machines[start : start + _AT_ONCE]
        standings, paired = aggregates.of_machines(connection, [one.slug for one in few])
        for one in few:
            yield _machine_page(one, standings.get(one.slug, ()), paired.get(one.slug, ()))


def _machine_page(machine: Machine, standings: Sequence[Standing], paired: Sequence[Paired]) -> Page:
    data = MachineData(machine, tuple(standings), tuple(paired))
    path = address("machine", machine.slug)
    return Page(path, data, partial(machine_body, data), "machine", machine.title, machine.records)


def _index_data(facts: _Facts, index: Index) -> IndexData:
    latest = sorted(facts.machines, key=lambda one: (one.latest, one.slug), reverse=True)
    devices_of: dict[str, set[str]] = {}
    for row in facts.figures:
        devices_of.setdefault(row.workload, set()).add(row.device)
    machines_with: dict[tuple[str, str], int] = {}
    for one in facts.versions:
        key = one.engine, one.version
        machines_with[key] = max(machines_with.get(key, 0), one.machines)
    return IndexData(
        machines=len(facts.machines),
        records=sum(one.records for one in facts.machines),
        runs=sum(one.runs for one in facts.machines),
        latest=max((one.latest for one in facts.machines), default="never"),
        figures=tuple(_shown(facts.figures)),
        counts={device: len(owners) for device, owners in sorted(facts.owners.items())},
        kinds=facts.kinds,
        papers={name: paper_of(card) for name, card in load_cards().items() if name in facts.kinds},
        workloads=tuple(sorted(((name, len(its)) for name, its in devices_of.items()), key=lambda row: (-row[1], row))),
        versions=tuple(sorted(((*key, count) for key, count in machines_with.items()), key=lambda row: (-row[2], row))),
        newest=tuple((one.slug, one.title, one.latest) for one in latest[:_NEWEST]),
        not_in_search=index.left_out,
    )


def _shown(figures: Sequence[Figures]) -> Iterator[Figures]:
    """Choose the row of each device that most machines stand behind; among equals that of the commonest workload."""
    common: Mapping[tuple[str, str], int] = {
        key: sum(row.machines for row in figures if (row.workload, row.precision) == key)
        for key in {(row.workload, row.precision) for row in figures}
    }
    for rows in _by((row for row in figures if row.device_count == 1), "device").values():
        yield max(rows, key=lambda row: (row.machines, common[row.workload, row.precision], row.workload))

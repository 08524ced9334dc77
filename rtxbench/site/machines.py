"""Each machine of the tables as of its latest run, and the devices that its cases ran on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.catalog.cards import Card, load_cards, match_device
from rtxbench.machine import Environment
from rtxbench.report.titles import device_title, machine_title
from rtxbench.results.store import run_of_lines
from rtxbench.units import format_bytes, format_card_memory

if TYPE_CHECKING:
    import duckdb

__all__ = ["LONGEST", "Machine", "machines_of"]

LONGEST: Final = 80
"""Characters of a name that a page shows; a record may hold millions."""
_MOST_FACTS: Final = 60


class Machine(NamedTuple):
    """One machine. ``card`` is empty without a GPU."""

    slug: str
    title: str
    card: str
    """Name of the card its cases on one GPU ran on: the catalogue's, else the driver's with the memory."""
    cards: str
    """Names of unlike cards, for cases on several; empty where they are alike."""
    processor: str
    facts: tuple[tuple[str, str], ...]
    """(what, its value) of the hardware and software."""
    records: int
    runs: int
    first: str
    latest: str
    """Days, ISO 8601."""


_LATEST: Final = """
    select machine, arg_max(record, started_at || ' ' || run_id) as header, cast(sum(records) as bigint) as records,
        count(*) as runs, min(started_at) as first, max(started_at) as latest
    from runs group by machine order by machine
"""
_AT_ONCE: Final = 200


def machines_of(connection: duckdb.DuckDBPyConnection, tables: Path) -> Iterator[Machine]:
    """Read every machine's latest header, in order of their slugs; each is checked like that of a results file.

    Raises:
        RecordError: a header is none.
    """
    cards = load_cards()
    cursor = connection.execute(_LATEST)
    while rows := cursor.fetchmany(_AT_ONCE):
        for slug, header, records, runs, first, latest in rows:
            environment = run_of_lines(tables / "runs" / str(slug), [str(header)]).run.environment
            names = [_card(environment, place, cards) for place in range(len(environment.gpus))]
            yield Machine(
                slug=str(slug),
                title=_cut(machine_title(environment)),
                card=names[0] if names else "",
                cards=_cut(" + ".join(dict.fromkeys(names))) if len(set(names)) > 1 else "",
                processor=_processor(environment),
                facts=tuple((_cut(what), _cut(value)) for what, value in islice(_facts(environment), _MOST_FACTS)),
                records=int(records),
                runs=int(runs),
                first=str(first)[:10],
                latest=str(latest)[:10],
            )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _card(environment: Environment, place: int, cards: Mapping[str, Card]) -> str:
    gpu = environment.gpus[place]
    known = match_device(gpu.name, gpu.memory_bytes, cards)
    if known is not None:
        return known.name
    memory = "memory unknown" if gpu.memory_bytes is None else format_card_memory(gpu.memory_bytes)
    return f"{_cut(gpu.name)} ({memory})"


def _processor(environment: Environment) -> str:
    cpu = environment.cpu
    bound = f"{cpu.usable_cores} of " if cpu.bound else ""
    return f"{_cut(device_title(environment, 'cpu', 1))} ({bound}{cpu.logical_cores} logical cores)"


def _facts(environment: Environment) -> Iterator[tuple[str, str]]:
    """List what a figure may depend on; nothing that names a person or one very card."""
    yield "Processor", environment.cpu.name
    yield "Memory", format_bytes(environment.cpu.memory_bytes)
    for gpu in environment.gpus:
        parts = (
            gpu.name,
            gpu.memory_bytes and format_card_memory(gpu.memory_bytes),
            gpu.driver and f"driver {gpu.driver}",
            gpu.power_limit_w and f"{gpu.power_limit_w:.0f} W limit",
            gpu.pcie_width and gpu.pcie_generation and f"PCIe {gpu.pcie_generation}.0 x{gpu.pcie_width}",
        )
        yield f"GPU {gpu.index}", ", ".join(str(part) for part in parts if part)
    yield "Operating system", environment.operating_system
    yield "Python", environment.python
    yield from sorted({**environment.packages, **environment.libraries}.items())

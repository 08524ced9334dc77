"""A machine's page: what it is, how fast it is beside others of its kind, and its paired comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rtxbench.report.labels import plural
from rtxbench.report.parts import (
    Block,
    Cell,
    Column,
    Definitions,
    Interval,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
)
from rtxbench.site.machines import Machine
from rtxbench.site.names import link
from rtxbench.site.page import Body, comparison_words, devices, listed, speed, workload_link
from rtxbench.site.rows import Paired, Standing
from rtxbench.units import format_ratio
from rtxbench.wording import name_of

__all__ = ["MachineData", "machine_body"]

_MOST_PAIRS = 60


class MachineData(NamedTuple):
    """All that one machine's page is made of."""

    machine: Machine
    standings: tuple[Standing, ...]
    paired: tuple[Paired, ...]


def machine_body(data: MachineData) -> Body:
    """Make a machine's page."""
    machine = data.machine
    sections = [Section(id="speed", title="How fast it trains", blocks=tuple(_speed(data)))]
    if data.paired:
        sections.append(_paired(data))
    facts = tuple((what, value) for what, value in machine.facts if value)
    sections.append(Section(id="facts", title="What it is", blocks=(Definitions(facts),)))
    measured = machine.first if machine.first == machine.latest else f"{machine.first} to {machine.latest}"
    counted = f"{plural(machine.runs, 'run')}, {plural(machine.records, 'record')}"
    return Body(machine.title, f"{machine.slug} · {counted} · measured {measured}", tuple(sections))


def _speed(data: MachineData) -> Iterator[Block]:
    machine = data.machine
    kinds = (("card", machine.card), ("processor", machine.processor))
    rows: list[tuple[Cell | str, ...]] = [(link(kind, name, name), kind.capitalize()) for kind, name in kinds if name]
    yield listed("Others of its kind", (Column("Device"), Column("Kind")), rows)
    if not data.standings:
        yield Paragraph("It sent no figure of training speed that counts.", "muted")
        return
    columns = (
        Column("Workload"),
        Column("Case"),
        Column("Speed", numeric=True),
        Column("Beside its kind", numeric=True),
        Column("Place"),
        Column("Records", numeric=True),
    )
    yield listed(
        "Training speed, examples per second: the median of its records of one exact case, beside the median of all "
        "machines with the same device",
        columns,
        [_row(one) for one in data.standings],
    )


def _row(one: Standing) -> tuple[Cell | str, ...]:
    case = one.case
    words = [name_of(case.precision), name_of(case.engine)]
    words += [name_of(case.compiler)] if case.compiler != "none" else []
    words += [name_of(case.variant)] if case.variant else []
    alone = one.machines == 1
    return (
        workload_link(case.workload, devices(case.device_count, case.device)),
        f"{', '.join(words)}, batch {case.batch_size}",
        speed(one.speed),
        "" if alone else format_ratio(one.speed / one.others_median),
        "the only one" if alone else f"{one.rank} of {one.machines:,}, fastest first",
        f"{one.records:,}",
    )


def _paired(data: MachineData) -> Section:
    rows = tuple(
        Interval(
            label=f"{name_of(one.workload)}: {comparison_words(one.comparison)}",
            value=one.ratio,
            low=one.low,
            high=one.high,
        )
        for one in sorted(data.paired, key=lambda one: (-one.ratio, one.workload, one.comparison))
    )
    more = len(rows) - _MOST_PAIRS
    title = "The latest of each" if more <= 0 else f"The {_MOST_PAIRS} highest of {len(rows)}"
    chart = Intervals(
        caption="Both sides took turns on this machine. 95 % intervals over launches.",
        groups=(IntervalGroup(title, rows[:_MOST_PAIRS]),),
    )
    return Section(id="comparisons", title="What changes its speed", blocks=(chart,))

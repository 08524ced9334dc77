"""An engine version's page: which devices ran it how fast, and other versions on the same machines beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rtxbench.report.labels import plural
from rtxbench.report.parts import Block, Cell, Column, Interval, IntervalGroup, Intervals, Paragraph, Section
from rtxbench.site.names import link
from rtxbench.site.page import Body, devices, listed, speed, speed_range, workload_link
from rtxbench.site.rows import Successor, VersionFigures
from rtxbench.wording import name_of

__all__ = ["EngineData", "engine_body", "engine_title"]


class EngineData(NamedTuple):
    """All that one engine version's page is made of."""

    engine: str
    version: str
    figures: tuple[VersionFigures, ...]
    others: tuple[Successor, ...]
    kinds: Mapping[str, str]
    """Device → card or processor."""


def engine_title(engine: str, version: str) -> str:
    """Name a version: ``TensorFlow 2.21.0``."""
    return f"{name_of(engine)} {version}"


def engine_body(data: EngineData) -> Body:
    """Make an engine version's page."""
    sections = [_others(data)] if data.others else []
    sections.append(Section(id="speed", title="Training speed with it", blocks=tuple(_speed(data))))
    devices_seen = len({row.device for row in data.figures})
    workloads = len({row.workload for row in data.figures})
    facts = f"measured on {plural(devices_seen, 'device')}, {plural(workloads, 'workload')}"
    return Body(engine_title(data.engine, data.version), facts, tuple(sections))


def _others(data: EngineData) -> Section:
    rows = tuple(
        Interval(
            label=f"against {name_of(data.engine)} {one.other}",
            value=one.ratio.median,
            low=one.ratio.low if one.cases > 1 else None,
            high=one.ratio.high if one.cases > 1 else None,
            caution=f"{plural(one.cases, 'case')} on {plural(one.machines, 'machine')}",
        )
        for one in data.others
    )
    chart = Intervals(
        caption="Training speed against another version on the same machine, in the same case: the median, and the "
        "range eight of ten lie in (no confidence interval). They were measured on different days, so that no verdict "
        "rests on it; `rtxbench gate` compares two versions in one session.",
        groups=(IntervalGroup("Versions beside each other", rows),),
        better="Right of 1× this version is faster.",
        spread="[10 %, 90 %]",
    )
    return Section(id="others", title="Against other versions", blocks=(chart,))


def _speed(data: EngineData) -> Iterator[Block]:
    if not data.figures:
        yield Paragraph("No figure with this version counts.", "muted")
        return
    columns = (
        Column("Workload"),
        Column("Precision"),
        Column("Device"),
        Column("Median", numeric=True),
        Column("Machines differ from"),
        Column("Machines", numeric=True),
    )
    rows: list[tuple[Cell | str, ...]] = [
        (
            workload_link(row.workload),
            name_of(row.precision),
            link(data.kinds[row.device], row.device, devices(row.device_count, row.device))
            if row.device in data.kinds
            else devices(row.device_count, row.device),
            speed(row.speed.median),
            speed_range(row.speed, row.machines),
            f"{row.machines:,}",
        )
        for row in sorted(data.figures, key=lambda row: (-row.machines, row.workload, row.precision, row.device))
    ]
    yield listed(
        "Examples per second: each machine's fastest case, median of machines; most machines first", columns, rows
    )

"""Machines of one card: how far they differ among each other, and where the reader's own stands among them.

Machines with the same devices, the same case: precision, batch, engine and compiler. What else differs between them
(driver, cooling, host) is what the spread is made of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rtxbench.machine import Environment
from rtxbench.placement import is_functional_check
from rtxbench.report.parts import Block, Cell, Column, Context, Paragraph, Section, Table
from rtxbench.report.titles import device_title
from rtxbench.stats import student_t
from rtxbench.units import format_percent, format_quantity, format_ratio
from rtxbench.verdicts.statistics.pooling import LogRatio, combine_runs
from rtxbench.verdicts.statistics.spread import LEAST_MACHINES, Spread, log_throughput, outlier_score, spread_of
from rtxbench.wording import name_of

__all__ = ["spread_section"]

_AXES: Final = ("workload", "precision", "engine", "compiler", "batch_size", "placement", "device_count", "variant")
_UNUSUAL: Final = 0.95
"""Confidence at which a machine is called slower than its like."""


class _Group(NamedTuple):
    """One case on machines of equal devices."""

    device: str
    case: Mapping[str, Any]
    logs: Mapping[str, LogRatio]
    """Machine → ln of its throughput."""


def spread_section(context: Context) -> Section | None:
    """Compare machines of equal hardware; ``None`` where there are fewer than three of any."""
    groups = [group for group in _groups(context) if len(group.logs) >= LEAST_MACHINES]
    if not groups:
        return None
    groups.sort(key=lambda group: (-len(group.logs), group.device))
    own = [sentence for group in groups if (sentence := _own_sentence(context.focus, group)) is not None]
    blocks: list[Block] = [Paragraph(_summary(groups)), *(Paragraph(text, tone="caution") for text in own)]
    blocks.append(_table(context, groups))
    return Section(id="spread", title="Machines of one kind", blocks=tuple(blocks))


def _groups(context: Context) -> list[_Group]:
    found: dict[tuple[Any, ...], dict[str, list[LogRatio]]] = {}
    cases: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in context.cases:
        log = _log_throughput(row)
        if log is None:
            continue
        hardware = _hardware(context.machines[row["machine"]], row)
        key = (hardware, *(row[axis] for axis in _AXES))
        cases[key] = row
        found.setdefault(key, {}).setdefault(row["machine"], []).append(log)
    return [
        _Group(
            device_title(context.machines[cases[key]["machine"]], cases[key]["placement"], cases[key]["device_count"]),
            cases[key],
            {machine: combine_runs(logs) for machine, logs in machines.items()},
        )
        for key, machines in found.items()
    ]


def _hardware(environment: Environment, row: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what must be equal for two machines to be of one kind: the devices that the case ran on."""
    gpus = environment.gpus[: row["device_count"]]
    if gpus and row["placement"] != "cpu":
        return tuple((gpu.name, gpu.memory_bytes) for gpu in gpus)
    cpu = environment.cpu
    return (cpu.name, cpu.logical_cores, cpu.usable_cores, cpu.memory_bytes >> 30)


def _log_throughput(row: Mapping[str, Any]) -> LogRatio | None:
    """Take ln of a usable case's throughput and its standard error."""
    usable = row["status"] == "measured" and not row["invalid"] and not is_functional_check(row["placement"])
    if not usable:
        return None
    fields = ("throughput_per_s", "throughput_low_per_s", "throughput_high_per_s", "confidence_ratio", "launches")
    return log_throughput(*(row[name] for name in fields))


def _summary(groups: Sequence[_Group]) -> str:
    spreads = [spread_of(list(group.logs.values())) for group in groups]
    widest = max(range(len(groups)), key=lambda number: spreads[number].between)
    group, spread = groups[widest], spreads[widest]
    count = max(len(group.logs) for group in groups)
    return (
        f"Up to {count} machines of one kind ran the same case. They differ most on {name_of(group.case['workload'])} "
        f"({group.device}): {_deviation(spread)} between machines, {format_percent(spread.within)} between launches "
        "on one of them. Software and cooling differ as well as the cards."
    )


def _own_sentence(machine: str, group: _Group) -> str | None:
    """Say that the reader's machine is slower than its like, where it is by more than chance."""
    others = [log for name, log in group.logs.items() if name != machine]
    if machine not in group.logs or len(others) < LEAST_MACHINES:
        return None
    own = group.logs[machine]
    if outlier_score(own, others) > -student_t(_UNUSUAL, len(others) - 1.0):
        return None
    slower_than = sum(other.value > own.value for other in others)
    typical = math.exp(own.value - sum(other.value for other in others) / len(others))
    return (
        f"This {group.device} is slower than {slower_than} of {len(others)} others on {name_of(group.case['workload'])}"
        f" in {name_of(group.case['precision'])}: {format_ratio(typical)} of their mean. `rtxbench health` says why."
    )


def _table(context: Context, groups: Sequence[_Group]) -> Table:
    columns = (
        Column("Devices and case"),
        Column("Machines", numeric=True),
        Column("Mean", numeric=True),
        Column("Fastest ÷ slowest", numeric=True),
        Column("Between machines", numeric=True),
        Column("Between launches", numeric=True),
        Column("This machine", numeric=True),
    )
    return Table(
        caption="Spread of training speed over machines with the same devices, as standard deviations",
        columns=columns,
        rows=tuple(_row(context.focus, group) for group in groups),
        folded=len(groups) > 1,
    )


def _row(machine: str, group: _Group) -> tuple[Cell | str, ...]:
    values = [log.value for log in group.logs.values()]
    spread = spread_of(list(group.logs.values()))
    case = group.case
    words = [
        name_of(case["workload"]),
        name_of(case["precision"]),
        name_of(case["engine"]),
        f"batch {case['batch_size']}",
    ]
    rank = sum(value > group.logs[machine].value for value in values) + 1 if machine in group.logs else None
    return (
        Cell(group.device, note=", ".join(words)),
        str(len(values)),
        format_quantity(math.exp(sum(values) / len(values)), "/s"),
        format_ratio(math.exp(max(values) - min(values))),
        Cell(format_percent(spread.between), note=_interval(spread)),
        format_percent(spread.within),
        "" if rank is None else f"{rank} of {len(values)}, fastest first",
    )


def _deviation(spread: Spread) -> str:
    return f"{format_percent(spread.between)} [{_interval(spread)}]"


def _interval(spread: Spread) -> str:
    return f"{format_percent(spread.between_low)} to {format_percent(spread.between_high)}"

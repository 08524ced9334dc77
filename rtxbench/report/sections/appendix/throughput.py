"""Throughput by workload and precision, one block per machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rtxbench.placement import is_functional_check
from rtxbench.records import Case
from rtxbench.report.labels import interval_text, machine_headings, plural
from rtxbench.report.parts import Block, Cell, Column, Context, Paragraph, Section, Table
from rtxbench.results.latest import latest_of
from rtxbench.units import format_bytes, format_duration, format_number, format_power, format_quantity
from rtxbench.wording import say, say_flag

__all__ = ["throughput_section"]


def throughput_section(context: Context) -> Section | None:
    """List the measured throughput of every case, a table per machine. ``None`` where nothing was measured."""
    measured = [row for row in context.cases if row["status"] == "measured"]
    if not measured:
        return None
    blocks: list[Block] = [
        Paragraph(
            "Training examples per second on synthetic batches that already lie on the device: what the hardware and "
            "the framework give, without an input pipeline. A bar compares cases of one model; intervals are 95 %, "
            "over fresh starts of the program. Sustained is the case alone for a long stretch; otherwise, and where it "
            "says common state, all cases of a comparison took turns."
        )
    ]
    for machine, heading in machine_headings(context, {row["machine"] for row in measured}):
        of_machine = latest_of((row for row in measured if row["machine"] == machine), lambda row: row["label"])
        blocks += [*heading, _table(context.titles[machine], of_machine)]
    return Section(id="throughput", title="Throughput", blocks=tuple(blocks))


def _cautions(case: dict[str, Any]) -> str:
    parts = [say_flag(code) for code in (case["flags"] or "").split()]
    if not case["warmup_ok"]:
        parts.append("not steady when timed")
    if case["launches"] == 1:
        parts.append("one launch, so no interval")
    if is_functional_check(case["placement"]):
        parts.append("functional check, no evidence of speed")
    return "; ".join(parts)


_COLUMNS: Final = (
    Column("Case"),
    Column("Throughput, examples/s", numeric=True),
    Column("Step", numeric=True),
    Column("Achieved", numeric=True),
    Column("Peak memory", numeric=True),
    Column("Device power", numeric=True),
    Column("First step", numeric=True),
    Column("Cautions"),
)


def _table(title: str, cases: Sequence[dict[str, Any]]) -> Table:
    best: dict[str, float] = {}
    for case in cases:
        best[case["workload"]] = max(best.get(case["workload"], 0.0), case["throughput_per_s"])
    ordered = sorted(cases, key=lambda case: (list(best).index(case["workload"]), -case["throughput_per_s"]))
    rows = [_table_row(case, best[case["workload"]]) for case in ordered]
    filled = [number for number in range(len(_COLUMNS)) if any(row[number] for row in rows)]
    return Table(
        caption=f"{plural(len(cases), 'measured case')} on {title}",
        columns=tuple(_COLUMNS[number] for number in filled),
        rows=tuple(tuple(row[number] for number in filled) for row in rows),
    )


def _number(per_s: float) -> str:
    return format_number(per_s, 4)


def _table_row(case: dict[str, Any], best_per_s: float) -> tuple[Cell | str, ...]:
    interval = interval_text(case["throughput_low_per_s"], case["throughput_high_per_s"], case["confidence_ratio"])
    common = f"{interval}, {plural(case['launches'], 'launch', 'launches')}"
    sustained = case["sustained_throughput_per_s"]
    note = common
    if sustained is not None:
        note = f"sustained; common state {_number(case['throughput_per_s'])} {common}"
    # The bar compares cases, so it is of the state that they shared.
    share_ratio = None if is_functional_check(case["placement"]) else case["throughput_per_s"] / best_per_s
    throughput = Cell(_number(sustained or case["throughput_per_s"]), note=note, share_ratio=share_ratio)
    return (
        _words(case),
        throughput,
        format_duration(case["step_time_s"]),
        "" if case["flop_per_s"] is None else format_quantity(case["flop_per_s"], "FLOP/s"),
        "" if case["peak_memory_bytes"] is None else format_bytes(case["peak_memory_bytes"]),
        "" if case["gpu_power_w"] is None else format_power(case["gpu_power_w"]),
        "" if case["first_step_s"] is None else format_duration(case["first_step_s"]),
        _cautions(case),
    )


def _words(case: dict[str, Any]) -> str:
    names = ("workload", "batch_size", "precision", "placement", "engine", "compiler", "device_count")
    return say(Case(**{name: case[name] for name in names}, variant=case["variant"] or ""))

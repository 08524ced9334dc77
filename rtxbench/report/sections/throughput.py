"""Throughput by workload and precision, one block per machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from rtxbench.frames import rows
from rtxbench.placement import is_functional_check
from rtxbench.report.base import Block, Cell, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.report.drawing.bars_and_forest import Bar, Panel, throughput_bars
from rtxbench.report.drawing.style import PRECISION_COLORS, precision_color
from rtxbench.report.labels import (
    anchor,
    device_title,
    distinguishing_labels,
    interval_text,
    machine_headings,
    machine_title,
    plural,
)
from rtxbench.units import format_bytes, format_duration, format_quantity

__all__ = ["latest_per_case", "throughput_section"]

_BARS_PER_FIGURE: Final = 36
_PRECISIONS: Final = {precision: rank for rank, precision in enumerate(PRECISION_COLORS)}
_AXES: Final = ("precision", "placement", "engine", "compiler", "device_count", "batch_size", "variant")


def throughput_section(context: Context) -> Section | None:
    """Measured throughput of every case, figure first, then the table. ``None`` where nothing was measured."""
    measured = [row for row in rows(context.cases) if row["status"] == "measured"]
    if not measured:
        return None
    blocks: list[Block] = [
        Paragraph(
            "Training examples per second on synthetic batches that already lie on the device: what the hardware and "
            "the framework give, without an input pipeline. Bars of one panel share a workload and an axis."
        )
    ]
    blocks.extend(_side_by_side(context, measured))
    for machine, heading in machine_headings(context, {row["machine"] for row in measured}):
        blocks.extend(heading)
        of_machine = latest_per_case(row for row in measured if row["machine"] == machine)
        blocks.extend(_figures(machine_title(context.machines[machine]), machine, of_machine))
        blocks.append(_table(machine_title(context.machines[machine]), of_machine))
    return Section(id="throughput", title="Throughput", blocks=tuple(blocks))


def _side_by_side(context: Context, measured: Sequence[dict[str, Any]]) -> list[Block]:
    """The fastest case of each machine, workload by workload; nothing unless two machines ran the same workload."""
    panels = []
    for workload in dict.fromkeys(case["workload"] for case in measured):
        fastest: dict[str, dict[str, Any]] = {}
        for machine in context.machines:
            own = [case for case in measured if (case["workload"], case["machine"]) == (workload, machine)]
            usable = [case for case in latest_per_case(own) if _drawable(case) and not case["invalid"]]
            if usable:
                fastest[machine] = max(usable, key=lambda case: float(case["throughput_per_s"]))
        if len(fastest) > 1:
            bars = (_bar(_device_label(context, case), case) for case in fastest.values())
            panels.append(Panel(workload, "examples/s", tuple(bars)))
    chunks = _chunks(panels)
    return [
        Figure(
            name="throughput-machines" + (f"-{number + 1}" if len(chunks) > 1 else ""),
            build=partial(throughput_bars, tuple(chunk)),
            alt=f"Bar chart of the fastest case of each machine. {_spoken(chunk)}.",
            caption=(
                "The fastest case of each machine, by workload, with the devices and precision that gave it. "
                f"Batch and software differ too: this is no paired comparison. {_ERROR_BARS}"
            ),
        )
        for number, chunk in enumerate(chunks)
    ]


def _device_label(context: Context, case: dict[str, Any]) -> str:
    device = device_title(context.machines[case["machine"]], case["placement"], case["device_count"])
    return f"{device} · {case['precision']}"


def _drawable(case: dict[str, Any]) -> bool:
    """Tell whether a case may stand in a figure: a speed, and not of a mere functional check."""
    return case["throughput_per_s"] > 0 and not is_functional_check(case["placement"])


def _chunks(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in figures of a readable height."""
    chunks: list[list[Panel]] = []
    for panel in panels:
        if not chunks or sum(len(p.bars) for p in chunks[-1]) + len(panel.bars) > _BARS_PER_FIGURE:
            chunks.append([])
        chunks[-1].append(panel)
    return chunks


def latest_per_case(measured: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per case, in the order first measured: where several runs measured it, the last. The CSV keeps all."""
    latest: dict[str, dict[str, Any]] = {}
    for row in measured:
        latest[row["label"]] = row
    return list(latest.values())


def _figures(title: str, machine: str, cases: Sequence[dict[str, Any]]) -> list[Figure]:
    common, panels = _panels([case for case in cases if _drawable(case)])
    chunks = _chunks(panels)
    return [
        Figure(
            name=anchor(f"throughput-{machine}") + (f"-{number + 1}" if len(chunks) > 1 else ""),
            build=partial(throughput_bars, tuple(chunk)),
            alt=f"Bar chart of training throughput on {title}: {_spoken(chunk)}.",
            caption=f"Training throughput on {title}, examples per second; longer is faster. {common}{_ERROR_BARS}",
        )
        for number, chunk in enumerate(chunks)
    ]


_ERROR_BARS: Final = (
    "Error bars: 95 % interval of the mean over process launches (Student's t), also written behind each value. "
    "*: with a caution, listed in the table. Pale: not steady, void, or one launch only; no verdict rests on it."
)


def _panels(cases: Sequence[dict[str, Any]]) -> tuple[str, list[Panel]]:
    """Name what all cases share, as a sentence for the caption, and one panel per workload that leaves it out."""
    everywhere = {axis for axis in _AXES if axis != "precision" and len({case[axis] for case in cases}) == 1}
    shared = distinguishing_labels(cases, [axis for axis in _AXES if axis in everywhere])[0] if cases else ()
    axes = [axis for axis in _AXES if axis not in everywhere]
    by_workload: dict[str, list[dict[str, Any]]] = {}
    for case in sorted(cases, key=lambda case: _PRECISIONS.get(case["precision"], len(_PRECISIONS))):
        by_workload.setdefault(case["workload"], []).append(case)
    panels = []
    for workload in dict.fromkeys(case["workload"] for case in cases):
        words, labels = distinguishing_labels(by_workload[workload], axes, always=("precision",))
        bars = tuple(_bar(label, case) for label, case in zip(labels, by_workload[workload], strict=True))
        panels += [
            Panel(" · ".join((workload, *words)), "examples/s", bars[start : start + _BARS_PER_FIGURE])
            for start in range(0, len(bars), _BARS_PER_FIGURE)
        ]
    return (f"All bars: {', '.join(shared)}. " if shared else ""), panels


def _bar(label: str, case: dict[str, Any]) -> Bar:
    return Bar(
        label=label,
        value=case["throughput_per_s"],
        low=case["throughput_low_per_s"],
        high=case["throughput_high_per_s"],
        color=precision_color(case["precision"]),
        marked=bool(_cautions(case)),
        weak=case["invalid"] or not case["warmup_ok"] or case["throughput_low_per_s"] is None,
    )


def _spoken(panels: Sequence[Panel]) -> str:
    best = (max(panel.bars, key=lambda bar: bar.value) for panel in panels)
    return "; ".join(
        f"{panel.title}: fastest is {bar.label}, {format_quantity(bar.value, 'examples/s')}"
        for panel, bar in zip(panels, best, strict=True)
    )


def _cautions(case: dict[str, Any]) -> str:
    parts = [case["flags"]] if case["flags"] else []
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
    return Table(
        caption=f"{plural(len(cases), 'measured case')} on {title}",
        columns=_COLUMNS,
        rows=tuple(_table_row(case) for case in cases),
        folded=True,
    )


def _table_row(case: dict[str, Any]) -> tuple[Cell | str, ...]:
    throughput = (
        f"{case['throughput_per_s']:,.4g}" if case["throughput_per_s"] < 1e4 else f"{case['throughput_per_s']:,.0f}"
    )
    interval = interval_text(case["throughput_low_per_s"], case["throughput_high_per_s"], case["confidence_ratio"])
    return (
        Cell(case["label"], mono=True),
        Cell(throughput, note=f"{interval}, {plural(case['launches'], 'launch', 'launches')}"),
        format_duration(case["step_time_s"]),
        "" if case["flop_per_s"] is None else format_quantity(case["flop_per_s"], "FLOP/s"),
        "" if case["peak_memory_bytes"] is None else format_bytes(case["peak_memory_bytes"]),
        "" if case["gpu_power_w"] is None else f"{case['gpu_power_w']:.0f} W",
        "" if case["first_step_s"] is None else format_duration(case["first_step_s"]),
        _cautions(case),
    )

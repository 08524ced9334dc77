"""Explain why it is not faster: the bottleneck of each case, the measured roofline, energy per example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.diagnosis.rules import Evidence, diagnose
from rtxbench.hardware.energy import SENSOR_ERROR_RATIO
from rtxbench.hardware.trace import HOST
from rtxbench.placement import is_functional_check
from rtxbench.records import Case, CaseRecord, Environment, Observation
from rtxbench.report.drawing.roofline import RooflinePoint, draw_roofline
from rtxbench.report.labels import anchor, machine_headings, plural
from rtxbench.report.parts import Block, Cell, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.report.titles import machine_title
from rtxbench.results.latest import latest_by_machine, latest_of
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_duration, format_percent, format_power, format_quantity
from rtxbench.wording import engine_name, name_of, say

__all__ = ["why_section"]

_CEILING_TITLES: Final = {
    "gemm_flop_per_s": ("Matrix product", "FLOP/s"),
    "memory_bandwidth_bytes_per_s": ("Memory bandwidth", "B/s"),
    "step_call_s": ("Calling a compiled step", "s"),
    "kernel_launch_s": ("Each kernel in it", "s"),
    "dispatch_s": ("An operation called from Python", "s"),
    "host_to_device_bytes_per_s": ("Host to device copy", "B/s"),
    "all_reduce_bytes_per_s": ("All-reduce", "B/s"),
}


def why_section(context: Context) -> Section | None:
    """Causes, roofline, ceilings and energy per machine. ``None`` where no run gathered any evidence."""
    latest = _latest(context.runs)
    diagnoser = context.diagnoser
    blocks: list[Block] = [
        Paragraph(
            "What each training step waits for: its demand on arithmetic, memory and kernel launches, each divided by "
            "what this device was measured to do. The largest share names the cause. Inferred: from kernel names, "
            "shapes or counted traffic, not from a sensor."
        )
    ]
    shown = context.in_full if any(machine in latest for machine in context.in_full) else tuple(latest)[-1:]
    found = {
        machine: _machine(context.machines[machine], latest[machine], context.runs, diagnoser)
        for machine in shown
        if machine in latest
    }
    everywhere = _causes_everywhere(latest, diagnoser) if len(latest) > len(context.in_full) else []
    if not any(found.values()) and not everywhere:
        return None
    for machine, heading in machine_headings(context, [machine for machine in found if found[machine]]):
        blocks += [*heading, *found[machine]]
    silent = [context.titles[machine] for machine in found if not found[machine]]
    if silent:
        blocks.append(Paragraph(f"On {' and '.join(silent)} {_NO_EVIDENCE}", tone="muted"))
    blocks += everywhere
    return Section(id="why", title="Why it is not faster", blocks=tuple(blocks))


_NO_EVIDENCE: Final = (
    "nothing was gathered that would explain the step times. `rtxbench run` measures the device's ceilings and "
    "profiles one step of each case after the timed work."
)


def _latest(runs: Iterable[LoadedRun]) -> dict[str, list[CaseRecord]]:
    """Map each machine to the latest measured record of each case."""

    def measured(loaded: LoadedRun) -> list[CaseRecord]:
        records = [record for record in loaded.of_kind(CaseRecord) if record.measurement is not None]
        return [record for record in records if not is_functional_check(record.case.placement)]

    return latest_by_machine(runs, measured, lambda record: record.case)


def _machine(
    environment: Environment, records: Sequence[CaseRecord], runs: Sequence[LoadedRun], diagnoser: Diagnoser
) -> list[Block]:
    title = machine_title(environment)
    evidence = [(record, diagnoser.evidence(record)) for record in records]
    blocks: list[Block] = _cause_blocks(title, evidence)
    for kind in ("gpu", "cpu"):
        figure = _roofline(environment, kind, [(r, e) for r, e in evidence if e.device_kind == kind])
        if figure is not None:
            blocks.append(figure)
    observations = [
        observation
        for loaded in runs
        if loaded.run.environment.machine == environment.machine
        for observation in loaded.of_kind(Observation)
        if observation.topic == "ceiling" and observation.metric in _CEILING_TITLES
    ]
    blocks += _ceiling_blocks(title, observations)
    blocks += _energy_blocks(title, records)
    return blocks


def _causes_everywhere(latest: Mapping[str, Sequence[CaseRecord]], diagnoser: Diagnoser) -> list[Block]:
    """Make one row per cause over all machines: on how many, and in how many of their cases. Empty without evidence."""
    cases: Counter[str] = Counter()
    machines: dict[str, set[str]] = {}
    for machine, records in latest.items():
        for record in records:
            found = diagnoser.case(record)
            if found is not None and found.code != "undetermined":
                cases[found.title] += 1
                machines.setdefault(found.title, set()).add(machine)
    rows = tuple(
        (f"{title[0].upper()}{title[1:]}", f"{len(machines[title])}", f"{count}")
        for title, count in cases.most_common()
    )
    columns = (Column("Limited by"), Column("Machines", numeric=True), Column("Cases", numeric=True))
    caption = f"What limits {plural(sum(cases.values()), 'measured case')} on {plural(len(latest), 'machine')}"
    return [Table(caption=caption, columns=columns, rows=rows, folded=True)] if rows else []


def _cause_blocks(title: str, cases: Sequence[tuple[CaseRecord, Evidence]]) -> list[Block]:
    """Make one row per cause and cure, naming its cases; the evidence of every case is folded below."""
    named: dict[tuple[str, str], list[str]] = {}
    details: list[tuple[Cell | str, ...]] = []
    unknown = 0
    for record, evidence in cases:
        found = diagnose(evidence)
        if found.code == "undetermined" and not evidence.shares():
            unknown += 1
            continue
        case = _short(record.case)
        named.setdefault((found.title, found.next_step), []).append(case)
        certainty = "inferred" if found.certainty == "inferred" else ""
        details.append((case, Cell(found.title, note=certainty), "; ".join(found.evidence)))
    if not details:
        return []
    columns = (Column("Limited by"), Column("What to try next"), Column("Cases"))
    rows = tuple(
        (f"{cause[0].upper()}{cause[1:]}", step, Cell(plural(len(of), "case"), note=_first_few(of)))
        for (cause, step), of in sorted(named.items(), key=lambda item: -len(item[1]))
    )
    blocks: list[Block] = [
        Table(caption=f"What limits {plural(len(details), 'measured case')} on {title}", columns=columns, rows=rows),
        Table(
            caption="The evidence of each case",
            columns=(Column("Case"), Column("Limited by"), Column("Evidence")),
            rows=tuple(details),
            folded=True,
        ),
    ]
    return [*blocks, *([Paragraph(f"For {plural(unknown, 'case')} {_NO_EVIDENCE}", tone="muted")] if unknown else [])]


def _first_few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return "; ".join(names) if more < 2 else f"{'; '.join(names[:_MOST_NAMED])}; and {more} more"


_MOST_NAMED: Final = 3
"""Cases named beside a cause; the folded table has all."""


def _short(case: Case) -> str:
    """Name a case without what most cases share: ``ResNet-14, bfloat16, batch 8, JAX``."""
    return say(case).removesuffix(", on the CPU").removesuffix(", on the GPU")


def _roofline(environment: Environment, kind: str, cases: Sequence[tuple[CaseRecord, Evidence]]) -> Figure | None:
    """Draw the roofline; ``None`` without a measured roof or without a case whose FLOPs and traffic are both known."""
    points = _roofline_points(cases)
    roofs = next((e for _record, e in cases if e.memory_bytes_per_s and e.gemm_flop_per_s), None)
    if not points or roofs is None or roofs.memory_bytes_per_s is None:
        return None
    title = machine_title(environment)
    spoken = "; ".join(
        f"{p.label} {name_of(p.precision)}: {format_quantity(p.flop_per_s, 'FLOP/s')} at "
        f"{p.intensity_flop_per_byte:.3g} FLOP/B"
        for p in points
    )
    return Figure(
        name=anchor(f"roofline-{kind}-{environment.machine}"),
        build=partial(draw_roofline, points, dict(roofs.gemm_flop_per_s), roofs.memory_bytes_per_s),
        alt=f"Roofline of {kind.upper()} training steps on {title}. {spoken}.",
        caption=(
            f"Roofline of the {kind.upper()} of {title}. Lines: measured ceilings of memory bandwidth (sloped) and of "
            "matrix products in each precision (level). Points: training steps; their traffic is counted as if nothing "
            "were fused or cached, so a point may lie above the slope. A number behind a name is the batch."
        ),
    )


def _roofline_points(cases: Sequence[tuple[CaseRecord, Evidence]]) -> tuple[RooflinePoint, ...]:
    """Return one point per case whose FLOPs and traffic are known, named by its model and what sets it apart."""
    known = [
        (record.case, e.flops_per_step / e.traffic_bytes_per_step, e.achieved_flop_per_s)
        for record, e in cases
        if e.flops_per_step and e.traffic_bytes_per_step and e.achieved_flop_per_s
    ]
    alike: dict[tuple[str, str], list[Case]] = {}
    for case, _, _ in known:
        alike.setdefault((case.workload, case.precision), []).append(case)
    return tuple(
        RooflinePoint(_point_label(case, alike[case.workload, case.precision]), case.precision, intensity, rate)
        for case, intensity, rate in known
    )


def _point_label(case: Case, alike: Sequence[Case]) -> str:
    """Write ``ResNet-14, JAX, 8``: the model, and engine, variant and batch as far as they differ among its points."""
    words = [name_of(case.workload)]
    words += [engine_name(case)] if len({engine_name(other) for other in alike}) > 1 else []
    words += [name_of(case.variant)] if not case.as_published else []
    words += [str(case.batch_size)] if len({other.batch_size for other in alike}) > 1 else []
    return ", ".join(words)


def _ceiling_blocks(title: str, observations: Sequence[Observation]) -> list[Block]:
    labels = ("engine", "kind", "precision")
    latest = latest_of(observations, lambda o: (o.metric, *map(o.labels.get, labels)))
    rows = [_ceiling_row(observation) for observation in latest]
    if not rows:
        return []
    columns = (
        Column("Ceiling"),
        Column("On"),
        Column("Best", numeric=True),
        Column("Median", numeric=True),
        Column(""),
    )
    return [Table(caption=f"Ceilings measured on {title}", columns=columns, rows=tuple(rows), folded=True)]


def _ceiling_row(observation: Observation) -> tuple[Cell | str, ...]:
    name, unit = _CEILING_TITLES[observation.metric]
    precision = observation.labels.get("precision")
    labels = [observation.labels[label] for label in ("engine", "kind") if label in observation.labels]
    where = " ".join(map(name_of, labels))
    head = Cell(f"{name}, {name_of(precision)}" if precision else name)
    if not observation.values:
        return (head, where, "", "", observation.reason or "")
    ordered = sorted(observation.values, reverse=unit != "s")
    best, median = (_quantity(value, unit) for value in (ordered[0], ordered[len(ordered) // 2]))
    return (head, where, best, median, plural(len(ordered), "repeat"))


def _quantity(value: float, unit: str) -> str:
    return format_duration(value) if unit == "s" else format_quantity(value, unit)


def _energy_blocks(title: str, records: Sequence[CaseRecord]) -> list[Block]:
    rows = [row for record in records if (row := _energy_row(record)) is not None]
    if not rows:
        return []
    note = (
        "Energy is the device's own, without the rest of the machine. Board sensors err by up to "
        f"{format_percent(SENSOR_ERROR_RATIO, 0)} and differ card by card: a smaller difference between two cards is "
        "no evidence. Between precisions of one card it is the same sensor."
    )
    columns = (
        Column("Case"),
        Column("Energy per example", numeric=True),
        Column("Mean power", numeric=True),
        Column("Idle power", numeric=True),
    )
    table = Table(caption=f"Energy per example on {title}", columns=columns, rows=tuple(rows), folded=True)
    return [table, Paragraph(note, tone="muted")]


def _energy_row(record: CaseRecord) -> tuple[Cell | str, ...] | None:
    """Show the energy of the case alone: of interleaved blocks, sensors tell of all arms together."""
    sustained = record.measurement.sustained if record.measurement else None
    if sustained is None or sustained.power_w is None or sustained.energy_per_example_j is None:
        return None
    idle_w = sustained.hardware.idle_power_w if sustained.hardware is not None else {}
    idle = [watts for device, watts in idle_w.items() if (device == HOST) == (record.case.placement == "cpu")]
    per_example = format_quantity(sustained.energy_per_example_j * 1e3, "mJ")
    idle_text = format_power(sum(idle)) if idle else ""
    return (_short(record.case), per_example, format_power(sustained.power_w), idle_text)

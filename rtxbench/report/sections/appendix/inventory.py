"""List what was not measured and why, the machines, and the runs."""

from __future__ import annotations

from typing import Final

from rtxbench.hardware.differences import differences
from rtxbench.records import CaseRecord, Environment, Flag, Gpu, Observation, RatioRecord
from rtxbench.report.labels import command_line, machine_headings, plural
from rtxbench.report.parts import Block, Cell, Column, Context, Paragraph, Section, Table
from rtxbench.report.titles import machine_title
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_bytes, format_power
from rtxbench.wording import say, say_flag, say_metric

__all__ = ["machines_section", "runs_section", "unmeasured_section"]


def unmeasured_section(context: Context) -> Section | None:
    """List what was not measured, grouped by reason; what another run measured is left out. ``None``: no gap."""
    blocks: list[Block] = []
    gaps = {machine: _gaps(context, machine) for machine in context.machines}
    for machine, heading in machine_headings(context, [machine for machine in gaps if gaps[machine]]):
        rows = tuple(
            (reason, Cell(plural(len(names), "case"), note="; ".join(names)))
            for reason, names in sorted(gaps[machine].items(), key=lambda item: -len(item[1]))
        )
        caption = f"Not measured on {context.titles[machine]}"
        blocks += [*heading, Table(caption=caption, columns=(Column("Reason"), Column("What")), rows=rows)]
    lead = Paragraph("What was not measured, and why. What another run of the machine measured is left out.")
    return Section(id="not-measured", title="Skipped and failed", blocks=(lead, *blocks)) if blocks else None


def _gaps(context: Context, machine: str) -> dict[str, list[str]]:
    """Reason → what it kept from being measured in every run of the machine, each once."""
    own = [loaded for loaded in context.runs if loaded.run.environment.machine == machine]
    cases = [record for loaded in own for record in loaded.of_kind(CaseRecord)]
    observed = [record for loaded in own for record in loaded.of_kind(Observation)]
    measured = {record.case for record in cases if record.status == "measured"}
    seen = {(record.topic, record.metric) for record in observed if record.values}
    found: dict[str, dict[str, None]] = {}
    for record in cases:
        if record.status != "measured" and record.case not in measured:
            reason = f"{record.status}: {record.reason or 'no reason was recorded'}"
            found.setdefault(reason, {})[say(record.case)] = None
    for observation in observed:
        if observation.reason and (observation.topic, observation.metric) not in seen:
            what = f"{observation.topic}: {say_metric(observation.metric)}"
            found.setdefault(observation.reason, {})[what] = None
    return {reason: list(names) for reason, names in found.items()}


def machines_section(context: Context) -> Section:
    """Lay the environments of the machines side by side."""
    focus = context.machines[context.focus]
    machines = list(context.machines.values())
    if len(machines) > _MOST_COLUMNS:
        machines.sort(key=lambda machine: machine is not focus)
    blocks: list[Block] = [
        _environments(context, machines[start : start + _MOST_COLUMNS], folded=start > 0)
        for start in range(0, len(machines), _MOST_COLUMNS)
    ]
    for other in machines[:_MOST_DIFFERENCES] if len(machines) > 1 else ():
        if other is not focus:
            rows = tuple((d.name, d.first, d.second, d.why) for d in differences(focus, other))
            heads = (
                Column("Fact"),
                Column(context.titles[focus.machine]),
                Column(context.titles[other.machine]),
                Column("Why it matters"),
            )
            caption = f"What differs between {context.titles[focus.machine]} and {context.titles[other.machine]}"
            blocks.append(Table(caption=caption, columns=heads, rows=rows, folded=True))
    return Section(id="machines", title="Machines", blocks=tuple(blocks))


def _environments(context: Context, machines: list[Environment], *, folded: bool) -> Table:
    also = f": {'; '.join(context.titles[machine.machine] for machine in machines)}" if folded else ""
    return Table(
        caption=f"Hardware and software, as of each machine's latest run{also}",
        columns=(Column(""), *(Column(context.titles[machine.machine]) for machine in machines)),
        rows=tuple((label, *(cells)) for label, cells in _environment_rows(machines)),
        folded=folded,
    )


def _environment_rows(machines: list[Environment]) -> list[tuple[str, tuple[Cell | str, ...]]]:
    packages = sorted({name for machine in machines for name in (*machine.packages, *machine.libraries)})
    rows: list[tuple[str, tuple[Cell | str, ...]]] = [
        ("Fingerprint", tuple(Cell(machine.machine, mono=True) for machine in machines)),
        ("Processor", tuple(_cpu_cell(machine) for machine in machines)),
        ("GPUs", tuple(_gpu_cell(machine) for machine in machines)),
        ("Operating system", tuple(machine.operating_system or "not recorded" for machine in machines)),
        ("Virtualization", tuple(machine.virtualization or "none detected" for machine in machines)),
        ("Python", tuple(machine.python or "not recorded" for machine in machines)),
    ]
    rows += [(_LIBRARIES.get(name, name), tuple(_version(name, machine) for machine in machines)) for name in packages]
    return [*rows, ("Source commit", tuple(_commit(machine) for machine in machines))]


_LIBRARIES: Final = {
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "cuda_version": "CUDA of the build",
    "cudnn_version": "cuDNN of the build",
}
"""Name of a library in a record → what a reader calls it."""


def _version(name: str, machine: Environment) -> str:
    return machine.packages.get(name) or machine.libraries.get(name) or "not recorded"


def _cpu_cell(machine: Environment) -> Cell:
    cpu = machine.cpu
    parts = [
        plural(cpu.physical_cores, "core"),
        plural(cpu.logical_cores, "thread"),
        *([f"bound to {cpu.usable_cores} of them"] if cpu.bound else []),
        format_bytes(cpu.memory_bytes),
        *cpu.features,
    ]
    return Cell(cpu.name, note=", ".join(parts))


def _gpu_cell(machine: Environment) -> Cell:
    if not machine.gpus:
        return Cell("none", note=machine.missing.get("gpus", ""))
    return Cell(machine_title(machine), note="; ".join(_gpu_facts(gpu) for gpu in machine.gpus))


def _gpu_facts(gpu: Gpu) -> str:
    """Write one GPU's facts in one line; a missing one says why."""
    facts = [f"GPU {gpu.index}"]
    if gpu.memory_bytes is not None:
        facts.append(format_bytes(gpu.memory_bytes))
    if gpu.power_limit_w is not None:
        facts.append(f"limit {format_power(gpu.power_limit_w)}")
    for label, value in (("driver", gpu.driver), ("CUDA", gpu.cuda_driver), ("VBIOS", gpu.vbios)):
        if value is not None:
            facts.append(f"{label} {value}")
    if gpu.pcie_generation is not None and gpu.pcie_width is not None:
        facts.append(f"PCIe {gpu.pcie_generation}.0 ×{gpu.pcie_width}")
    facts.extend(f"{name.removesuffix('_w')} unknown ({why})" for name, why in sorted(gpu.missing.items()))
    return ", ".join(facts)


def _commit(machine: Environment) -> Cell:
    if machine.commit is None:
        return Cell("not recorded", note=machine.missing.get("commit", ""))
    return Cell(machine.commit, mono=True, note="with uncommitted changes" if machine.dirty else "")


_MOST_COLUMNS: Final = 5
"""Machines in one table; those of further tables open on a click."""
_MOST_DIFFERENCES: Final = 8
"""More machines than this are compared by `rtxbench diff`, two at a time."""
_RUN_COLUMNS: Final = (
    Column("Run"),
    Column("Started"),
    Column("Machine"),
    Column("Profile"),
    Column("Records", numeric=True),
    Column("Command"),
)


def runs_section(context: Context) -> Section:
    """List every results file read, with its command; a file cut short by a kill is named."""
    blocks: list[Block] = [
        Paragraph(
            f"{loaded.path.name} ends in an unfinished line: the run was stopped while it wrote. Its "
            f"{plural(len(loaded.records), 'complete record')} are used; the last one is lost.",
            tone="caution",
        )
        for loaded in context.runs
        if loaded.truncated
    ]
    blocks.append(
        Table(caption="Runs this report is made from", columns=_RUN_COLUMNS, rows=tuple(map(_run_row, context.runs)))
    )
    flags = _flag_rows(context)
    if flags:
        blocks.append(
            Table(
                caption="Cautions raised while measuring",
                columns=(Column("Caution"), Column("Weight"), Column("Records", numeric=True), Column("For example")),
                rows=flags,
            )
        )
    return Section(id="runs", title="Runs", blocks=tuple(blocks))


def _run_row(loaded: LoadedRun) -> tuple[Cell | str, ...]:
    checks, rivals = loaded.meant_for("harness"), loaded.meant_for("rival")
    counts = [
        plural(len(loaded.of_kind(CaseRecord)), "case"),
        plural(len(loaded.of_kind(RatioRecord)), "ratio"),
        plural(len(loaded.of_kind(Observation)), "observation"),
        *([plural(len(checks), "check of the instrument", "checks of the instrument")] if checks else []),
        *([f"{len(rivals)} against legacy Keras"] if rivals else []),
    ]
    run = loaded.run
    return (
        Cell(run.run_id, mono=True, note="cut short" if loaded.truncated else ""),
        run.started_at.replace("T", " ")[:16],
        machine_title(run.environment),
        run.profile,
        Cell(str(len(loaded.records)), note=", ".join(counts)),
        Cell(command_line(run), mono=True),
    )


def _flag_rows(context: Context) -> tuple[tuple[Cell | str, ...], ...]:
    """Count the records that carry each kind of flag, with one of its details."""
    flags: dict[tuple[str, str], list[Flag]] = {}
    for loaded in context.runs:
        for record in loaded.records:
            for flag in record.flags:
                flags.setdefault((flag.code, flag.severity), []).append(flag)
    return tuple(
        (
            f"{say_flag(code)[0].upper()}{say_flag(code)[1:]}",
            "voids the figure" if severity == "invalid" else "weakens it",
            str(len(all_)),
            all_[0].detail,
        )
        for (code, severity), all_ in sorted(flags.items())
    )

"""What was not measured and why, on which machines, and by which runs."""

from __future__ import annotations

from typing import Final

from rtxbench.frames import rows
from rtxbench.records import CaseRecord, Environment, Flag, Gpu, Observation, RatioRecord
from rtxbench.report.base import Block, Cell, Column, Context, Paragraph, Section, Table
from rtxbench.report.labels import command_line, machine_headings, machine_title, plural
from rtxbench.store import LoadedRun
from rtxbench.units import format_bytes

__all__ = ["machines_section", "runs_section", "unmeasured_section"]


def unmeasured_section(context: Context) -> Section | None:
    """Skipped and failed cases and observations with their reasons. ``None`` where all were measured."""
    cases = [row for row in rows(context.cases) if row["status"] != "measured"]
    observations = [row for row in rows(context.observations) if row["reason"]]
    if not cases and not observations:
        return None
    blocks: list[Block] = [
        Paragraph("A case that could not run is a result too: it stays in the records with its reason.")
    ]
    machines = {row["machine"] for row in (*cases, *observations)}
    for machine, heading in machine_headings(context, machines):
        blocks.extend(heading)
        unmeasured = {
            (row["label"], row["status"], row["reason"] or "no reason was recorded")
            for row in cases
            if row["machine"] == machine
        } | {
            (f"{row['topic']}: {row['metric']}", "not measured", row["reason"])
            for row in observations
            if row["machine"] == machine
        }
        blocks.append(
            Table(
                caption=f"Not measured on {machine_title(context.machines[machine])}",
                columns=(Column("Case"), Column("Outcome"), Column("Reason")),
                rows=tuple((Cell(label, mono=True), status, reason) for label, status, reason in sorted(unmeasured)),
            )
        )
    return Section(id="not-measured", title="Skipped and failed", blocks=tuple(blocks))


def machines_section(context: Context) -> Section:
    """The environment of each machine, side by side."""
    machines = list(context.machines.values())
    table = Table(
        caption="Hardware and software, as of each machine's latest run",
        columns=(Column(""), *(Column(machine_title(machine)) for machine in machines)),
        rows=tuple((label, *(cells)) for label, cells in _environment_rows(machines)),
    )
    blocks: list[Block] = [table]
    if len(machines) > 1:
        blocks.insert(0, Paragraph("Figures of different machines stand side by side and are never merged."))
    return Section(id="machines", title="Machines", blocks=tuple(blocks))


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
    rows += [(name, tuple(_version(name, machine) for machine in machines)) for name in packages]
    return [*rows, ("Source commit", tuple(_commit(machine) for machine in machines))]


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
    """One GPU's facts in one line; what is missing says why."""
    facts = [f"GPU {gpu.index}"]
    if gpu.memory_bytes is not None:
        facts.append(format_bytes(gpu.memory_bytes))
    if gpu.power_limit_w is not None:
        facts.append(f"limit {gpu.power_limit_w:.0f} W")
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


_RUN_COLUMNS: Final = (
    Column("Run"),
    Column("Started"),
    Column("Machine"),
    Column("Profile"),
    Column("Records", numeric=True),
    Column("Command"),
)


def runs_section(context: Context) -> Section:
    """Every results file read, with its command; a file cut short by a kill is named."""
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
                columns=(Column("Flag"), Column("Weight"), Column("Records", numeric=True), Column("For example")),
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
    """Every kind of flag with how many records carry it and one of its details."""
    flags: dict[tuple[str, str], list[Flag]] = {}
    for loaded in context.runs:
        for record in loaded.records:
            for flag in record.flags:
                flags.setdefault((flag.code, flag.severity), []).append(flag)
    return tuple(
        (
            Cell(code, mono=True),
            "voids the figure" if severity == "invalid" else "weakens it",
            str(len(all_)),
            all_[0].detail,
        )
        for (code, severity), all_ in sorted(flags.items())
    )

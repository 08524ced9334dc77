"""The front of the report: every claim's verdict at a glance, then each with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rtxbench.records import Verdict
from rtxbench.report.base import (
    Block,
    Cell,
    ClaimText,
    Column,
    Context,
    Paragraph,
    Section,
    Subheading,
    Table,
    VerdictCard,
    VerdictCards,
)
from rtxbench.report.words import anchor, machine_title, one_line
from rtxbench.units import format_ratio

__all__ = ["estimate_text", "verdicts_section"]

_KINDS: Final = (
    ("claim", "What is claimed"),
    ("finding", "Findings of these machines"),
    ("user", "Your own claims"),
)


def verdicts_section(context: Context) -> Section | None:
    """A table of claims by machine, then one card per claim and machine. ``None`` where nothing was judged."""
    if not context.verdicts:
        return None
    wholes = [verdict for verdict in context.verdicts if not verdict.subject]
    blocks: list[Block] = []
    for kind, heading in _KINDS:
        of_kind = [verdict for verdict in wholes if _kind(context, verdict.claim) == kind]
        if of_kind:
            blocks += [Subheading(heading), _overview(context, heading, of_kind)]
    blocks.append(Subheading("Each verdict with its evidence"))
    blocks.append(VerdictCards(tuple(_card(context, verdict) for verdict in _by_claim(wholes))))
    return Section(id="verdicts", title="Verdicts", blocks=(_lead(context), *blocks))


def _lead(context: Context) -> Paragraph:
    if len(context.machines) == 1:
        return Paragraph("One verdict per claim, for this machine only. Select a verdict to see its evidence.")
    return Paragraph(
        "One verdict per claim and machine; a verdict never crosses machines. Select one for its evidence."
    )


def _kind(context: Context, claim: str) -> str:
    return context.claims[claim].kind if claim in context.claims else "user"


def _by_claim(wholes: Sequence[Verdict]) -> list[Verdict]:
    order = {claim: number for number, claim in enumerate(dict.fromkeys(verdict.claim for verdict in wholes))}
    return sorted(wholes, key=lambda verdict: order[verdict.claim])


def _overview(context: Context, caption: str, wholes: Sequence[Verdict]) -> Table:
    """Claims down, machines across: state, and the estimate where there is one."""
    machines = [machine for machine in context.machines if any(v.machine == machine for v in wholes)]
    by_cell = {(verdict.claim, verdict.machine): verdict for verdict in wholes}
    rows: list[tuple[Cell | str, ...]] = []
    for claim in dict.fromkeys(verdict.claim for verdict in wholes):
        cells = [_overview_cell(by_cell.get((claim, machine))) for machine in machines]
        if len(machines) == 1 and (only := by_cell.get((claim, machines[0]))):
            cells.append(only.explanation)
        rows.append((Cell(_title(context, claim), note=claim), *cells))
    columns = [Column("Claim"), *(Column(machine_title(context.machines[machine])) for machine in machines)]
    if len(machines) == 1:
        columns.append(Column("Why"))
    return Table(caption=caption, columns=tuple(columns), rows=tuple(rows))


def _overview_cell(verdict: Verdict | None) -> Cell | str:
    if verdict is None:
        return ""
    return Cell(verdict.state, state=verdict.state, note=estimate_text(verdict), target=_anchor(verdict))


def estimate_text(verdict: Verdict) -> str:
    """``1.42× [1.40×, 1.44×], needs 1.1×`` as far as it is known."""
    parts = []
    if (estimate := verdict.estimate) is not None:
        known = estimate.low is not None and estimate.high is not None
        interval = f" [{format_ratio(estimate.low)}, {format_ratio(estimate.high)}]" if known else ""  # type: ignore[arg-type]
        parts.append(f"{format_ratio(estimate.value)}{interval}")
        if verdict.threshold_ratio is not None:
            parts.append(f"needs {format_ratio(verdict.threshold_ratio)}")
    return ", ".join(parts)


def _title(context: Context, claim: str) -> str:
    return context.claims[claim].title if claim in context.claims else claim


def _anchor(verdict: Verdict) -> str:
    return anchor(f"verdict-{verdict.claim}-{verdict.machine}")


def _card(context: Context, whole: Verdict) -> VerdictCard:
    parts = tuple(
        verdict
        for verdict in context.verdicts
        if verdict.subject and (verdict.claim, verdict.machine) == (whole.claim, whole.machine)
    )
    claim: ClaimText | None = context.claims.get(whole.claim)
    machine = context.machines.get(whole.machine)
    return VerdictCard(
        id=_anchor(whole),
        verdict=whole,
        title=_title(context, whole.claim),
        claim=one_line(claim.says) if claim else "",
        machine=machine_title(machine) if machine else whole.machine,
        parts=parts,
        measured=one_line(claim.measured) if claim else "",
        reproduce=claim.reproduce if claim else "",
        where=one_line(claim.where) if claim and whole.state == "not-measured" else "",
        sources=claim.sources if claim else (),
    )

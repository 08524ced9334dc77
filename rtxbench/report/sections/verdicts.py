"""The front of the report: every claim's verdict at a glance, then each with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rtxbench.records import Verdict
from rtxbench.report.base import (
    Block,
    Cell,
    Column,
    Context,
    Paragraph,
    Section,
    Subheading,
    Table,
    VerdictCard,
    VerdictCards,
)
from rtxbench.report.labels import anchor, estimate_text, machine_title, one_line, plural
from rtxbench.verdicts.external_evidence import statements

__all__ = ["verdicts_section"]

_UNDECIDABLE: Final = {"not-measured", "not-testable"}
"""States that no measurement on this machine stands behind."""

_KINDS: Final = (
    ("claim", "What is claimed"),
    ("finding", "What else was found"),
    ("user", "Your own claims"),
)


def verdicts_section(context: Context) -> Section | None:
    """A table of claims by machine, then one card per claim and machine. ``None`` where nothing was judged."""
    if not context.verdicts:
        return None
    cards = tuple(_card(context, group) for group in _groups(context.verdicts))
    targets = {key: card.id for card in cards for key in card.covers}
    blocks: list[Block] = []
    for kind, heading in _KINDS:
        of_kind = [v for v in context.verdicts if not v.subject and _kind(context, v.claim) == kind]
        if of_kind:
            blocks += [Subheading(heading), _overview(context, of_kind, targets)]
    blocks += [Subheading("Each verdict with its evidence"), *_evidence(cards)]
    return Section(id="verdicts", title="Verdicts", blocks=(_lead(context), *blocks))


def _evidence(cards: Sequence[VerdictCard]) -> list[Block]:
    """Cards of what was put to the test in the open, the rest folded away."""
    decided = tuple(card for card in cards if card.verdict.state not in _UNDECIDABLE)
    rest = tuple(card for card in cards if card.verdict.state in _UNDECIDABLE)
    blocks: list[Block] = [VerdictCards(decided)] if decided else []
    if rest:
        blocks.append(
            VerdictCards(rest, summary=f"{plural(len(rest), 'verdict')} without a measurement: why, and what to run")
        )
    return blocks


def _lead(context: Context) -> Paragraph:
    if len(context.machines) == 1:
        return Paragraph("One verdict per claim, for this machine only. Select a verdict to see its evidence.")
    return Paragraph(
        "One verdict per claim and machine; a verdict never crosses machines. Select one for its evidence."
    )


def _kind(context: Context, claim: str) -> str:
    return context.claims[claim].kind if claim in context.claims else "user"


def _groups(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Verdicts of whole claims, claim by claim; machines of which the same is to be said, and no figure, together."""
    groups: dict[tuple[object, ...], list[Verdict]] = {}
    with_parts = {(verdict.claim, verdict.machine) for verdict in verdicts if verdict.subject}
    order = {claim: number for number, claim in enumerate(dict.fromkeys(verdict.claim for verdict in verdicts))}
    for verdict in sorted((v for v in verdicts if not v.subject), key=lambda v: order[v.claim]):
        own = verdict.estimate is not None or (verdict.claim, verdict.machine) in with_parts
        said = (verdict.state, verdict.reason, verdict.explanation, verdict.cause, verdict.next_step)
        groups.setdefault((verdict.claim, verdict.machine if own else said), []).append(verdict)
    return list(groups.values())


def _overview(context: Context, wholes: Sequence[Verdict], targets: Mapping[tuple[str, str], str]) -> Table:
    """Claims down, machines across: state, and the estimate where there is one."""
    machines = [machine for machine in context.machines if any(v.machine == machine for v in wholes)]
    by_cell = {(verdict.claim, verdict.machine): verdict for verdict in wholes}
    rows: list[tuple[Cell | str, ...]] = []
    for claim in dict.fromkeys(verdict.claim for verdict in wholes):
        cells = [_overview_cell(by_cell.get((claim, machine)), targets) for machine in machines]
        if len(machines) == 1 and (only := by_cell.get((claim, machines[0]))):
            cells.append(only.explanation)
        rows.append((Cell(_title(context, claim), note=claim), *cells))
    columns = [Column("Claim"), *(Column(machine_title(context.machines[machine])) for machine in machines)]
    if len(machines) == 1:
        columns = [Column("Claim"), Column("Verdict"), Column("Why")]
    return Table(caption="", columns=tuple(columns), rows=tuple(rows))


def _overview_cell(verdict: Verdict | None, targets: Mapping[tuple[str, str], str]) -> Cell | str:
    if verdict is None:
        return ""
    return Cell(
        verdict.state, state=verdict.state, note=estimate_text(verdict), target=targets[verdict.claim, verdict.machine]
    )


def _title(context: Context, claim: str) -> str:
    return context.claims[claim].title if claim in context.claims else claim


def _card(context: Context, group: Sequence[Verdict]) -> VerdictCard:
    whole = group[0]
    claim = context.claims.get(whole.claim)
    return VerdictCard(
        id=anchor(f"verdict-{whole.claim}-{whole.machine}"),
        verdict=whole,
        title=_title(context, whole.claim),
        claim=one_line(claim.says) if claim else "",
        machine=_machines(context, group),
        covers=tuple((verdict.claim, verdict.machine) for verdict in group),
        parts=tuple(
            verdict
            for verdict in context.verdicts
            if verdict.subject and (verdict.claim, verdict.machine) == (whole.claim, whole.machine)
        ),
        measured=one_line(claim.measured) if claim else "",
        reproduce=claim.reproduce if claim else "",
        where=one_line(claim.where) if claim and whole.state == "not-measured" and not whole.next_step else "",
        sources=claim.sources if claim else (),
        elsewhere=statements(claim, context.runs) if claim else (),
    )


def _machines(context: Context, group: Sequence[Verdict]) -> str:
    """The machines of a card in words; nothing where the whole report is about one."""
    if len(context.machines) == 1:
        return ""
    if len(group) == len(context.machines):
        return "every machine here"
    return "; ".join(machine_title(context.machines[verdict.machine]) for verdict in group)

"""The front of the report: every claim's verdict at a glance, then each with its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from rtxbench.printable import one_line
from rtxbench.records import Verdict
from rtxbench.report.labels import estimate_text, plural
from rtxbench.report.parts import (
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
from rtxbench.report.sections.answers.summary import answer_word, card_id, figure_text
from rtxbench.report.sections.evidence.ratios import case_words
from rtxbench.units import format_ratio
from rtxbench.verdicts.external_evidence import statements

__all__ = ["verdicts_section"]

_UNDECIDABLE: Final = {"not-measured", "not-testable"}
"""States that no measurement on this machine stands behind."""

_MOST_COLUMNS: Final = 5
"""Of more machines than this the table counts the answers; each verdict has its card below."""

_KINDS: Final = (
    ("claim", "What is claimed"),
    ("finding", "What else was found"),
    ("user", "Your own claims"),
)


def verdicts_section(context: Context) -> Section | None:
    """Show each verdict with its evidence, folded under its answer; ``None`` where nothing was judged.

    Where there are several machines, a table of claims by machine comes first.
    """
    if not context.verdicts:
        return None
    groups = sorted(_groups(context.verdicts), key=lambda group: group[0].machine != context.focus)
    cards = tuple(_card(context, group) for group in groups)
    blocks: list[Block] = [_lead(context)]
    if len(context.machines) > 1:
        targets = {key: card.id for card in cards for key in card.covers}
        for kind, heading in _KINDS:
            of_kind = [v for v in context.verdicts if not v.subject and _kind(context, v.claim) == kind]
            if of_kind:
                blocks += [Subheading(heading), _overview(context, of_kind, targets)]
        blocks.append(Subheading("Each verdict with its evidence"))
    return Section(id="verdicts", title="Verdicts", blocks=(*blocks, *_evidence(cards, context)))


def _evidence(cards: Sequence[VerdictCard], context: Context) -> list[Block]:
    """Cards of what was put to the test in the open; those of machines beside it and the rest folded away."""
    rest = tuple(card for card in cards if card.verdict.state in _UNDECIDABLE)
    decided = [card for card in cards if card.verdict.state not in _UNDECIDABLE]
    shown = tuple(card for card in decided if card.verdict.machine in context.in_full)
    others = tuple(card for card in decided if card not in shown)
    blocks: list[Block] = [VerdictCards(shown)] if shown else []
    if others:
        blocks.append(VerdictCards(others, summary=f"{plural(len(others), 'verdict')} of the other machines"))
    if rest:
        blocks.append(VerdictCards(rest, summary=f"{plural(len(rest), 'question')} not tested here, and what to run"))
    return blocks


def _lead(context: Context) -> Paragraph:
    text = "Each verdict is for one machine. Click it for the measurements."
    if len(context.in_full) < len(context.machines):
        text += f" Charts and figures below are of {context.titles[context.focus]}, unless another machine is named."
    return Paragraph(text if len(context.machines) > 1 else "Click a verdict for its measurements.")


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
    """Claims down that a machine tested, machines across: the answer, and the estimate where there is one."""
    machines = [machine for machine in context.machines if any(v.machine == machine for v in wholes)]
    machines.sort(key=lambda machine: machine != context.focus)
    by_cell = {(verdict.claim, verdict.machine): verdict for verdict in wholes}
    rows: list[tuple[Cell | str, ...]] = []
    tested = [verdict for verdict in wholes if verdict.state not in _UNDECIDABLE]
    for claim in dict.fromkeys(verdict.claim for verdict in tested or wholes):
        cells = [_overview_cell(by_cell.get((claim, machine)), targets) for machine in machines[:_MOST_COLUMNS]]
        whole = [by_cell[claim, machine] for machine in machines if (claim, machine) in by_cell]
        rows.append((_title(context, claim), *cells, *([_tally(whole)] if len(machines) > _MOST_COLUMNS else ())))
    columns = (Column("Claim"), *(Column(context.titles[machine]) for machine in machines[:_MOST_COLUMNS]))
    if len(machines) > _MOST_COLUMNS:
        columns = (*columns, Column(f"All {len(machines)} machines"))
    return Table(caption="", columns=columns, rows=tuple(rows))


def _tally(verdicts: Sequence[Verdict]) -> str:
    """Write ``60 yes, 3 it depends, 37 not tested here``, the most frequent answer first."""
    return ", ".join(f"{count} {word.lower()}" for word, count in Counter(map(answer_word, verdicts)).most_common())


def _overview_cell(verdict: Verdict | None, targets: Mapping[tuple[str, str], str]) -> Cell | str:
    if verdict is None:
        return ""
    return Cell(
        answer_word(verdict),
        state=verdict.state,
        note=estimate_text(verdict),
        target=targets[verdict.claim, verdict.machine],
    )


def _title(context: Context, claim: str) -> str:
    return context.claims[claim].title if claim in context.claims else claim


def _card(context: Context, group: Sequence[Verdict]) -> VerdictCard:
    whole = group[0]
    claim = context.claims.get(whole.claim)
    plain = not context.machines[whole.machine].gpus
    return VerdictCard(
        id=card_id(whole.claim, whole.machine),
        verdict=whole,
        title=_title(context, whole.claim),
        claim=one_line(claim.says) if claim else "",
        machine=_machines(context, group),
        figure=figure_text(context, whole),
        lead=_lead_sentence(whole),
        covers=tuple((verdict.claim, verdict.machine) for verdict in group),
        parts=tuple(
            structs.replace(verdict, subject=case_words(verdict.subject, plain=plain))
            for verdict in context.verdicts
            if verdict.subject and (verdict.claim, verdict.machine) == (whole.claim, whole.machine)
        ),
        measured=one_line(claim.measured) if claim else "",
        reproduce=claim.reproduce if claim else "",
        where=one_line(claim.where) if claim and whole.state == "not-measured" and not whole.next_step else "",
        sources=claim.sources if claim else (),
        elsewhere=statements(claim, context.runs) if claim else (),
    )


def _lead_sentence(whole: Verdict) -> str:
    """Say a verdict on several comparisons in one sentence: ``No. None of 5 comparisons meets …``."""
    if whole.judged is None or whole.judged < 2 or whole.held is None:
        return ""
    of = f"of {whole.judged} comparisons"
    count = f"None {of} meets" if whole.held == 0 else f"{whole.held} {of} {'meets' if whole.held == 1 else 'meet'}"
    if whole.held == whole.judged:
        count = f"{'Both' if whole.judged == 2 else f'All {whole.judged}'} comparisons meet"
    span = " to ".join(dict.fromkeys(map(format_ratio, whole.range_ratio or ())))
    return f"{answer_word(whole)}. {count} what the claim needs{f' ({span})' if span else ''}."


def _machines(context: Context, group: Sequence[Verdict]) -> str:
    """Name the machines of a card in words; nothing where it is of the one that the page is about."""
    if len(context.machines) == 1 or (context.in_full == (group[0].machine,) and len(group) == 1):
        return ""
    if len(group) == len(context.machines):
        return "every machine here"
    return "; ".join(context.titles[verdict.machine] for verdict in group)

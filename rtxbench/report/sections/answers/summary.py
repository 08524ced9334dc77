"""The first screen: the machine, one line per question, what to do here, and whether the machine is healthy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rtxbench.diagnosis.health import HealthFinding, health_of, health_sentence
from rtxbench.records import Environment, Verdict
from rtxbench.report.labels import anchor, estimate_text, plural
from rtxbench.report.parts import (
    Answer,
    Answers,
    Block,
    Cell,
    Code,
    Column,
    Context,
    Paragraph,
    Section,
    Subheading,
    Table,
    Todos,
)
from rtxbench.report.sections.answers.todo import todos_of
from rtxbench.results.made_here import ELSEWHERE
from rtxbench.units import format_ratio

__all__ = ["WORDS", "answer_word", "answers_section", "card_id", "figure_text", "machine_facts", "tally_sentence"]

WORDS: Final = {
    "supported": "Yes",
    "refuted": "No",
    "mixed": "It depends",
    "inconclusive": "Cannot tell",
    "not-measured": "Not tested here",
    "not-testable": "Not testable",
}
"""Verdict state → what a person says."""
_LEANINGS: Final = {"likely-yes": "Likely yes", "likely-no": "Likely no"}
_MOST_UNREADABLE: Final = 3
_MOST_NAMED: Final = 3
"""Fewer machines beside the reader's are named on the first screen; more are counted."""
"""Beyond these, bad files are counted and not named: the terminal names them all."""
_ORDER: Final = ("Yes", "Likely yes", "It depends", "Likely no", "No", "Cannot tell")


def answer_word(verdict: Verdict) -> str:
    """Say a verdict in a word or two: ``Yes``, ``Likely no``, ``It depends``."""
    return _LEANINGS[verdict.leaning] if verdict.leaning is not None else WORDS[verdict.state]


def answers_section(context: Context) -> Section:
    """Answer every question for the reader's machine, then say what to do on it."""
    machine = context.focus
    environment = context.machines[machine]
    wholes = [verdict for verdict in context.verdicts if verdict.machine == machine and not verdict.subject]
    blocks: list[Block] = [*_notices(context)]
    if wholes:
        blocks += [Subheading("Is it true on this machine?"), Answers(tuple(_rows(context, wholes)))]
    todos = todos_of(context, machine)
    if todos:
        blocks += [Subheading("What to do on this machine"), Todos(todos)]
    else:
        blocks += [Subheading("What to do next"), Code("rtxbench run --profile quick")]
    blocks += _health_blocks(health_of(environment, context.runs))
    return Section(id="first", title="", blocks=tuple(blocks))


def machine_facts(environment: Environment) -> str:
    """Describe the machine in one line: ``Intel Xeon 2.50 GHz · 2 cores · no NVIDIA GPU · TensorFlow 2.21``."""
    cpu = environment.cpu
    facts = [plural(cpu.usable_cores or cpu.logical_cores, "core")]
    facts += [cpu.name] if environment.gpus else ["no NVIDIA GPU"]
    drivers = dict.fromkeys(gpu.driver for gpu in environment.gpus if gpu.driver)
    facts += [f"driver {driver}" for driver in drivers]
    names = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
    facts += [f"{name} {environment.packages[key]}" for key, name in names.items() if key in environment.packages]
    return " · ".join(facts)


def tally_sentence(context: Context) -> str:
    """Say the answers and the first thing to do in words to quote: ``RTX 4090: 4 yes, 1 no. First: …``."""
    wholes = [v for v in context.verdicts if v.machine == context.focus and not v.subject]
    words = [answer_word(verdict) for verdict in wholes]
    counted = [
        f"{words.count(word)} {word.lower()}" for word in dict.fromkeys((*_ORDER, *WORDS.values())) if word in words
    ]
    todos = todos_of(context, context.focus)
    first = f" First thing to do: {todos[0].text} ({todos[0].why})." if todos else ""
    return f"{context.titles[context.focus]}: {', '.join(counted) or 'nothing was judged'}.{first}"


def _notices(context: Context) -> list[Block]:
    blocks: list[Block] = []
    if context.foreign:
        text = (
            "None of these results is of the machine you are on: they came with the project or from others. For your "
            "own, run `rtxbench run --profile quick` (15 to 20 minutes) and make the report again."
        )
        blocks.append(Paragraph(text, "caution"))
    blocks += _namesakes(context)
    if context.unreadable:
        named = " ".join(context.unreadable[:_MOST_UNREADABLE])
        more = len(context.unreadable) - _MOST_UNREADABLE
        text = (
            f"{plural(len(context.unreadable), 'results file')} could not be read and counts for nothing here. {named}"
        )
        blocks.append(Paragraph(f"{text} And {more} more." if more > 0 else text, "caution"))
    others = [title for machine, title in context.titles.items() if machine != context.focus]
    if others:
        named = "; ".join(others) if len(others) < _MOST_NAMED else f"{len(others):,} machines"
        text = f"Beside it, for comparison: {named}."
        blocks.append(Paragraph(text, "muted"))
    if context.excerpt:
        blocks.append(Paragraph(context.excerpt, "muted"))
    return blocks


def _namesakes(context: Context) -> list[Block]:
    """Name the files that bear this machine's name and were measured elsewhere."""
    found = [run.path.name for run in context.runs if run.run.environment.machine.endswith(ELSEWHERE)]
    if not found:
        return []
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    text = (
        f"Files that bear this machine's name but were not measured here ({len(found)}): "
        f"{', '.join(found[:_MOST_NAMED])}{more}. They count as another machine's. Should they be yours (another "
        "user of this machine, a container), delete the notes of what was measured here: "
        "`~/.local/state/rtxbench/runs`."
    )
    return [Paragraph(text, "caution")]


def _rows(context: Context, wholes: Sequence[Verdict]) -> Iterable[Answer]:
    """Answered questions first, the rest grouped by why nothing can be said."""
    answered = [verdict for verdict in wholes if answer_word(verdict) in _ORDER]
    for verdict in sorted(answered, key=lambda verdict: _ORDER.index(answer_word(verdict))):
        yield Answer(
            word=answer_word(verdict),
            state=verdict.state,
            question=_title(context, verdict.claim),
            figure=figure_text(context, verdict),
            why="" if verdict.state in ("supported", "refuted") else verdict.next_step or verdict.explanation,
            target=card_id(verdict.claim, verdict.machine),
        )
    silent: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in wholes:
        if verdict not in answered:
            silent.setdefault((verdict.state, verdict.reason), []).append(verdict)
    for group in silent.values():
        titles = "; ".join(_title(context, verdict.claim) for verdict in group)
        why = _SILENT_REASONS.get(group[0].reason, group[0].explanation.partition(". ")[0].rstrip(".") + ".")
        first = group[0]
        yield Answer(word=WORDS[first.state], state=first.state, question=titles, why=why,
                     target=card_id(first.claim, first.machine))  # fmt: skip


_SILENT_REASONS: Final = {
    "no-gpu": "There is no NVIDIA GPU here.",
    "not-testable": "DLSS draws frames of games; no training framework calls it.",
}
"""Reason code → why nothing can be said, in a line."""


def card_id(claim: str, machine: str) -> str:
    """Anchor of a verdict's card."""
    return anchor(f"verdict-{claim}-{machine}")


def figure_text(context: Context, verdict: Verdict) -> str:
    """Ratios behind the answer: ``0.56× to 0.84× in 5 comparisons``, or the one interval."""
    parts = [
        part
        for part in context.verdicts
        if part.subject and (part.claim, part.machine) == (verdict.claim, verdict.machine)
    ]
    verb = "holds" if verdict.held == 1 else "hold"
    count = f"{verdict.held} of {verdict.judged} {verb}" if verdict.judged else ""
    shown = [part for part in (verdict, *parts) if part.estimate is not None]
    if verdict.range_ratio is None and shown and (verdict.estimate is not None or (verdict.judged or 0) <= 1):
        return estimate_text(shown[0])
    span = verdict.range_ratio or _range(part for part in parts if "(" not in part.subject)
    if span is not None and span[0] != span[1]:
        span_text = f"{format_ratio(span[0])} to {format_ratio(span[1])}"
        return f"{span_text}, {count}" if count else f"{span_text} in {plural(len(parts), 'comparison')}"
    if count and verdict.state == "inconclusive":
        return f"{count} so far"
    return count if count else plural(len(parts), "check") if parts else ""


def _range(parts: Iterable[Verdict]) -> tuple[float, float] | None:
    """Lowest and highest ratio of throughput among comparisons; ``None`` below two of them."""
    values = [part.estimate.value for part in parts if part.estimate is not None]
    return (min(values), max(values)) if len(values) > 1 else None


def _title(context: Context, claim: str) -> str:
    return context.claims[claim].title if claim in context.claims else claim


def _health_blocks(findings: Sequence[HealthFinding]) -> list[Block]:
    if not findings:
        return []
    marks = {"ok": "as it should be", "low": "low", "unknown": "unknown"}
    rows = tuple(
        (finding.subject, marks[finding.state], Cell(finding.text, note=finding.next_step)) for finding in findings
    )
    columns = (Column("What"), Column("State"), Column("Measured against expected"))
    table = Table(caption="Each figure and its cure (`rtxbench health`)", columns=columns, rows=rows, folded=True)
    return [Subheading("Is this machine as fast as it should be?"), Paragraph(health_sentence(findings)), table]

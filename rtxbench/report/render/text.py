"""Sections become Markdown, frames become CSV. Neither can be made to do more than show text.

Markdown's active characters are escaped, so that a hostile name is shown and not obeyed. A CSV cell that a
spreadsheet would take for a formula is preceded by an apostrophe (OWASP, *CSV injection*).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rtxbench.records import Verdict
from rtxbench.report.labels import code_spans, estimate_text, ratio_text
from rtxbench.report.parts import (
    Answers,
    Block,
    Cell,
    Code,
    Definitions,
    Figure,
    Intervals,
    Paragraph,
    Subheading,
    Table,
    Todos,
    VerdictCard,
    VerdictCards,
    View,
)
from rtxbench.report.sections.answers.summary import WORDS, answer_word
from rtxbench.units import format_ratio
from rtxbench.verdicts.wording import say_reason
from rtxbench.wording import in_words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["escape_markdown", "render_csv", "render_markdown"]

_ACTIVE: Final = re.compile(r"([\\`*\[\]|~$])")
_UNDERSCORE: Final = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINE_START: Final = re.compile(r"^(\s*)([#+\-=]|\d+[.)])(?=\s|=|-|$)")
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n＝＋－＠")


def render_markdown(title: str, views: Sequence[View], figure_folder: str) -> str:
    """Write the report as GitHub-flavoured Markdown; figures are linked as SVG under ``figure_folder``."""
    parts = [f"# {escape_markdown(title)}"]
    for view in views:
        for section in view.sections:
            parts.append(f"## {escape_markdown(section.title or view.title)}")
            parts += [_RENDERERS[type(block)](block, figure_folder) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape_markdown(text: str) -> str:
    """Write ``text`` as one line that Markdown shows as it is, its backticked pieces as code."""
    return "".join(
        _code(piece) if is_code else _escaped(in_words(piece)) for is_code, piece in code_spans(" ".join(text.split()))
    )


def _escaped(line: str) -> str:
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _UNDERSCORE.sub(r"\\_", _ACTIVE.sub(r"\\\1", line))
    return _LINE_START.sub(r"\1\\\2", line)


def _code(text: str) -> str:
    """Inline code; plain escaped text where some reader of Markdown might see markup in it."""
    line = " ".join(text.split())
    if any(character in line for character in "`\\<"):
        return _escaped(line)
    return f"`{line}`".replace("|", "\\|") if line else ""


def _paragraph(block: Any, _folder: str) -> str:
    text = escape_markdown(block.text)
    return f"> **Caution.** {text}" if block.tone == "caution" else text


def _subheading(block: Any, _folder: str) -> str:
    return f"### {escape_markdown(block.text)}"


def _code_block(block: Any, _folder: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{block.text}\n{fence}"


def _definitions(block: Any, _folder: str) -> str:
    return "\n".join(
        f"- **{escape_markdown(WORDS.get(term, term))}**: {escape_markdown(meaning)}" for term, meaning in block.items
    )


def _table(block: Any, _folder: str) -> str:
    head = "| " + " | ".join(escape_markdown(column.title) or " " for column in block.columns) + " |"
    rule = "|" + "|".join("--:" if column.numeric else "---" for column in block.columns) + "|"
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in block.rows]
    caption = [f"*{escape_markdown(block.caption)}*", ""] if block.caption else []
    return "\n".join([*caption, head, rule, *rows])


def _cell(value: Cell | str) -> str:
    cell = value if isinstance(value, Cell) else Cell(value)
    text = _code(cell.text) if cell.mono else escape_markdown(cell.text)
    if cell.state:
        text = f"**{text}**"
    if cell.origin != "measured":
        text += f" *({cell.origin})*"
    return f"{text}<br>{escape_markdown(cell.note)}" if cell.note else text


def _figure(block: Any, folder: str) -> str:
    origin = "" if block.origin == "measured" else f"**{block.origin}.** "
    return f"![{escape_markdown(block.alt)}]({folder}/{block.name}.svg)\n\n{origin}{escape_markdown(block.caption)}"


def _verdict_cards(block: Any, _folder: str) -> str:
    summary = [f"*{escape_markdown(block.summary)}*"] if block.summary else []
    return "\n\n".join([*summary, *(_card(card) for card in block.cards)])


def _card(card: VerdictCard) -> str:
    verdict = card.verdict
    lines = [
        f"#### {escape_markdown(card.title)}{_where(card)}: {answer_word(verdict).lower()}",
        "",
        escape_markdown(card.lead or verdict.explanation),
        "",
    ]
    facts = (
        ("Claim", escape_markdown(card.claim)),
        ("Estimate", escape_markdown(estimate_text(verdict))),
        ("Cause", escape_markdown(verdict.cause or "")),
        ("Next step", escape_markdown(verdict.next_step or "")),
        ("Where", escape_markdown(card.where)),
        ("Reproduce", _code(card.reproduce)),
        ("Reason", escape_markdown(say_reason(verdict.reason))),
        ("Sources", escape_markdown(" ; ".join(card.sources))),
    )
    lines += [f"- {name}: {text}" for name, text in facts if text]
    lines += [f"- Beside it: {escape_markdown(note.text)}" for note in verdict.notes]
    if card.parts:
        lines += ["", "| comparison | verdict | ratio [interval], needed |", "|---|---|---|"]
        lines += [_part(part) for part in card.parts]
    if card.elsewhere:
        lines += ["", "Known elsewhere, no part of the verdict:", ""]
        lines += [f"- *({known.origin})* {escape_markdown(known.text)}" for known in card.elsewhere]
    return "\n".join(lines)


def _where(card: VerdictCard) -> str:
    return f" ({escape_markdown(card.machine)})" if card.machine else ""


def _part(part: Verdict) -> str:
    figure = escape_markdown(estimate_text(part)) or escape_markdown(say_reason(part.reason))
    return f"| {escape_markdown(part.subject)} | **{answer_word(part).lower()}** | {figure} |"


def _answers(block: Any, _folder: str) -> str:
    lines = []
    for row in block.rows:
        figure = f" {escape_markdown(row.figure)}." if row.figure else ""
        lines.append(f"- **{row.word}**: {escape_markdown(row.question)}.{figure} {escape_markdown(row.why)}".rstrip())
    return "\n".join(lines)


def _todos(block: Any, _folder: str) -> str:
    return "\n".join(
        f"{number}. **{escape_markdown(item.text)}**: {escape_markdown(item.why)}."
        for number, item in enumerate(block.items, 1)
    )


def _intervals(block: Any, _folder: str) -> str:
    parts = [escape_markdown(f"{block.caption} {block.better}")]
    for group in block.groups:
        rows = [_interval_row(row) for row in group.rows]
        table = ["| comparison | ratio [interval] | needed | caution |", "|---|--:|--:|---|", *rows]
        parts += [f"### {escape_markdown(group.title)}", "\n".join(table)]
    return "\n\n".join(parts)


def _interval_row(row: Any) -> str:
    needed = "" if row.threshold is None else format_ratio(row.threshold)
    cells = (row.label, ratio_text(row.value, row.low, row.high), needed, row.caution)
    return "| " + " | ".join(map(escape_markdown, cells)) + " |"


_RENDERERS: Final[dict[type[Block], Callable[[Any, str], str]]] = {
    Paragraph: _paragraph,
    Subheading: _subheading,
    Code: _code_block,
    Definitions: _definitions,
    Table: _table,
    Figure: _figure,
    VerdictCards: _verdict_cards,
    Answers: _answers,
    Todos: _todos,
    Intervals: _intervals,
}


def render_csv(frame: pd.DataFrame) -> str:
    """Write a frame as CSV with a header; text that a spreadsheet would run as a formula is defused."""
    safe = frame.copy()
    for name in safe.columns:
        if safe[name].dtype == "string":
            safe[name] = safe[name].map(_defused, na_action="ignore")
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _defused(text: str) -> str:
    stripped = text.lstrip(" ")
    return f"'{text}" if stripped and stripped[0] in _FORMULA_STARTS else text

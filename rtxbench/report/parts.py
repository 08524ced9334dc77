"""Parts of a report: a `Context` goes into a section function, a `Section` of plain data comes out.

How to add a section
--------------------
1. Write a module of your own in the room of its view, ``rtxbench/report/sections/appendix/memory.py`` for example, with
   one function ``memory_section(context: Context) -> Section | None``. ``None`` means there is nothing to say about
   these results; the section is then left out of the page. Import pandas, numpy and matplotlib inside functions.
2. Add the function to a view of `rtxbench.report.sections.table`, at the place where a reader should meet it.
3. Test it as a plain function: build a `Context` (``tests/report/test_sections.py`` shows how) and assert on
   the blocks it returns. Then look at the page.

A section says nothing of HTML, Markdown or files: the modules of `rtxbench.report.render` render these blocks. All text
is plain text, in which backticks set off code; the renderers escape it, so a hostile string in a record is harmless. A
figure is a `Figure` whose ``build`` is a function of `rtxbench.report.drawing`: it draws plain data on a
`rtxbench.report.drawing.panel.Panel`, in the colours, strokes and text size of `rtxbench.report.drawing.style`, knows
no path, and is saved as SVG (as PNG, too, where asked for) under its ``name``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from rtxbench.diagnosis.facts import Diagnoser
    from rtxbench.results.store import LoadedRun
    from rtxbench.verdicts.claims import Claim
    from rtxbench.verdicts.external_evidence import Statement

from rtxbench.records import Environment, Origin, Verdict, VerdictState
from rtxbench.report.titles import machine_titles

__all__ = [
    "Answer",
    "Answers",
    "Block",
    "Cell",
    "Code",
    "Column",
    "Context",
    "Definitions",
    "Figure",
    "Interval",
    "IntervalGroup",
    "Intervals",
    "Origin",
    "Paragraph",
    "Section",
    "SectionFunction",
    "Subheading",
    "Table",
    "Todo",
    "Todos",
    "VerdictCard",
    "VerdictCards",
    "View",
    "ViewPlan",
]


_MOST_IN_FULL: Final = 2


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything a section may draw on. One object per report; sections read it and change nothing."""

    runs: tuple[LoadedRun, ...]
    """Every results file, in order of start. Its trace, if any, lies beside ``run.path``."""
    verdicts: tuple[Verdict, ...]
    claims: Mapping[str, Claim]
    """Claim id → the claim that was judged, in the order of the claims file."""
    here: str = ""
    """Slug of the machine the reader asks about; the others stand beside it."""
    foreign: bool = False
    """None of the results is of the reader's machine: they came with the project or from others."""
    unreadable: tuple[str, ...] = ()
    """The fault of each results file that was left out."""
    excerpt: str = ""
    """The larger set that the runs were chosen from; empty where these are all."""

    @property
    def focus(self) -> str:
        """The machine the first screen is about: the reader's own, else the one with the most records."""
        if self.here in self.machines:
            return self.here
        counts = dict.fromkeys(self.machines, 0)
        for loaded in self.runs:
            counts[loaded.run.environment.machine] += len(loaded.records)
        return max(counts, key=lambda machine: counts[machine])

    @property
    def in_full(self) -> tuple[str, ...]:
        """The machines that sections show one by one, the reader's first; of three or more it alone.

        The others stand side by side, in one table a section: a page that repeats itself for each machine is not read.
        """
        if len(self.machines) > _MOST_IN_FULL:
            return (self.focus,)
        return tuple(sorted(self.machines, key=lambda machine: machine != self.focus))

    @cached_property
    def diagnoser(self) -> Diagnoser:
        """Find what limits each case; built once, because reading every observation takes time."""
        from rtxbench.diagnosis.facts import Diagnoser  # here, so that the drawing processes need not load it

        return Diagnoser(self.runs)

    @cached_property
    def cases(self) -> tuple[dict[str, Any], ...]:
        """Every case as a row of plain values (`rtxbench.results.frames.case_rows`)."""
        from rtxbench.results.frames import case_rows

        return tuple(case_rows(self.runs))

    @cached_property
    def machines(self) -> dict[str, Environment]:
        """Machine slug → its environment as of its latest run, in the order the machines first appear."""
        return {loaded.run.environment.machine: loaded.run.environment for loaded in self.runs}

    @cached_property
    def titles(self) -> dict[str, str]:
        """Machine slug → its name in words; those nearly alike are told apart."""
        return machine_titles(self.machines)


@dataclass(frozen=True)
class Paragraph:
    """Running text. ``tone`` caution is drawn as a notice, muted as small print."""

    text: str
    tone: Literal["plain", "caution", "muted"] = "plain"


@dataclass(frozen=True)
class Subheading:
    """A heading within a section, for example one per machine."""

    text: str


@dataclass(frozen=True)
class Code:
    """A command line to copy."""

    text: str


@dataclass(frozen=True)
class Definitions:
    """Terms and what they mean."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """A table's column. Numbers are right-aligned in figures of equal width."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """One table cell that needs more than its text."""

    text: str
    origin: Origin = "measured"
    note: str = ""
    """Small print under the text: an interval, a reason."""
    mono: bool = False
    state: VerdictState | None = None
    """Draw the text as the badge of this verdict state."""
    target: str = ""
    """Id of the section or card on this page that the text leads to."""
    page: str = ""
    """Address of another page beside this one that the text leads to; ``target`` is then an id on that page."""
    share_ratio: float | None = None
    """Length of a bar behind the text, 0 to 1 of the cell: the value beside the longest it is compared with."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells. ``folded`` tables open on a click in HTML and always show in print and Markdown.

    An empty caption is left out: for a table right under a heading that says the same.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture: ``build`` draws it inside the report's theme and returns it.

    ``caption`` names what is drawn, the unit and what the error bars are; ``alt`` says what the picture shows to one
    who cannot see it. ``name`` is the file stem: lower case, digits and hyphens.
    """

    name: str
    build: Callable[[], Drawing]
    alt: str
    caption: str
    origin: Origin = "measured"


@dataclass(frozen=True, kw_only=True)
class VerdictCard:
    """One claim on one machine, or on several of which the same is to be said, with what a reader needs to check it."""

    id: str
    """Anchor: lower case, digits and hyphens, unique in the page."""
    verdict: Verdict
    title: str
    claim: str
    """The claim in one sentence."""
    machine: str
    """The machine, or the machines, in words."""
    figure: str = ""
    """Ratios and counts behind the answer, for the line that is always seen."""
    lead: str = ""
    """The verdict in one sentence where its explanation would list every part; the parts stand below it."""
    covers: tuple[tuple[str, str], ...] = ()
    """(claim, machine) of every verdict this card stands for."""
    parts: tuple[Verdict, ...] = ()
    """Verdicts of the comparisons the whole rests on."""
    measured: str = ""
    """The measurement that a verdict needs."""
    reproduce: str = ""
    """Command line that measures the evidence."""
    where: str = ""
    """Machine to run it on, when this one cannot."""
    sources: tuple[str, ...] = ()
    elsewhere: tuple[Statement, ...] = ()
    """Facts known beyond the machine, each with its kind: beside the verdict, never in it."""


@dataclass(frozen=True)
class VerdictCards:
    """Verdicts, each with its badge, estimate, interval, threshold, reason, cause and next step.

    With a ``summary`` they open on a click, under it.
    """

    cards: tuple[VerdictCard, ...]
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question, answered in one line. ``word`` is what a person says: yes, no, likely, it depends."""

    word: str
    state: VerdictState
    question: str
    figure: str = ""
    """Ratios, counts and ranges behind the word."""
    why: str = ""
    target: str = ""
    """Id of the evidence on this page."""


@dataclass(frozen=True)
class Answers:
    """The first screen's lines, in the order to be read."""

    rows: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Todo:
    """One thing to do on this machine, derived from its records."""

    text: str
    why: str
    target: str = ""
    """Id of the evidence on this page."""


@dataclass(frozen=True)
class Todos:
    """Things to do, the most rewarding first."""

    items: tuple[Todo, ...]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One ratio with its interval, drawn as a bar on the axis of its block."""

    label: str
    value: float
    low: float | None
    high: float | None
    threshold: float | None = None
    tone: str = ""
    """Precision or verdict state, for the colour; the label says the same in words."""
    weak: bool = False
    """Drawn hollow: no verdict could rest on it."""
    caution: str = ""
    """Small print: what weakens it."""
    facets: tuple[str, ...] = ()
    """Values by which the page's filter may choose it: model, precision, engine."""


@dataclass(frozen=True)
class IntervalGroup:
    """Ratios that answer one question, under one heading."""

    title: str
    rows: tuple[Interval, ...]
    id: str = ""
    """Anchor, where something leads here."""


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Ratios on one logarithmic axis: a line at 1×, a dashed mark at each threshold, ticks above and below.

    HTML draws them as rows that fit any width; Markdown writes them as a table.
    """

    caption: str
    groups: tuple[IntervalGroup, ...]
    better: str = "Right of 1× the first named is faster."
    spread: str = "[its interval]"
    """Meaning of the brackets behind each ratio."""


Block: TypeAlias = (
    Paragraph | Subheading | Code | Definitions | Table | Figure | VerdictCards | Answers | Todos | Intervals
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. ``id`` is its anchor: lower case, digits and hyphens, unique in the page."""

    id: str
    title: str
    blocks: tuple[Block, ...] = field(default=())

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The section's figures, in order."""
        return tuple(block for block in self.blocks if isinstance(block, Figure))


SectionFunction: TypeAlias = Callable[[Context], Section | None]


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """A view before it is made: which sections it asks."""

    id: str
    title: str
    sections: tuple[SectionFunction, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """One of the page's views. ``id`` is its anchor."""

    id: str
    title: str
    sections: tuple[Section, ...]

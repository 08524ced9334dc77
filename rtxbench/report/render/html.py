"""Sections become one self-contained HTML page: inline style, inline SVG, nothing loaded from elsewhere.

Jinja2 escapes every string. The only markup that passes unescaped is the figures' SVG, which matplotlib wrote and
escaped itself, and the search field's script. A content security policy in the page forbids anything the page does not
hold, so that even a mistake here could not reach the network: a report runs no script at all, and a page with a search
field only the one whose digest the policy names.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.records import RatioRecord
from rtxbench.report.drawing.style import PAGE_COLORS
from rtxbench.report.labels import code_spans, estimate_text, plural, ratio_text
from rtxbench.report.parts import Cell, Context, View
from rtxbench.report.render.axis import interval_axis, scale_text, strips
from rtxbench.report.render.facets import Facets, view_style
from rtxbench.report.sections.answers.summary import WORDS, answer_word, machine_facts
from rtxbench.report.titles import machine_title
from rtxbench.verdicts.wording import say_reason
from rtxbench.wording import in_words

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["STATE_MARKS", "Frame", "Search", "inline_svg", "render_html", "render_page", "search_of"]

STATE_MARKS: Final[Mapping[str, str]] = {
    "supported": "✓",
    "refuted": "✕",
    "mixed": "±",
    "inconclusive": "≈",
    "not-measured": "○",
    "not-testable": "⊘",
}
"""One sign per verdict state, so that colour is never the only difference."""


class Frame(NamedTuple):
    """Surroundings of a page's views: its head, its links and its foot."""

    title: str
    facts: str
    """One line under the title."""
    home: str
    """Address of the way back."""
    links: tuple[tuple[str, str], ...]
    """(address, words) of the navigation."""
    made_from: str
    versions: tuple[str, ...]
    """Of rtxbench, that wrote the records."""
    files: tuple[str, ...] = ()
    """Names of the files beside the page, relative to it."""


class Search(NamedTuple):
    """The index that a page's search field looks in: the one place with a script, allowed by its digest alone."""

    entries: Markup
    """JSON without a ``<``: `rtxbench.site.search` makes it."""
    script: Markup
    style: Markup
    digest: str
    """``sha256-…`` of the script, for the page's content security policy."""


def search_of(entries: bytes) -> Search:
    """Put the page's script beside an index.

    Args:
        entries: JSON as UTF-8, of which every ``<`` is written out, so that no text in it can end its element.
    """
    from markupsafe import Markup

    script = _resource("search.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    safe = entries.decode().replace("<", "\\u003c")
    return Search(Markup(safe), Markup(script), Markup(_resource("search.css")), f"sha256-{digest}")


def render_html(context: Context, views: Sequence[View], svgs: Mapping[str, str], files: Sequence[str]) -> str:
    """Render the report's page.

    Args:
        context: what the report is about.
        views: in order; the first is shown until a link leads elsewhere.
        svgs: figure name → SVG text as matplotlib wrote it.
        files: names of the files beside the page, relative to it.
    """
    machine = context.machines[context.focus]
    frame = Frame(
        title=machine_title(machine),
        facts=f"{machine_facts(machine)} · measured {_dates(context)}",
        home="#answers",
        links=tuple((f"#{view.id}", view.title) for view in views),
        made_from=_counts(context),
        versions=tuple(sorted({loaded.run.rtxbench_version for loaded in context.runs})),
        files=tuple(files),
    )
    return render_page(frame, views, svgs)


def render_page(frame: Frame, views: Sequence[View], svgs: Mapping[str, str], search: Search | None = None) -> str:
    """Render one whole page; what is not `Markup` is escaped.

    Args:
        frame: its head, links and foot.
        views: in order; the first is shown until a link leads elsewhere.
        svgs: figure name → SVG text as matplotlib wrote it.
        search: the index of a search field at the top, if the page has one.
    """
    from markupsafe import Markup

    facets = Facets(views)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            frame=frame,
            search=search,
            views=views,
            figures={name: Markup(inline_svg(svg, name)) for name, svg in svgs.items()},
            style=Markup(_resource("page.css")),
            view_style=view_style,
            facet_style=facets.style,
            facet_chips=facets.chips,
            facet_numbers=facets.numbers,
            heading_id=_heading_ids(views),
        )
    )


def _heading_ids(views: Sequence[View]) -> Callable[[str], str]:
    """Give every heading an anchor of its own, made of its words and, where taken, a number."""
    taken = {section.id for view in views for section in view.sections}

    def id_of(text: str) -> str:
        """Make an anchor of a heading's words that nothing else in the page has."""
        words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "part"
        name, number = f"h-{words}", 1
        while name in taken:
            number += 1
            name = f"h-{words}-{number}"
        taken.add(name)
        return name

    return id_of


_ROWS_BEFORE_FOLD: Final = 3
"""Rows of a chart's group that a phone shows before the rest, which opens on a tap; wider windows show all."""


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(prose=_prose, code=_code, capitalize_first=lambda text: text[:1].upper() + text[1:])
    environment.globals.update(
        marks=STATE_MARKS,
        rows_before_fold=_ROWS_BEFORE_FOLD,
        kind=_kind,
        as_cell=_as_cell,
        strips=strips,
        estimate_text=estimate_text,
        ratio_text=ratio_text,
        scale_text=scale_text,
        interval_axis=interval_axis,
        answer_word=answer_word,
        state_words=WORDS,
        say_reason=say_reason,
    )
    return environment


def _prose(text: str) -> Markup:
    """Escaped text whose backticked pieces are set as code."""
    from markupsafe import Markup, escape

    return Markup().join(_code(piece) if is_code else escape(in_words(piece)) for is_code, piece in code_spans(text))


_SEPARATOR: Final = re.compile(r"(?<=\w[/-])(?=\w)")
"""Places where a case's label or a path may break: after what separates its words, not before an option's name."""


def _code(text: str) -> Markup:
    """Escaped text set as code. A line may break where the text separates words, as in ``mlp/float32/cpu/b512``."""
    from markupsafe import Markup, escape

    return Markup("<code>{}</code>").format(Markup("<wbr>").join(map(escape, _SEPARATOR.split(text))))


def _resource(name: str) -> str:
    return (resources.files("rtxbench.report") / "templates" / name).read_text(encoding="utf-8")


def _kind(block: object) -> str:
    return type(block).__name__


def _as_cell(value: Cell | str) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)


def _dates(context: Context) -> str:
    own = [loaded.run for loaded in context.runs if loaded.run.environment.machine == context.focus]
    days = sorted(run.started_at[:10] for run in own)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _counts(context: Context) -> str:
    """Count what the report is made from, for the foot of the page."""
    numbers = (
        plural(len(context.runs), "run"),
        plural(sum(row["status"] == "measured" for row in context.cases), "case measured", "cases measured"),
        plural(sum(len(loaded.of_kind(RatioRecord)) for loaded in context.runs), "paired comparison"),
    )
    return f"Made from {', '.join(numbers)}"


_ANCHOR: Final = re.compile(r"[a-z0-9-]+")
_PREAMBLE: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_COMMENT: Final = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_SIZE: Final = re.compile(r'(<svg[^>]*?)\s+width="[^"]*"([^>]*?)>', re.DOTALL)
_HEIGHT: Final = re.compile(r'(<svg[^>]*?)\s+height="[^"]*"', re.DOTALL)


def inline_svg(svg: str, name: str) -> str:
    """Make a figure's SVG fit for the page: no preamble, ids of its own, the page's ink and paper.

    Args:
        svg: as written by matplotlib.
        name: the figure's name, which its ids are prefixed with, since one page holds many figures.

    Raises:
        ValueError: the name is no anchor; it would stand unescaped in the page.
    """
    if not _ANCHOR.fullmatch(name):
        raise ValueError(f"{name!r} is no figure name: make it with `rtxbench.report.labels.anchor`.")
    for noise in (_PREAMBLE, _METADATA, _COMMENT):
        svg = noise.sub("", svg, count=1 if noise is _PREAMBLE else 0)
    svg = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1\2>", svg, count=1), count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    for color, variable in PAGE_COLORS.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-labelledby="{name}-alt" ', 1)

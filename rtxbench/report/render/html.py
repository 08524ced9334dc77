"""Sections become one self-contained HTML page: inline style, inline SVG, no script, nothing loaded from elsewhere.

Jinja2 escapes every string. The only markup that passes unescaped is the figures' SVG, which matplotlib wrote and
escaped itself. A content security policy in the page forbids anything the page does not hold, so that even a mistake
here could not reach the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from rtxbench.records import RatioRecord
from rtxbench.report.drawing.style import PAGE_COLORS
from rtxbench.report.labels import code_spans, estimate_text, plural, ratio_text
from rtxbench.report.parts import Cell, Context, View
from rtxbench.report.render.axis import interval_axis, scale_text, strips
from rtxbench.report.render.facets import Facets, view_style
from rtxbench.report.sections.answers.summary import answer_word, machine_facts
from rtxbench.report.titles import machine_title
from rtxbench.verdicts.wording import say_reason

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["STATE_MARKS", "inline_svg", "render_html"]

STATE_MARKS: Final[Mapping[str, str]] = {
    "supported": "✓",
    "refuted": "✕",
    "mixed": "±",
    "inconclusive": "≈",
    "not-measured": "○",
    "not-testable": "⊘",
}
"""One sign per verdict state, so that colour is never the only difference."""


def render_html(context: Context, views: Sequence[View], svgs: Mapping[str, str], files: Sequence[str]) -> str:
    """Render the whole page.

    Args:
        context: what the report is about.
        views: in order; the first is shown until a link leads elsewhere.
        svgs: figure name → SVG text as matplotlib wrote it.
        files: names of the files beside the page, relative to it.
    """
    from markupsafe import Markup

    template = _environment().get_template("page.html.j2")
    machine = context.machines[context.focus]
    facets = Facets(views)
    return template.render(
        title=machine_title(machine),
        facts=machine_facts(machine),
        measured=f"measured {_dates(context)}",
        counts=_counts(context),
        views=views,
        figures={name: Markup(inline_svg(svg, name)) for name, svg in svgs.items()},
        style=Markup(_resource("page.css")),
        view_style=view_style,
        facet_style=facets.style,
        facet_chips=facets.chips,
        facet_numbers=facets.numbers,
        heading_id=_heading_ids(views),
        files=files,
        versions=sorted({loaded.run.rtxbench_version for loaded in context.runs}),
    )


def _heading_ids(views: Sequence[View]) -> Callable[[str], str]:
    """Give every heading an anchor of its own, made of its words and, where taken, a number."""
    taken = {section.id for view in views for section in view.sections}

    def id_of(text: str) -> str:
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
        say_reason=say_reason,
    )
    return environment


def _prose(text: str) -> Markup:
    """Escaped text whose backticked pieces are set as code."""
    from markupsafe import Markup, escape

    return Markup().join((_code if is_code else escape)(piece) for is_code, piece in code_spans(text))


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

"""Sections become one self-contained HTML page: inline style, inline SVG, no script, nothing loaded from elsewhere.

Jinja2 escapes every string. The only markup that passes unescaped is the figures' SVG, which matplotlib wrote and
escaped itself. A content security policy in the page forbids anything the page does not hold, so that even a mistake
here could not reach the network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.records import Verdict
from rtxbench.report.base import Cell, Context, Section, VerdictCard
from rtxbench.report.drawing.style import GRID, INK, MUTED, PAPER
from rtxbench.report.labels import code_spans, estimate_text, plural

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


def render_html(context: Context, sections: Sequence[Section], svgs: Mapping[str, str], files: Sequence[str]) -> str:
    """The whole page.

    Args:
        context: what the report is about.
        sections: in order.
        svgs: figure name → SVG text as matplotlib wrote it.
        files: names of the files beside the page, relative to it.
    """
    from markupsafe import Markup

    template = _environment().get_template("page.html.j2")
    return template.render(
        title="Training on RTX cards: claims against measurements",
        measured=f"Measured on {plural(len(context.machines), 'machine')}, {_dates(context)}",
        counts=_counts(context),
        tally=_tally(context),
        sections=sections,
        figures={name: Markup(inline_svg(svg, name)) for name, svg in svgs.items()},
        style=Markup(_resource("page.css")),
        files=files,
        versions=sorted({loaded.run.rtxbench_version for loaded in context.runs}),
    )


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
    environment.filters.update(prose=_prose, code=_code)
    environment.globals.update(
        marks=STATE_MARKS,
        kind=_kind,
        as_cell=_as_cell,
        strips=strips,
        estimate_text=estimate_text,
        scale_text=_scale_text,
    )
    return environment


def _prose(text: str) -> Markup:
    """Escaped text whose backticked pieces are set as code."""
    from markupsafe import Markup, escape

    return Markup().join((_code if is_code else escape)(piece) for is_code, piece in code_spans(text))


_SEPARATOR: Final = re.compile(r"(?<=\w[/-])(?=\w)")
"""Where a case's label or a path may break: after what separates its words, not before an option's name."""


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
    days = sorted(loaded.run.started_at[:10] for loaded in context.runs)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _counts(context: Context) -> list[tuple[str, str]]:
    """Number and noun, for the strip under the title."""
    status = context.cases["status"].value_counts()
    numbers = [
        (len(context.machines), "machine", "machines"),
        (len(context.runs), "run", "runs"),
        (int(status.get("measured", 0)), "case measured", "cases measured"),
        (len(context.ratios), "paired comparison", "paired comparisons"),
        (int(status.get("skipped", 0)), "skipped", "skipped"),
        (int(status.get("failed", 0)), "failed", "failed"),
    ]
    return [(f"{number:,}", one if number == 1 else many) for number, one, many in numbers]


def _tally(context: Context) -> list[tuple[str, int]]:
    """How many claims reached each state, over all machines, in the order of `STATE_MARKS`."""
    states = [verdict.state for verdict in context.verdicts if not verdict.subject]
    return [(state, states.count(state)) for state in STATE_MARKS if state in states]


class Strip(NamedTuple):
    """Where a verdict's interval, point and threshold lie on its card's common scale, 0 to 100."""

    low: float
    high: float
    value: float
    one: float
    threshold: float | None


def strips(card: VerdictCard) -> list[Strip | None]:
    """One strip for the whole verdict and one per part, on one logarithmic scale; ``None`` without an estimate."""
    verdicts = (card.verdict, *card.parts)
    domain = _domain(verdicts)
    return [_strip(verdict, domain) for verdict in verdicts]


def _domain(verdicts: Iterable[Verdict]) -> tuple[float, float]:
    values = [1.0]
    for verdict in verdicts:
        if verdict.estimate is not None:
            parts = (verdict.estimate.value, verdict.estimate.low, verdict.estimate.high, verdict.threshold_ratio)
            values += [part for part in parts if part is not None and part > 0]
    return math.log(min(values)) - 0.04, math.log(max(values)) + 0.04


def _strip(verdict: Verdict, domain: tuple[float, float]) -> Strip | None:
    estimate = verdict.estimate
    if estimate is None or estimate.value <= 0:
        return None
    start, end = domain

    def at(value: float | None) -> float:
        position = math.log(value if value is not None and value > 0 else estimate.value)
        return round(100 * (position - start) / (end - start), 2)

    threshold = verdict.threshold_ratio
    return Strip(
        at(estimate.low), at(estimate.high), at(estimate.value), at(1.0), None if threshold is None else at(threshold)
    )


def _scale_text(card: VerdictCard) -> str:
    start, end = _domain((card.verdict, *card.parts))
    return f"logarithmic, {math.exp(start):.2f}× to {math.exp(end):.2f}×"


_ANCHOR: Final = re.compile(r"[a-z0-9-]+")
_PREAMBLE: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_COMMENT: Final = re.compile(r"\s*<!--.*?-->", re.DOTALL)
_SIZE: Final = re.compile(r'(<svg[^>]*?)\s+width="[^"]*"([^>]*?)>', re.DOTALL)
_HEIGHT: Final = re.compile(r'(<svg[^>]*?)\s+height="[^"]*"', re.DOTALL)
_PAGE_COLORS: Final = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"}


def inline_svg(svg: str, name: str) -> str:
    """A figure's SVG made fit for the page: no preamble, ids of its own, the page's ink and paper.

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
    for color, variable in _PAGE_COLORS.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-labelledby="{name}-alt" ', 1)

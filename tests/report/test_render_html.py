"""The page escapes everything, holds everything, and draws verdicts where they belong."""

import math
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest
from msgspec import structs

from rtxbench.records import Estimate, Verdict, VerdictState
from rtxbench.report.drawing.purchase import GROUP_COLORS
from rtxbench.report.drawing.style import INK, PRECISION_COLORS, SERIES_COLORS, theme
from rtxbench.report.parts import Context, Interval, IntervalGroup, Intervals, Paragraph, Section, VerdictCard, View
from rtxbench.report.render.axis import strips
from rtxbench.report.render.html import STATE_MARKS, inline_svg, render_html
from tests.synthetic import CPU_ONLY, write_results
from tests.synthetic_report import context_of

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>{{7*7}}$\\alpha$"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return context_of(write_results(tmp_path_factory.mktemp("results"), (CPU_ONLY,), traces=False))


def card(low: float, high: float, threshold: float) -> VerdictCard:
    estimate = Estimate(value=(low * high) ** 0.5, low=low, high=high, n=5)
    verdict = Verdict(
        claim="c", machine="m", subject="", state="supported", reason="r", explanation="e",
        estimate=estimate, threshold_ratio=threshold,
    )  # fmt: skip
    return VerdictCard(id="c", verdict=verdict, title="t", claim="c", machine="m")


def test_hostile_text_in_any_block_is_shown_not_run(context: Context) -> None:
    """No tag, attribute or template expression of a record's text reaches the page as markup."""
    verdict = structs.replace(card(1, 2, 1.1).verdict, subject=HOSTILE, explanation=HOSTILE, cause=HOSTILE)
    hostile = replace(card(1, 2, 1.1), verdict=verdict, parts=(verdict,), title=HOSTILE, machine=HOSTILE)
    from rtxbench.report.parts import Cell, Code, Column, Definitions, Subheading, Table, VerdictCards

    blocks = (
        Paragraph(HOSTILE),
        Subheading(HOSTILE),
        Code(HOSTILE),
        Definitions(((HOSTILE, HOSTILE),)),
        Table(
            caption=HOSTILE, columns=(Column(HOSTILE),), rows=((Cell(HOSTILE, note=HOSTILE, mono=True),), (HOSTILE,))
        ),
        VerdictCards((hostile,)),
    )
    page = render_html(
        context, [View(id="v", title="v", sections=(Section(id="s", title=HOSTILE, blocks=blocks),))], {}, ()
    )
    assert "<script" not in page
    assert "<img" not in page
    assert "{{7*7}}" in page
    assert "49$" not in page


def test_a_label_breaks_between_its_words_and_an_option_nowhere(context: Context) -> None:
    """A line may break after a slash or hyphen between two words, and what is around the break is still escaped."""
    from rtxbench.report.parts import Cell, Column, Table

    rows = ((Cell("mlp-wide/float32/cpu/b64", mono=True), "run `rtxbench trace --json a/b<br>`"),)
    table = Table(caption="", columns=(Column("Case"), Column("How")), rows=rows)
    page = render_html(
        context, [View(id="v", title="v", sections=(Section(id="s", title="t", blocks=(table,)),))], {}, ()
    )
    assert "<code>mlp-<wbr>wide/<wbr>float32/<wbr>cpu/<wbr>b64</code>" in page
    assert "<code>rtxbench trace --json a/<wbr>b&lt;br&gt;</code>" in page


def test_the_page_names_nothing_outside_itself(context: Context) -> None:
    """No address, script or style sheet is loaded; the policy forbids it besides."""
    page = render_html(
        context,
        [View(id="v", title="v", sections=(Section(id="s", title="t", blocks=(Paragraph("x"),)),))],
        {},
        ("report.md",),
    )
    assert "default-src 'none'" in page
    assert "base-uri 'none'; form-action 'none'" in page
    assert not re.findall(r"<script|<link(?! rel=\"icon\" href=\"data:,\")|@import|src=", page)


def test_a_drawn_figure_takes_the_pages_colours_and_its_own_ids() -> None:
    """Ink becomes the page's ink, and two figures on one page share no id."""
    svg = f'<?xml version="1.0"?>\n<svg height="5pt" width="4pt" viewBox="0 0 4 5"><g id="axes_1" style="fill: {INK}"/>'
    svg += '<use href="#axes_1" clip-path="url(#axes_1)"/></svg>'
    text = inline_svg(svg, "one")
    assert text.startswith('<svg role="img" aria-labelledby="one-alt" viewBox="0 0 4 5">')
    assert 'id="one-axes_1"' in text
    assert 'href="#one-axes_1"' in text
    assert "url(#one-axes_1)" in text
    assert "var(--ink)" in text
    assert INK not in text


def test_a_figure_name_that_is_no_anchor_is_refused() -> None:
    """Names stand unescaped in the page, so that only an anchor's letters may be in them."""
    with pytest.raises(ValueError, match="no figure name"):
        inline_svg("<svg/>", 'x"><meta')


def test_a_dollar_sign_in_a_name_is_no_mathematics() -> None:
    """Matplotlib would fail on an unfinished formula in a hostile name; the theme draws it as text."""
    import io

    from rtxbench.report.drawing.trials import DotRow, dots

    with theme():
        figure = dots([DotRow(r"<b>$\foo$", (1.0, 1.1), "#0072b2")], r"$\frac{")
        svg = io.StringIO()
        figure.savefig(svg, format="svg")
    assert "&lt;b&gt;$\\foo$" in svg.getvalue()


def test_strips_place_interval_and_threshold_in_order() -> None:
    """On a card's scale: 1, then the threshold, then the interval, all between 0 and 100."""
    drawn = strips(card(1.7, 1.9, 1.1))[0]
    assert drawn is not None
    assert drawn.threshold is not None
    assert 0 <= drawn.one < drawn.threshold < drawn.low < drawn.value < drawn.high <= 100


def test_a_verdict_without_estimate_has_no_strip() -> None:
    """What was not measured is not drawn."""
    unmeasured = replace(card(1, 2, 1.1), verdict=structs.replace(card(1, 2, 1.1).verdict, estimate=None))
    assert strips(unmeasured) == [None]


def test_every_state_has_a_sign_and_a_colour() -> None:
    """A state is told by its sign as well as by colour, in the page's style too."""
    assert set(STATE_MARKS) == set(get_args(VerdictState))
    assert len(set(STATE_MARKS.values())) == len(STATE_MARKS)
    style = (Path(__file__).parents[2] / "rtxbench/report/templates/page.css").read_text(encoding="utf-8")
    assert all(f".badge.{state}" in style for state in STATE_MARKS)


def test_every_colour_of_a_figure_can_be_seen_on_light_and_on_dark_paper() -> None:
    """Colours of precisions and series become variables of the page, each at least 3 : 1 against its paper."""
    style = (Path(__file__).parents[2] / "rtxbench/report/templates/page.css").read_text(encoding="utf-8")
    light, dark = style.split("prefers-color-scheme: dark")[:2]
    for sheet, paper in ((light, "#ffffff"), (dark.split("* {")[0], "#12161d")):
        colors = dict(re.findall(r"(--c-[a-z0-9]+): (#[0-9a-f]{6})", sheet))
        assert len(colors) == 8
        assert {name: value for name, value in colors.items() if contrast(value, paper) < 3} == {}
    drawn = inline_svg("<svg>" + "".join({*SERIES_COLORS, *PRECISION_COLORS.values()}) + "</svg>", "one")
    assert "#" not in drawn


def test_a_phone_folds_what_follows_the_first_rows_and_nothing_is_lost(context: Context) -> None:
    """Every ratio is on the page once; a group one row longer than the limit is not worth a fold."""

    def page(count: int) -> str:
        rows = tuple(Interval(label=f"pair {number}!", value=1.1, low=1.0, high=1.2) for number in range(count))
        block = Intervals(caption="", groups=(IntervalGroup("Which?", rows),))
        view = View(id="evidence", title="Evidence", sections=(Section(id="one", title="One", blocks=(block,)),))
        return render_html(context, (view,), {}, ())

    long = page(9)
    assert [long.count(f"pair {number}!") for number in range(9)] == [1] * 9
    first, rest = long.split('<details class="more"><summary>6 more')
    assert (first.count("!</th>"), rest.count("!</th>")) == (3, 6)
    assert '<details class="more"' not in page(4)


def test_generations_of_cards_are_told_apart_by_colour_on_light_and_on_dark_paper() -> None:
    """Any two generations lie at least 40 apart in CIELAB (2.3 is just visible), in the page's own colours."""
    style = (Path(__file__).parents[2] / "rtxbench/report/templates/page.css").read_text(encoding="utf-8")
    light, dark = style.split("prefers-color-scheme: dark")[:2]
    variables = {name: re.findall(r"var\((--[a-z0-9-]+)\)", inline_svg(f"<svg>{color}</svg>", "one"))[0]
                 for name, color in GROUP_COLORS.items()}  # fmt: skip
    for sheet in (light, dark.split("* {")[0]):
        values = dict(re.findall(r"(--c-[a-z0-9]+): (#[0-9a-f]{6})", sheet))
        colors = {name: lab(values[variable]) for name, variable in variables.items()}
        cards = [name for name in colors if name.startswith("GeForce")]
        near = [(a, b) for a, b in combinations(cards, 2) if math.dist(colors[a], colors[b]) < 40]
        assert near == []
        assert min(math.dist(colors[a], colors[b]) for a, b in combinations(colors, 2)) > 20


def lab(color: str) -> tuple[float, float, float]:
    """An sRGB colour in CIELAB (D65)."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
    )
    x, y, z = (value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116 for value in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""

    def luminance(color: str) -> float:
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)

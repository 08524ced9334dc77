"""One style: no figure has a way, a colour or a size of its own."""

import re
from pathlib import Path

from rtxbench.report.drawing.style import FONT, PAGE_COLORS, TEXT_PT
from rtxbench.report.render.html import inline_svg
from tests.report.test_drawing_pool import drawn

PACKAGE = Path(__file__).parents[2] / "rtxbench"
DRAWING = PACKAGE / "report" / "drawing"


def test_figures_are_drawn_in_one_room() -> None:
    """No module outside of it imports matplotlib, but for the name of the type that it returns."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.parent != DRAWING:
            lines = re.findall(r"^.*(?:from|import) matplotlib.*$", path.read_text(encoding="utf-8"), re.MULTILINE)
            found += [line for line in lines if line != "    from matplotlib.figure import Figure as Drawing"]
    assert found == []


def test_only_the_sheet_draws_and_only_the_style_has_colours_and_sizes() -> None:
    """Beside `canvas` no module of the room makes an artist, and beside `style` none writes a colour or a text size."""
    for path in DRAWING.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name not in ("canvas.py", "pool.py"):
            assert not re.findall(r"add_artist|add_subplot|subplots|figure\.text\(|pyplot", text), path
        if path.name != "style.py":
            assert not re.findall(r'"#[0-9a-f]{6}"|fontsize|size=\d', text), path


def test_every_word_has_one_size_and_every_colour_a_variable_of_the_page() -> None:
    """Seen in a drawn figure: one size of text in its one font, and no colour that a dark page would not replace."""
    svg = drawn()["first"].svg
    # matplotlib 3.9 writes one property, `font`.
    fonts = re.findall(r"font(?:-size)?: ([0-9.]+px)(?:; font-family:)? ('[^']+')", svg)
    assert set(fonts) == {(f"{TEXT_PT}px", f"'{FONT}'")}
    used = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert used
    assert used <= PAGE_COLORS.keys()
    assert not re.findall(r"#[0-9a-f]{6}\b", inline_svg(svg, "first"))

"""Scales and panels: values at their places, round numbers named."""

import pytest
from matplotlib.text import Text

from rtxbench.report.drawing.canvas import Marker, Sheet, text_width_in
from rtxbench.report.drawing.panel import Panel, chart, linear_scale, log_scale, name_scale, names_width_in
from rtxbench.report.drawing.placing import Box
from rtxbench.report.drawing.style import PAGE_WIDTH_IN, theme


def test_a_scale_names_round_numbers_within_its_ends() -> None:
    """Linear and logarithmic: no tick beyond an end, no more than asked for, a true minus sign."""
    assert [value for value, _ in linear_scale(0, 410).ticks] == [0, 100, 200, 300, 400]
    assert [name for _, name in linear_scale(-2.4, 2.4).ticks] == ["−2", "−1", "0", "1", "2"]
    assert [value for value, _ in log_scale(0.9, 120).ticks] == [1, 2, 5, 10, 20, 50, 100]
    assert [value for value, _ in log_scale(1e-9, 1e9, count=4).ticks] == pytest.approx([1e-9, 1e-4, 1e1, 1e6])
    assert [value for value, _ in log_scale(3, 40, ticks=[2, 4, 8, 16, 32, 64]).ticks] == [4, 8, 16, 32]


def test_a_panel_places_values_between_its_edges() -> None:
    """Ends lie on the edges, equal factors are equal lengths on a logarithmic scale, and rows run downwards."""
    panel = Panel(Sheet(3.0), Box(1.0, 0.5, 5.0, 2.5), log_scale(1, 10_000), linear_scale(0, 10))
    assert panel.at(1, 0) == (1.0, 2.5)
    assert panel.at(10_000, 10) == (5.0, 0.5)
    assert panel.at(10, 5) == pytest.approx((2.0, 1.5))
    rows = Panel(Sheet(3.0), Box(0, 0, 1, 2), linear_scale(0, 1), name_scale(["first", "second"], downwards=True))
    assert [rows.at(0, place)[1] for place in (0, 1)] == [0.5, 1.5]


def test_a_chart_keeps_every_word_on_the_sheet() -> None:
    """The panel leaves room for the names of its rows; one that is too long is cut in its middle, not at the edge."""
    long = "RTX PRO 6000 Blackwell Max-Q Workstation Edition with a name that never ends"
    with theme():
        panel = chart(
            1.0, linear_scale(0, 1), name_scale(["short", long], downwards=True), "x", title="a title", axis="unit, %",
            legend=[(f"entry {number}", Marker("#0072b2")) for number in range(14)],
        )  # fmt: skip
        texts = {text.get_text() for text in panel.sheet.figure.findobj(Text)}
    assert {"short", "a title", "unit, %", "entry 13"} <= texts
    (cut,) = (text for text in texts if "…" in text)
    assert cut.startswith("RTX PRO 6000") and cut.endswith("ends")
    assert text_width_in(cut) < panel.box.left == names_width_in(name_scale([long]))
    assert panel.box.right <= PAGE_WIDTH_IN
    assert 0 < panel.box.top < panel.box.bottom < panel.sheet.height_in

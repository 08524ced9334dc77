"""The pages of the first level."""

from rtxbench.report.drawing.pool import draw
from rtxbench.site.overview import HistoryData, history_body
from rtxbench.site.rows import Month, Quantiles


def test_history_is_drawn_from_the_second_month_with_a_comparison() -> None:
    """A month in which nobody came back has no ratio, and one ratio alone is no line."""
    ratio = Quantiles(0.9, 0.95, 1.02, 1.1, 1.2)
    months = (Month("2026-01", 3, 90, None, 0), Month("2026-02", 3, 80, ratio, 2), Month("2026-03", 1, 9, ratio, 1))
    (section,) = history_body(HistoryData(months)).sections
    (figure,) = section.figures
    assert "2026-03" in draw(figure.build).svg
    (short,) = history_body(HistoryData(months[:2])).sections
    assert short.figures == ()

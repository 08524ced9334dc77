"""The roofline: every step by its name, and nothing beyond the panel."""

from matplotlib.text import Text

from rtxbench.report.drawing.roofline import RooflinePoint, draw_roofline
from rtxbench.report.drawing.style import theme


def test_every_point_of_the_roofline_has_its_name_beside_it_and_there_is_no_legend() -> None:
    """As many names as points, each a text of the drawing; precisions are named at their roofs alone."""
    points = [RooflinePoint(f"net {number}", "float32", 1.0 + number, 1e10 * (1 + number)) for number in range(6)]
    with theme():
        texts = [text.get_text() for text in draw_roofline(points, {"float32": 2e12}, 1e11).findobj(Text)]
    assert [text for text in texts if text.startswith("net ")] == [point.label for point in points]
    assert [text for text in texts if "float32" in text] == ["float32 2.00 TFLOP/s"]

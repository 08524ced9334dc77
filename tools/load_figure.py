"""Draw the load curve of docs/reliability.md from what `rtxbench selftest load --json` printed.

    python -m tools.load_figure docs/load-curve.jsonl docs/images/load-curve.svg

Processor time and peak memory against the number of records, both on logarithmic axes.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from rtxbench.report.drawing.canvas import Marker, Sheet, legend_height_in, short_number
from rtxbench.report.drawing.panel import Panel, log_scale
from rtxbench.report.drawing.placing import Box
from rtxbench.report.drawing.style import SERIES_COLORS, save_figure

__all__ = ["main"]

_LINES: Final = {
    ("claims", "lines"): "claims, JSON lines",
    ("report", "lines"): "report, JSON lines",
    ("report", "tables"): "report, Parquet",
    ("query", "tables"): "query, Parquet",
}


def main() -> None:
    """Read the points and write the figure."""
    source, target = map(Path, sys.argv[1:3])
    points = [json.loads(line) for line in source.read_text().splitlines()]
    save_figure(partial(_load_figure, points), target)


def _load_figure(points: Sequence[Mapping[str, Any]]) -> Figure:
    legend = [(name, Marker(color)) for color, name in zip(SERIES_COLORS, _LINES.values(), strict=False)]
    top = legend_height_in(legend) + 0.34
    sheet = Sheet(top + 2.9)
    sheet.legend(legend)
    for left, field, scale, title in (
        (0.6, "cpu_s", 1.0, "processor time, s"),
        (4.4, "peak_bytes", 2**-20, "largest process, MiB"),
    ):
        lines = [
            sorted((p["records"], scale * p[field]) for p in points if (p["command"], p["form"]) == key)
            for key in _LINES
        ]
        rates = [rate for line in lines for _, rate in line]
        counts = [count for line in lines for count, _ in line]
        records = log_scale(min(counts) / 1.3, max(counts) * 1.3, ticks=[1e3, 1e4, 1e5, 1e6, 1e7], text=short_number)
        values = log_scale(min(rates) / 1.2, max(rates) * 1.2, count=8, text="{:,g}".format)
        panel = Panel(sheet, Box(left, top, left + 3.0, top + 2.4), records, values)
        panel.frame("xy", title=title, axis="records")
        for color, line in zip(SERIES_COLORS, lines, strict=False):
            if line:
                panel.line(line, color)
                panel.marks(line, Marker(color))
    return sheet.figure


if __name__ == "__main__":
    main()

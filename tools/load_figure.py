"""Draw the load curve of docs/reliability.md from what `rtxbench selftest load --json` printed.

    python -m tools.load_figure docs/load-curve.jsonl docs/images/load-curve.svg

Processor time and peak memory against the number of records, both on logarithmic axes.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from matplotlib.ticker import FuncFormatter, NullFormatter

from rtxbench.report.drawing.style import GRID, MUTED, SERIES_COLORS, legend_above, new_figure, theme

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
    with theme():
        figure = new_figure(3.4)
        panels: Any = figure.subplots(1, 2)
        for axes, field, scale, title in (
            (panels[0], "cpu_s", 1.0, "processor time, s"),
            (panels[1], "peak_bytes", 2**-20, "largest process, MiB"),
        ):
            for color, (key, name) in zip(SERIES_COLORS, _LINES.items(), strict=False):
                own = sorted((p["records"], p[field] * scale) for p in points if (p["command"], p["form"]) == key)
                if own:
                    axes.plot(*zip(*own, strict=True), marker="o", color=color, label=name)
            axes.set(xscale="log", yscale="log", xlabel="records", title=title)
            axes.set_xticks([1e3, 1e4, 1e5, 1e6, 1e7], ["1 k", "10 k", "100 k", "1 M", "10 M"])
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(visible=True, color=GRID)
            axes.tick_params(colors=MUTED)
        legend_above(figure, *panels[0].get_legend_handles_labels())
        figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()

"""Small pieces of text that several sections need: names of machines, labels, intervals."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import PurePath

from rtxbench.records import Estimate, Run, Verdict
from rtxbench.report.parts import Block, Context, Subheading
from rtxbench.units import format_count, format_percent, format_ratio

__all__ = [
    "anchor",
    "code_spans",
    "command_line",
    "estimate_text",
    "interval_text",
    "machine_headings",
    "plural",
    "ratio_text",
    "ratio_words",
]


def machine_headings(context: Context, wanted: Collection[str]) -> Iterator[tuple[str, tuple[Block, ...]]]:
    """Yield each wanted machine that is shown in full (`Context.in_full`) with its heading.

    The page's title names the reader's machine, so it has a heading only where another is shown in full beside it.
    Where it has nothing to show, the wanted machine of the most recent run stands for the others.
    """
    shown = context.in_full
    if not any(machine in wanted for machine in shown):
        shown = tuple(machine for machine in reversed(context.machines) if machine in wanted)[:1]
    for machine in shown:
        if machine in wanted:
            named = len(context.in_full) > 1 or machine != context.focus
            yield machine, (Subheading(context.titles[machine]),) if named else ()


def plural(count: int, singular: str, several: str | None = None) -> str:
    """Write ``1 case``, ``3 cases``, ``2 launches``."""
    return f"{format_count(count)} {singular if count == 1 else several or singular + 's'}"


def interval_text(low: float | None, high: float | None, confidence: float | None) -> str:
    """Write ``95 % interval 1.81 to 1.85``, or why there is none."""
    if low is None or high is None or confidence is None:
        return "no interval"
    return f"{format_percent(confidence, None)} interval {_plain(low)} to {_plain(high)}"


def anchor(text: str) -> str:
    """Make an id, link target and file stem of lower case ASCII letters, digits and hyphens, one per text.

    Text that had to be changed gets a digest, so that ``a.b`` and ``a-b`` of two strangers' files stay two anchors.
    """
    safe = "".join(c if c.isascii() and (c.islower() or c.isdigit()) else "-" for c in text)[:80]
    return safe if safe == text else f"{safe}-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def code_spans(text: str) -> list[tuple[bool, str]]:
    """Cut ``text`` at its backticks into (whether this piece is code, the piece)."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # an unpaired backtick is just a character
        return [(False, text)]
    return [(number % 2 == 1, piece) for number, piece in enumerate(pieces) if piece]


def ratio_text(value: float, low: float | None, high: float | None) -> str:
    """Write ``1.83× [1.81, 1.85]``, with a third decimal where two would hide the interval or the value."""
    narrow = low is not None and high is not None and high - low < 0.02
    digits = 3 if narrow or value < 0.1 else 2 if value < 10 else 1
    interval = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}×{interval}"


def ratio_words(estimate: Estimate) -> str:
    """Write an estimated ratio with its interval, as `ratio_text` does."""
    return ratio_text(estimate.value, estimate.low, estimate.high)


def command_line(run: Run) -> str:
    """Write the command that made a run as one would type it: without the folder the program lies in."""
    program, *arguments = run.command or ("",)
    path = PurePath(program)
    started_as = ["python", "-m", path.parent.name or "rtxbench"] if path.name == "__main__.py" else [path.name]
    return shlex.join([*started_as, *arguments])


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:,.4g}"


def estimate_text(verdict: Verdict) -> str:
    """Write ``1.42× [1.40, 1.44], needs 1.10×`` as far as it is known."""
    estimate = verdict.estimate
    if estimate is None:
        return ""
    needs = "" if verdict.threshold_ratio is None else f", needs {format_ratio(verdict.threshold_ratio)}"
    return ratio_words(estimate) + needs

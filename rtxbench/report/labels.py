"""Small pieces of text that several sections need: names of machines, labels, intervals."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePath
from typing import Any, Final

from rtxbench.placement import is_functional_check
from rtxbench.records import Environment, Run, Verdict
from rtxbench.report.base import Block, Context, Subheading
from rtxbench.units import format_ratio

__all__ = [
    "anchor",
    "code_spans",
    "command_line",
    "device_title",
    "distinguishing_labels",
    "estimate_text",
    "interval_text",
    "machine_headings",
    "machine_title",
    "plural",
    "ratio_text",
]


def machine_title(environment: Environment) -> str:
    """A machine in a few words: its GPUs if it has any, else its processor; and what of it could be used."""
    names = [gpu.name for gpu in environment.gpus]
    cpu = environment.cpu
    cores = f"{cpu.usable_cores} of {cpu.logical_cores} cores" if cpu.bound else ""
    if not names:
        return f"{cpu.name} ({', '.join(filter(None, ('CPU only', cores)))})"
    counted = (f"{names.count(name)}× {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names))
    return " + ".join(counted) + (f" ({cores})" if cores else "")


def device_title(environment: Environment, placement: str, device_count: int) -> str:
    """Name what a case really ran on, in short: ``RTX 4090`` for one card of two, ``2× RTX 4090`` for both."""
    if placement == "cpu" or is_functional_check(placement) or not environment.gpus:
        return _without_maker(environment.cpu.name)
    names = list(dict.fromkeys(gpu.name for gpu in environment.gpus[:device_count]))
    counted = f"{device_count}× " if device_count > 1 and len(names) == 1 else ""
    return counted + " + ".join(_without_maker(name) for name in names)


def _without_maker(name: str) -> str:
    return re.sub(r"\((?:R|TM|C)\)|\b(?:NVIDIA|GeForce|Processor|CPU)\b|@.*", "", name).strip() or name


def machine_headings(context: Context, wanted: Collection[str]) -> Iterator[tuple[str, tuple[Block, ...]]]:
    """Yield each wanted machine, the reader's first, with its heading; none where the report has only one machine."""
    several = len(context.machines) > 1
    for machine in sorted(context.machines, key=lambda machine: machine != context.focus):
        if machine in wanted:
            yield machine, (Subheading(machine_title(context.machines[machine])),) if several else ()


def plural(count: int, singular: str, several: str | None = None) -> str:
    """``1 case``, ``3 cases``, ``2 launches``."""
    return f"{count:,} {singular if count == 1 else several or singular + 's'}"


def interval_text(low: float | None, high: float | None, confidence: float | None) -> str:
    """``95 % interval 1.81 to 1.85``, or why there is none."""
    if low is None or high is None or confidence is None:
        return "no interval"
    return f"{confidence * 100:.3g} % interval {_plain(low)} to {_plain(high)}"


def anchor(text: str) -> str:
    """An id, link target and file stem: lower case ASCII letters, digits and hyphens only, different for every text.

    Text that had to be changed gets a digest, so that ``a.b`` and ``a-b`` of two strangers' files stay two anchors.
    """
    safe = "".join(c if c.isascii() and (c.islower() or c.isdigit()) else "-" for c in text)[:80]
    return safe if safe == text else f"{safe}-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def code_spans(text: str) -> list[tuple[bool, str]]:
    """``text`` cut at its backticks: (whether this piece is code, the piece)."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # an unpaired backtick is just a character
        return [(False, text)]
    return [(number % 2 == 1, piece) for number, piece in enumerate(pieces) if piece]


def ratio_text(value: float, low: float | None, high: float | None) -> str:
    """``1.83× [1.81, 1.85]``, with a third decimal where the interval is too narrow for two."""
    digits = 3 if low is not None and high is not None and high - low < 0.02 else 2 if value < 10 else 1
    interval = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}×{interval}"


def command_line(run: Run) -> str:
    """The command that made a run, as one would type it: without the folder the program lies in."""
    program, *arguments = run.command or ("",)
    path = PurePath(program)
    started_as = ["python", "-m", path.parent.name or "rtxbench"] if path.name == "__main__.py" else [path.name]
    return shlex.join([*started_as, *arguments])


_AXIS_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "compiler": lambda value: "" if value == "none" else value,
    "device_count": lambda value: "" if value == 1 else f"{value} devices",
    "batch_size": lambda value: f"batch {value}",
    "variant": lambda value: value or "",
}


def distinguishing_labels(
    cases: Sequence[Mapping[str, Any]], axes: Sequence[str], always: Collection[str] = ()
) -> tuple[tuple[str, ...], list[str]]:
    """Name what the cases share, once, and for each case only what sets it apart.

    Args:
        cases: rows of the cases frame.
        axes: columns to look at, in the order they are named.
        always: columns that every label names, shared or not.

    Returns:
        (words for the shared values, one label per case).
    """
    varying = [axis for axis in axes if axis in always or len({case[axis] for case in cases}) > 1]
    shared = [_word(axis, cases[0][axis]) for axis in axes if axis not in varying]
    labels = [" · ".join(filter(None, (_word(axis, case[axis]) for axis in varying))) for case in cases]
    return tuple(filter(None, shared)), labels


def _word(axis: str, value: Any) -> str:
    return _AXIS_WORDS.get(axis, str)(value)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:,.4g}"


def estimate_text(verdict: Verdict) -> str:
    """``1.42× [1.40, 1.44], needs 1.10×`` as far as it is known."""
    estimate = verdict.estimate
    if estimate is None:
        return ""
    needs = "" if verdict.threshold_ratio is None else f", needs {format_ratio(verdict.threshold_ratio)}"
    return ratio_text(estimate.value, estimate.low, estimate.high) + needs

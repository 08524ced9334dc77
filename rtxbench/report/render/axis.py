"""Place marks on a chart of ratios: a logarithmic axis from 0 to 100 %, shared by all rows of a block."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from rtxbench.records import Verdict
from rtxbench.report.parts import Interval, Intervals, VerdictCard

__all__ = ["Axis", "Strip", "Tick", "interval_axis", "scale_text", "strips"]

_REACH: Final = 1.6
"""An interval is drawn as far as this factor beyond the outermost point; one wide interval must not shrink the rest."""


class Strip(NamedTuple):
    """Positions of an interval, its point and its threshold, 0 to 100."""

    low: float
    high: float
    value: float
    one: float
    threshold: float | None


class Tick(NamedTuple):
    """A round ratio on the axis, 0 to 100."""

    at: float
    text: str


class Axis(NamedTuple):
    """Ticks and one strip per row, in the order of the rows."""

    ticks: tuple[Tick, ...]
    strips: tuple[Strip | None, ...]


class _Domain(NamedTuple):
    """Logarithms of the axis's ends."""

    start: float
    end: float

    def at(self, ratio: float) -> float:
        """Place a ratio, 0 to 100; what lies beyond an end is put at it."""
        share = (math.log(ratio) - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 2)


def interval_axis(block: Intervals) -> Axis:
    """Lay out all rows of a block on one axis."""
    rows = [row for group in block.groups for row in group.rows]
    points = [m for row in rows for m in (row.value, row.threshold, 1.0) if m is not None and m > 0]
    ends = [end for row in rows for end in (row.low, row.high) if end is not None and end > 0]
    least = max(min([*points, *ends], default=1.0), min(points, default=1.0) / _REACH)
    greatest = min(max([*points, *ends], default=1.0), max(points, default=1.0) * _REACH)
    domain = _Domain(math.log(least / 1.05), math.log(greatest * 1.05))
    return Axis(tuple(_ticks(domain)), tuple(_row_strip(row, domain) for row in rows))


def _row_strip(row: Interval, domain: _Domain) -> Strip | None:
    return _strip(row.value, row.low, row.high, row.threshold, domain)


def _ticks(domain: _Domain) -> Iterable[Tick]:
    """Round ratios inside the axis, at most five, so that they fit a phone."""
    least, greatest = math.exp(domain.start), math.exp(domain.end)
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0):
        count = math.floor(greatest / step) - math.ceil(least / step) + 1
        if greatest / least < 3 and count <= 5:
            values = [step * number for number in range(math.ceil(least / step), math.floor(greatest / step) + 1)]
            break
    else:
        powers = range(math.floor(math.log10(least)), math.ceil(math.log10(greatest)) + 1)
        mantissas = (1, 2, 5) if greatest / least < 30 else (1,)
        values = [m * 10.0**p for p in powers for m in mantissas if least <= m * 10.0**p <= greatest]
    return [Tick(domain.at(value), f"{value:.4g}×") for value in values]


def strips(card: VerdictCard) -> list[Strip | None]:
    """Draw a strip for the whole verdict and one per part, on one scale; ``None`` without an estimate."""
    verdicts = (card.verdict, *card.parts)
    domain = _card_domain(verdicts)
    return [_verdict_strip(verdict, domain) for verdict in verdicts]


def scale_text(card: VerdictCard) -> str:
    """Say a card's scale: ``logarithmic, 0.53× to 1.20×``."""
    start, end = _card_domain((card.verdict, *card.parts))
    return f"logarithmic, {math.exp(start):.2f}× to {math.exp(end):.2f}×"


def _card_domain(verdicts: Iterable[Verdict]) -> _Domain:
    values = [1.0]
    for verdict in verdicts:
        if verdict.estimate is not None:
            parts = (verdict.estimate.value, verdict.estimate.low, verdict.estimate.high, verdict.threshold_ratio)
            values += [part for part in parts if part is not None and part > 0]
    return _Domain(math.log(min(values)) - 0.04, math.log(max(values)) + 0.04)


def _verdict_strip(verdict: Verdict, domain: _Domain) -> Strip | None:
    estimate = verdict.estimate
    if estimate is None:
        return None
    return _strip(estimate.value, estimate.low, estimate.high, verdict.threshold_ratio, domain)


def _strip(
    value: float, low: float | None, high: float | None, threshold: float | None, domain: _Domain
) -> Strip | None:
    if value <= 0:
        return None
    ends = [domain.at(end if end is not None and end > 0 else value) for end in (low, high)]
    mark = None if threshold is None or threshold <= 0 else domain.at(threshold)
    return Strip(ends[0], ends[1], domain.at(value), domain.at(1.0), mark)

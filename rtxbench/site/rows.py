"""Rows of the aggregates, as the pages take them: medians and ranges over machines, one machine one vote."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "Case",
    "Comparison",
    "Figures",
    "Month",
    "Paired",
    "Quantiles",
    "SpreadOver",
    "Standing",
    "Successor",
    "VersionFigures",
]


class Quantiles(NamedTuple):
    """Least, 10 %, half, 90 % and greatest of one figure a machine."""

    least: float
    low: float
    median: float
    high: float
    greatest: float


class Figures(NamedTuple):
    """Training speed of one device, workload and precision: each machine's fastest engine and batch, examples/s."""

    device: str
    device_count: int
    workload: str
    precision: str
    machines: int
    speed: Quantiles
    engine: str
    batch_size: int
    """Of most of the machines."""


class Case(NamedTuple):
    """One exact case on one device."""

    device: str
    device_count: int
    workload: str
    precision: str
    engine: str
    compiler: str
    batch_size: int
    placement: str
    variant: str


class SpreadOver(NamedTuple):
    """Spread of one exact case over machines of one device, standard deviations in log units."""

    case: Case
    machines: int
    median: float
    fastest_ratio: float
    """Fastest ÷ slowest."""
    between: float
    between_low: float
    between_high: float
    within: float


class Standing(NamedTuple):
    """One machine's median in one exact case, beside the others of its device."""

    machine: str
    case: Case
    speed: float
    records: int
    others_median: float
    """Of all machines of the device that ran the case, this one included."""
    machines: int
    rank: int
    """1 is the fastest."""


class Paired(NamedTuple):
    """One machine's latest paired comparison of two cases."""

    machine: str
    device: str
    workload: str
    comparison: str
    candidate: str
    ratio: float
    low: float | None
    high: float | None


class Comparison(NamedTuple):
    """The paired comparisons of one kind on the machines of one device: each machine's latest counts once."""

    device: str
    workload: str
    comparison: str
    machines: int
    ratio: Quantiles


class VersionFigures(NamedTuple):
    """Training speed with one version of an engine, median over machines."""

    engine: str
    version: str
    device: str
    device_count: int
    workload: str
    precision: str
    machines: int
    speed: Quantiles


class Successor(NamedTuple):
    """Two versions of an engine on the same machines in the same exact cases: ``version`` ÷ ``other``."""

    engine: str
    version: str
    other: str
    machines: int
    cases: int
    ratio: Quantiles


class Month(NamedTuple):
    """One month: what was measured, and speed against each machine's own first month, case by case."""

    month: str
    machines: int
    records: int
    ratio: Quantiles | None
    """``None`` where no machine had measured the same case before."""
    returning: int
    """Machines that had."""

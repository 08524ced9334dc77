"""Devices beside each other: how fast each is against another, over the workloads and precisions that both ran."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rtxbench.site.rows import Figures

__all__ = ["Relative", "relative_speeds"]


class Relative(NamedTuple):
    """One device beside another: medians over machines, of each machine's fastest engine and batch."""

    device: str
    mean: float
    """Geometric mean of the ratios."""
    lowest: float
    highest: float
    figures: int
    """Workloads and precisions that both ran."""
    machines: int


def relative_speeds(figures: Sequence[Figures], kinds: Mapping[str, str], most: int = 8) -> dict[str, list[Relative]]:
    """Find the devices nearest to each in measured speed.

    Args:
        figures: of all devices; those of one device at a time count.
        kinds: device → card or processor; a card is compared with cards.
        most: how many to keep of each.

    Returns:
        Device → those like it, the fastest first.
    """
    found: dict[str, list[Relative]] = {}
    single = [row for row in figures if row.device_count == 1]
    for kind in sorted(set(kinds.values())):
        found.update(_of_kind([row for row in single if kinds.get(row.device) == kind], most))
    return found


def _of_kind(rows: Sequence[Figures], most: int) -> dict[str, list[Relative]]:
    names = sorted({row.device for row in rows})
    keys = sorted({(row.workload, row.precision) for row in rows})
    places = {name: number for number, name in enumerate(names)}
    columns = {key: number for number, key in enumerate(keys)}
    logs = np.full((len(names), len(keys)), np.nan)
    machines = dict.fromkeys(names, 0)
    for row in rows:
        logs[places[row.device], columns[row.workload, row.precision]] = math.log(row.speed.median)
        machines[row.device] = max(machines[row.device], row.machines)
    return {name: _nearest(logs, names, machines, places[name], most) for name in names}


def _nearest(
    logs: np.ndarray, names: Sequence[str], machines: Mapping[str, int], own: int, most: int
) -> list[Relative]:
    differences = logs - logs[own]
    counts = np.isfinite(differences).sum(axis=1)
    counts[own] = 0
    means = np.where(counts > 0, np.nansum(differences, axis=1) / np.maximum(counts, 1), np.inf)
    near = [number for number in np.argsort(np.abs(means), kind="stable") if counts[number]][:most]
    chosen = sorted(near, key=lambda number: -means[number])
    return [
        Relative(
            names[number],
            _rounded(means[number]),
            _rounded(np.nanmin(differences[number])),
            _rounded(np.nanmax(differences[number])),
            int(counts[number]),
            machines[names[number]],
        )
        for number in chosen
    ]


def _rounded(log: float) -> float:
    return float(f"{math.exp(log):.6g}")

"""Selectors of claims files: a shell-style pattern of a name, or a property of the row that the name stands for."""

import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from rtxbench.placement import PLACEMENTS, Placement
from rtxbench.precision import PRECISIONS, Precision
from rtxbench.workloads import WORKLOADS, Workload

__all__ = ["selects"]

_TABLES: Final[Mapping[str, tuple[Mapping[str, Any], type]]] = {
    "workload": (WORKLOADS, Workload),
    "precision": (PRECISIONS, Precision),
    "placement": (PLACEMENTS, Placement),
}


def selects(field: str, selectors: Sequence[str], value: str) -> bool:
    """Match any selector to a value of a field of `Case`; no selectors fit every value.

    ``PROPERTY:VALUE`` fits a name whose row in the field's table has that property, for example ``family:vision``.
    """
    return not selectors or any(_fits(field, selector, value) for selector in selectors)


def _fits(field: str, selector: str, value: str) -> bool:
    name, colon, wanted = selector.partition(":")
    table, row_type = _TABLES.get(field, ({}, object))
    if colon and dataclasses.is_dataclass(row_type) and name in {one.name for one in dataclasses.fields(row_type)}:
        return value in table and str(getattr(table[value], name)).lower() == wanted
    return fnmatchcase(value, selector)

"""Rows of the literal tables, by the names that users type."""

from collections.abc import Mapping
from typing import TypeVar

from rtxbench.errors import UsageError

__all__ = ["named", "suggestion"]

_Row = TypeVar("_Row")
_FEW = 8
_SHOWN = 12


def named(table: Mapping[str, _Row], name: str, what: str) -> _Row:
    """Look up a row by name.

    Args:
        table: rows by name.
        name: as the user wrote it.
        what: what a row is, for the message: ``precision``.

    Raises:
        UsageError: there is none; the nearest names are offered, or all of a short table.
    """
    if name in table:
        return table[name]
    raise UsageError(f"unknown {what} {name!r}.", next_step=suggestion(table, name))


def suggestion(known: Mapping[str, object], name: str) -> str:
    """Suggest what to write for a name that is not among the known ones: the nearest, or which there are."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3)
    if near and len(known) > _FEW:
        return f"Did you mean {' or '.join(near)}?"
    if near:
        return f"Did you mean {near[0]}? There are: {', '.join(key or repr(key) for key in known)}."
    shown = ", ".join(key or repr(key) for key in [*known][:_SHOWN])
    more = f", … and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"Choose one of: {shown}{more}."

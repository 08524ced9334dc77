"""Find the latest record of each kind: a later run of the same thing replaces an earlier one."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from rtxbench.results.store import LoadedRun

__all__ = ["latest_by_machine", "latest_of"]

_Item = TypeVar("_Item")


def latest_of(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[_Item]:
    """Keep the last item of each key, in the order in which the keys first came."""
    return list({key(item): item for item in items}.values())


def latest_by_machine(
    runs: Iterable[LoadedRun], chosen: Callable[[LoadedRun], Iterable[_Item]], key: Callable[[_Item], Hashable]
) -> dict[str, list[_Item]]:
    """Keep the last chosen record of each machine and key; a machine with none is left out.

    Args:
        runs: oldest first.
        chosen: records of one run to look at.
        key: tells one thing measured from another.
    """
    found: dict[str, list[_Item]] = {}
    for loaded in runs:
        found.setdefault(loaded.run.environment.machine, []).extend(chosen(loaded))
    return {machine: latest_of(records, key) for machine, records in found.items() if records}

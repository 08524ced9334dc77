"""Editions of a record: one that grows while it is measured is written again under its id, and the last counts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rtxbench.errors import RecordError
from rtxbench.records import CaseRecord, Launch, RatioRecord, Record

__all__ = ["holds", "last_editions"]


def last_editions(path: Path, records: Iterable[Record]) -> tuple[Record, ...]:
    """Keep the last edition of every record, in the order in which these were written."""
    last: dict[str, Record] = {}
    for record in records:
        earlier = last.pop(record.record_id, None)
        if earlier is not None and not _supersedes(record, earlier):
            raise RecordError(
                f"{path} holds the record {record.record_id} twice.",
                next_step="Restore the file from where it came from; a record counted twice narrows an interval.",
            )
        last[record.record_id] = record
    return tuple(last.values())


def _supersedes(later: Record, earlier: Record) -> bool:
    """Compare two records: is one a later edition of the other, of the same case or pair and with all it has?"""
    if later == earlier:
        return False
    if isinstance(later, CaseRecord) and isinstance(earlier, CaseRecord):
        had, has = _launches(earlier), _launches(later)
        return (later.group, later.case) == (earlier.group, earlier.case) and has[: len(had)] == had
    if isinstance(later, RatioRecord) and isinstance(earlier, RatioRecord):
        same = (later.group, later.baseline, later.candidate) == (earlier.group, earlier.baseline, earlier.candidate)
        return same and later.log_ratios[: len(earlier.log_ratios)] == earlier.log_ratios
    return False


def _launches(record: CaseRecord) -> tuple[Launch, ...]:
    return record.measurement.launches if record.measurement is not None else ()


def holds(held: Mapping[str, Record], record: Record) -> bool:
    """Look for the record, or an edition of it with more launches or with the hardware seen meanwhile."""
    mine = held.get(record.record_id)
    if mine is None or mine == record:
        return mine == record
    return _supersedes(mine, record) and _says_more(mine, record)


def _says_more(later: Record, earlier: Record) -> bool:
    """Look for more launches, or what the trace adds at the end, which may come within the same second."""
    if _replicates(later) > _replicates(earlier):
        return True
    if isinstance(later, CaseRecord) and isinstance(earlier, CaseRecord):
        return earlier.hardware is None and later.hardware is not None
    return later.finished_at > earlier.finished_at or set(later.flags) > set(earlier.flags)


def _replicates(record: Record) -> int:
    if isinstance(record, CaseRecord):
        return len(_launches(record))
    return len(record.log_ratios) if isinstance(record, RatioRecord) else 0

"""The records of one group as its launches come in: editions of the same records, each fuller than the last."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench.hardware.trace import Trace
from rtxbench.measure.paired.loop import GroupRun
from rtxbench.measure.summary import MeasuredGroup, case_record, ratio_records
from rtxbench.records import Case, CaseRecord, Purpose, RatioRecord
from rtxbench.results.store import new_record_id

__all__ = ["GroupOutcome", "GroupRecords"]


class GroupOutcome(NamedTuple):
    """Records of one group."""

    cases: dict[Case, CaseRecord]
    ratios: list[RatioRecord]
    interrupted: bool

    @property
    def invalid(self) -> bool:
        """Return whether a flag voids any of it."""
        return any(flag.severity == "invalid" for record in self.records for flag in record.flags)

    @property
    def records(self) -> "list[CaseRecord | RatioRecord]":
        """All of them, cases first."""
        return [*self.cases.values(), *self.ratios]


class GroupRecords:
    """Makes the editions of one group's records; all of them keep their ids.

    Args:
        run_id: of the run.
        group: whose launches they are made of.
        uuids: case → the GPUs it runs on.
        purpose: of all of them.
    """

    def __init__(
        self, run_id: str, group: GroupRun, uuids: Callable[[Case], Sequence[str]], purpose: Purpose = "result"
    ) -> None:
        self._run_id = run_id
        self._group = group
        self._uuids = uuids
        self._purpose = purpose
        keys = [result.arm.key for result in group.pairing.results]
        self._case_ids = {key: new_record_id() for key in keys}
        self._ratio_ids = {key: new_record_id() for key in keys}
        self._stored: dict[str, CaseRecord | RatioRecord] = {}

    def edition(self, trace: Trace | None) -> GroupOutcome:
        """Make the records by the launches so far; hardware and flags come with the trace, at the end."""
        pairing, adaptive = self._group.pairing, self._group.adaptive
        by_key = {
            result.arm.key: replace(
                case_record(
                    self._run_id,
                    self._group.name,
                    result,
                    trace,
                    self._uuids(result.arm.case),
                    adaptive=adaptive,
                    record_id=self._case_ids[result.arm.key],
                    alone=len(pairing.results) == 1,
                ),
                purpose=self._purpose,
            )
            for result in pairing.results
            if result.launches or result.failure is not None
        }
        uuids = sorted({uuid for result in pairing.results for uuid in self._uuids(result.arm.case)})
        measured = MeasuredGroup(self._run_id, self._group.name, pairing, by_key, trace, uuids, adaptive)
        ratios = [replace(record, purpose=self._purpose) for record in ratio_records(measured, self._ratio_ids)]
        return GroupOutcome({record.case: record for record in by_key.values()}, ratios, pairing.interrupted)

    def changed(self, edition: GroupOutcome) -> "list[CaseRecord | RatioRecord]":
        """List what an edition says beyond the one before, which is what there is to store."""
        undated = {record.record_id: replace(record, finished_at="") for record in edition.records}
        new = [record for record in edition.records if self._stored.get(record.record_id) != undated[record.record_id]]
        self._stored |= undated
        return new

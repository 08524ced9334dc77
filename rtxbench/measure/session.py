"""One run: its environment, its recorder, its results file, and the measuring of group after group."""

import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench import __version__
from rtxbench.diagnosis.gather import explain
from rtxbench.errors import RtxbenchError
from rtxbench.hardware.environment import describe
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import Trace, load_trace
from rtxbench.measure.arms import Arm, LaunchSource
from rtxbench.measure.groups import Group
from rtxbench.measure.paired import measure_pairing
from rtxbench.measure.paired_result import Pairing
from rtxbench.measure.profiles import Profile
from rtxbench.measure.summary import case_record, ratio_records, skipped_record
from rtxbench.placement import placement_named
from rtxbench.records import SCHEMA_VERSION, Case, CaseRecord, Environment, Purpose, RatioRecord, Record, Run
from rtxbench.store import RunWriter, new_record_id
from rtxbench.workers.interpreters import worker_spec

__all__ = ["GroupOutcome", "Session"]

LaunchDone = Callable[[int, Pairing], None]


class GroupOutcome(NamedTuple):
    """Records of one measured group, already on disk."""

    cases: dict[Case, CaseRecord]
    ratios: list[RatioRecord]
    interrupted: bool


class Session:
    """Context manager of one run. Every record is on disk when the method that made it returns.

    Args:
        results_dir: usually ``results``.
        profile: how long to measure.
        command: the command line, for the record.
        record_hardware: whether to run the recorder process.
        environment: of this machine, if already described.

    Raises:
        MeasurementError: the results folder cannot be written.
    """

    def __init__(
        self,
        results_dir: Path,
        profile: Profile,
        command: tuple[str, ...],
        *,
        record_hardware: bool = True,
        environment: Environment | None = None,
    ) -> None:
        self.profile = profile
        self.environment = environment or describe()
        self._results_dir = results_dir
        self._command = command
        self._record_hardware = record_hardware
        self._writer: RunWriter | None = None
        self._recorder: Recorder | None = None
        self._measured_cases: list[CaseRecord] = []
        self._started = datetime.now(UTC)
        self._clocks = time.monotonic_ns(), time.time_ns()
        self.run_id = f"{self._started:%Y%m%dT%H%M%S}-{new_record_id()[:6]}"

    @property
    def recorder_pid(self) -> int | None:
        """Process id of the recorder, ``None`` where the run is not recorded."""
        return None if self._recorder is None else self._recorder.pid

    @property
    def path(self) -> Path:
        """The results file, which exists once the first record is written."""
        return self._results_dir / self.environment.machine / f"{self.run_id}.jsonl"

    def __enter__(self) -> "Session":
        if self._record_hardware:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._recorder = Recorder(self.path.with_suffix(".trace.jsonl"))
            self._recorder.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._recorder is not None:
            self._recorder.stop()
            if self._writer is None:
                self._recorder.path.unlink(missing_ok=True)  # a trace of nothing
        if self._writer is not None:
            self._writer.close()

    def append(self, record: Record) -> None:
        """Store one record; the first one opens the file with its header."""
        if self._writer is None:
            self._writer = RunWriter(self._results_dir, self._header())
        self._writer.append(record)
        if isinstance(record, CaseRecord) and record.status == "measured" and record.purpose == "result":
            self._measured_cases.append(record)

    @property
    def can_explain(self) -> bool:
        """Whether there is something to explain and the profile has time for it."""
        return self.profile.ceiling_budget_s > 0 and bool(self._measured_cases)

    def explain(self) -> None:
        """Gather and store what explains the run's throughputs: ceilings, and one profiled step per case.

        Call it after the timed work: it starts processes of its own on the same devices.
        """
        for observation in explain(self.run_id, self._measured_cases, self.profile.ceiling_budget_s):
            self.append(observation)

    def measure(
        self, group: Group, only: Collection[Case] | None = None, launch_done: LaunchDone = lambda number, pairing: None
    ) -> GroupOutcome:
        """Measure a group and store its records.

        Args:
            group: what to measure.
            only: the candidates wanted; the baseline is always measured with them. ``None`` for all.
            launch_done: told after each launch.
        """
        candidates = [case for case in group.candidates if only is None or case in only]
        arms = [_arm(case) for case in (*(() if group.baseline is None else (group.baseline,)), *candidates)]
        outcome = self.measure_arms(group.name, arms, launch_done) if arms else GroupOutcome({}, [], False)
        for case, reason in group.skipped:
            if only is None or case in only:
                outcome.cases[case] = skipped_record(self.run_id, group.name, case, reason)
                self.append(outcome.cases[case])
        return outcome

    def measure_arms(
        self,
        name: str,
        arms: Sequence[Arm],
        launch_done: LaunchDone = lambda number, pairing: None,
        start: LaunchSource | None = None,
        purpose: Purpose = "result",
    ) -> GroupOutcome:
        """Measure arms of any make, baseline first, as group ``name`` and store their records for a purpose.

        Where the environment made the figures invalid (throttling, a foreign process, a starved host), the group is
        measured again as often as the profile allows; every attempt is stored with its flags, and the last returned.
        """
        for attempt in range(1 + self.profile.retries):
            outcome = self._measure_once(name, arms, launch_done, start, purpose)
            if outcome.interrupted or attempt == self.profile.retries or not _invalid(outcome):
                break
        return outcome

    def _measure_once(
        self, name: str, arms: Sequence[Arm], launch_done: LaunchDone, start: LaunchSource | None, purpose: Purpose
    ) -> GroupOutcome:
        pairing = measure_pairing(arms, self.profile, launch_done=launch_done, watch=self._watch, start=start)
        self._note_libraries(pairing)
        trace, adaptive = self._trace(), self.profile.adaptive
        by_key = {
            result.arm.key: replace(
                case_record(self.run_id, name, result, trace, self._uuids(result.arm.case), adaptive=adaptive),
                purpose=purpose,
            )
            for result in pairing.results
        }
        uuids = sorted({uuid for arm in arms for uuid in self._uuids(arm.case)})
        found = ratio_records(self.run_id, name, pairing, by_key, trace, uuids, adaptive=adaptive)
        ratios = [replace(record, purpose=purpose) for record in found]
        records: list[Record] = [*by_key.values(), *ratios]
        for record in records:
            self.append(record)
        return GroupOutcome({record.case: record for record in by_key.values()}, ratios, pairing.interrupted)

    def _watch(self, pids: Sequence[int]) -> None:
        if self._recorder is not None:
            for pid in pids:
                self._recorder.watch(pid)

    def _trace(self) -> Trace | None:
        if self._recorder is None:
            return None
        self._recorder.mark("group finished")  # the recorder writes everything it holds before it answers
        try:
            return load_trace(self._recorder.path)
        except RtxbenchError:
            return None  # the case record says that the run was not recorded

    def _uuids(self, case: Case) -> tuple[str, ...]:
        if placement_named(case.placement).device_kind == "cpu":
            return ()
        return tuple(gpu.uuid for gpu in self.environment.gpus[: case.device_count])

    def _note_libraries(self, pairing: Pairing) -> None:
        if self._writer is None:
            versions = {name: text for result in pairing.results for name, text in result.versions.items()}
            self.environment = replace(self.environment, libraries={**self.environment.libraries, **versions})

    def _header(self) -> Run:
        return Run(
            schema_version=SCHEMA_VERSION,
            run_id=self.run_id,
            started_at=self._started.isoformat(timespec="seconds"),
            monotonic_ns=self._clocks[0],
            realtime_ns=self._clocks[1],
            environment=self.environment,
            command=self._command,
            profile=self.profile.name,
            rtxbench_version=__version__,
        )


def _invalid(outcome: GroupOutcome) -> bool:
    flags = [flag for case in outcome.cases.values() for flag in case.flags]
    flags += [flag for ratio in outcome.ratios for flag in ratio.flags]
    return any(flag.severity == "invalid" for flag in flags)


def _arm(case: Case) -> Arm:
    return Arm(case=case, spec=worker_spec(case.engine), isolated=placement_named(case.placement).isolated)

"""One run: its environment, its recorder, its results file, and the measuring of its groups in turn."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench import __version__
from rtxbench.diagnosis.gather import gather_evidence
from rtxbench.errors import RtxbenchError
from rtxbench.hardware.environment import describe
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import Trace, load_trace
from rtxbench.measure.alone import fill_in_peaks
from rtxbench.measure.group_records import GroupOutcome, GroupRecords
from rtxbench.measure.groups import Group
from rtxbench.measure.paired.arms import Arm, LaunchSource, WorkersAhead
from rtxbench.measure.paired.loop import GroupRun, expected_launches, limits_of, precise_enough
from rtxbench.measure.paired.schedule import in_rounds
from rtxbench.measure.profiles import Profile
from rtxbench.measure.summary import skipped_record
from rtxbench.placement import placement_named
from rtxbench.printable import without_home
from rtxbench.records import SCHEMA_VERSION, Case, CaseRecord, Environment, Purpose, RatioRecord, Record, Run
from rtxbench.results.store import RunWriter, disk_errors, new_record_id
from rtxbench.workers.interpreters import worker_spec

__all__ = ["GroupOutcome", "LaunchDone", "Question", "Session", "Standing"]


class Standing(NamedTuple):
    """The state of a group's question after a launch."""

    decided: bool
    text: str = ""
    """For a person: ``yes: 3.31× [3.15, 3.48]``."""


Question = Callable[[Sequence[RatioRecord]], Standing | None]
"""Group's ratios so far → where its question stands; ``None``: no claim asks one, the figure's width decides."""

LaunchDone = Callable[[GroupRun, Standing, float], None]
"""Told after each launch: its group, where that stands, the seconds left to the session."""


class Session:
    """Context manager of one run. Every finished launch is on disk before the next one starts.

    Args:
        results_dir: usually ``results``.
        profile: how long to measure.
        command: the command line, for the record.
        record_hardware: whether to run the recorder process.
        environment: of this machine, if already described.
        question: says of a group's ratios whether they decide what the claims ask of them.

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
        question: Question = lambda ratios: None,
    ) -> None:
        self.profile = profile
        self.environment = environment or describe()
        self._results_dir = results_dir
        self._command = command
        self._record_hardware = record_hardware
        self._question = question
        self._writer: RunWriter | None = None
        self._recorder: Recorder | None = None
        self._measured_cases: dict[str, CaseRecord] = {}
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
            with disk_errors(self.path):
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
        """Store one record; the first one opens the file with its header. A later edition supersedes an earlier."""
        if self._writer is None:
            self._writer = RunWriter(self._results_dir, self._header())
        self._writer.append(record)
        if isinstance(record, CaseRecord) and record.status == "measured" and record.purpose == "result":
            self._measured_cases[record.record_id] = record

    @contextmanager
    def for_a_time(self, profile: Profile) -> Iterator[None]:
        """Measure by another profile within the context; the run keeps the name of its own."""
        own, self.profile = self.profile, profile
        try:
            yield
        finally:
            self.profile = own

    @property
    def can_explain(self) -> bool:
        """Return whether there is something to explain and the profile has time for it."""
        return self.profile.ceiling_budget_s > 0 and bool(self._measured_cases)

    def explain(self) -> None:
        """Gather and store what explains the run's throughputs: ceilings, and one profiled step per case.

        Call it after the timed work: it starts processes of its own on the same devices.
        """
        cases = list(self._measured_cases.values())
        for observation in gather_evidence(self.run_id, cases, self.profile.ceiling_budget_s):
            self.append(observation)

    def measure(
        self,
        groups: Sequence[tuple[Group, Set[Case] | None]],
        launch_done: LaunchDone = lambda run, standing, left_s: None,
    ) -> dict[str, GroupOutcome]:
        """Measure groups in turn, a launch each, and store their records.

        Args:
            groups: each with the candidates wanted, ``None`` for all; the baseline is always measured with them.
            launch_done: told after each launch.
        """
        skipped: dict[str, dict[Case, CaseRecord]] = {}
        for group, only in groups:
            skipped[group.name] = {
                case: skipped_record(self.run_id, group.name, case, reason)
                for case, reason in group.skipped
                if only is None or case in only
            }
            for record in skipped[group.name].values():
                self.append(record)
        measured = self.measure_arms(
            {group.name: _arms(group, only, [gpu.uuid for gpu in self.environment.gpus]) for group, only in groups},
            launch_done,
        )
        return {name: outcome._replace(cases={**outcome.cases, **skipped[name]}) for name, outcome in measured.items()}

    def measure_arms(
        self,
        groups: Mapping[str, Sequence[Arm]],
        launch_done: LaunchDone = lambda run, standing, left_s: None,
        start: LaunchSource | None = None,
        purpose: Purpose = "result",
    ) -> dict[str, GroupOutcome]:
        """Measure arms of any make, baseline first in each group, and store their records for a purpose.

        Where the environment made a group's figures invalid (throttling, a foreign process, a starved host), it is
        measured again as often as the profile and its time allow; every attempt is stored with its flags, and the last
        returned.
        """
        outcomes = {name: GroupOutcome({}, [], interrupted=False) for name in groups}
        spent_s = dict.fromkeys(groups, 0.0)
        pending = {name: arms for name, arms in groups.items() if arms}
        for _attempt in range(1 + self.profile.retries):
            runs = self._measure_once(pending, spent_s, launch_done, start, purpose)
            outcomes |= {run.name: outcome for run, outcome in runs}
            if any(outcome.interrupted for _, outcome in runs):
                break
            again = [run for run, outcome in runs if outcome.invalid]
            pending = {run.name: groups[run.name] for run in again if 2 * run.spent_s <= self.profile.group_budget_s}
            spent_s |= {run.name: run.spent_s for run in again}
            if not pending:
                break
        return outcomes

    def _measure_once(
        self,
        groups: Mapping[str, Sequence[Arm]],
        spent_s: Mapping[str, float],
        launch_done: LaunchDone,
        start: LaunchSource | None,
        purpose: Purpose,
    ) -> list[tuple[GroupRun, GroupOutcome]]:
        """Make one attempt at each of the groups, in turn; end early, with what there is, at Ctrl-C."""
        interrupted = False
        with closing(WorkersAhead(build=self.profile.builds_ahead)) as ahead:
            runs = {
                name: GroupRun(name, arms, self.profile, start or ahead, watch=self._watch, spent_s=spent_s[name])
                for name, arms in groups.items()
            }
            records = {name: GroupRecords(self.run_id, run, self._uuids, purpose) for name, run in runs.items()}
            standings: dict[str, Standing] = {}

            def launched(run: GroupRun, left_s: float) -> None:
                """Store the group after each of its launches, and report its standing."""
                self._note_libraries(run)
                edition = self._store(records[run.name], trace=None)
                standings[run.name] = self._standing(run, edition.ratios)
                launch_done(run, standings[run.name], left_s)

            try:
                in_rounds(
                    list(runs.values()),
                    limits_of(self.profile, "gpu" if self.environment.gpus else "cpu"),
                    decided=lambda run: standings[run.name].decided,
                    expect=lambda turn: ahead.expect(expected_launches(turn)),
                    launched=launched,
                )
                for run in runs.values() if self.profile.peaks_alone else ():
                    fill_in_peaks(run.pairing)
            except KeyboardInterrupt:
                interrupted = True
        trace = self._trace()
        return [
            (run, self._store(records[name], trace)._replace(interrupted=interrupted)) for name, run in runs.items()
        ]

    def _store(self, records: GroupRecords, trace: Trace | None) -> GroupOutcome:
        edition = records.edition(trace)
        for record in records.changed(edition):
            self.append(record)
        return edition

    def _standing(self, run: GroupRun, ratios: Sequence[RatioRecord]) -> Standing:
        """Ask the claims' own rule where they ask something of these ratios, else by how precise the figures are."""
        answer = self._question(ratios)
        return answer if answer is not None else Standing(precise_enough(run.pairing, self.profile))

    def _watch(self, pids: Sequence[int]) -> None:
        if self._recorder is not None:
            for pid in pids:
                self._recorder.watch(pid)

    def _trace(self) -> Trace | None:
        if self._recorder is None:
            return None
        self._recorder.mark("groups finished")  # the recorder writes everything it holds before it answers
        try:
            return load_trace(self._recorder.path)
        except RtxbenchError:
            return None  # the case record says that the run was not recorded

    def _uuids(self, case: Case) -> tuple[str, ...]:
        if placement_named(case.placement).device_kind == "cpu":
            return ()
        return tuple(gpu.uuid for gpu in self.environment.gpus[: case.device_count])

    def _note_libraries(self, run: GroupRun) -> None:
        if self._writer is None:
            versions = {name: text for result in run.pairing.results for name, text in result.versions.items()}
            self.environment = replace(self.environment, libraries={**self.environment.libraries, **versions})

    def _header(self) -> Run:
        return Run(
            schema_version=SCHEMA_VERSION,
            run_id=self.run_id,
            started_at=self._started.isoformat(timespec="seconds"),
            monotonic_ns=self._clocks[0],
            realtime_ns=self._clocks[1],
            environment=self.environment,
            command=without_home(self._command),
            profile=self.profile.name,
            rtxbench_version=__version__,
        )


def _arms(group: Group, only: Set[Case] | None, uuids: Sequence[str] = ()) -> list[Arm]:
    """Make arms of the baseline and the wanted candidates; none where only skipped cases are wanted.

    Where no case of the group is on several GPUs, its workers see the first alone.
    """
    if group.baseline is None or (only is not None and only.isdisjoint(group.cases)):
        return []
    cases = [group.baseline, *(case for case in group.candidates if only is None or case in only)]
    one = uuids[0] if len(uuids) > 1 and all(case.device_count == 1 for case in cases) else None
    return [
        Arm(
            case=case,
            spec=worker_spec(case.engine, one),
            isolated=placement_named(case.placement).isolated,
            apart=group.apart,
        )
        for case in cases
    ]

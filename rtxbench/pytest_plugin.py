"""The pytest-benchmark front: what ``bench/`` needs so that ``pytest bench/ --benchmark-only`` shows device times.

A bench function marked ``claim("tensor-cores")`` (``claim`` alone: every claim, or those of ``--claim``) that asks for
``arm`` runs once per case of the plan on this machine. The first ``measured.run(arm)`` measures every selected group by
the paired protocol, a launch each in turn, so that the hour's state enters every interval; each item then *replays* its
block times through ``benchmark.pedantic`` on a virtual clock: pytest-benchmark's own table, ``--benchmark-json`` and
``--benchmark-compare`` work on exact device times, and none of its private state is touched.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from rtxbench.errors import RtxbenchError
from rtxbench.exits import end_in_order, undisturbed
from rtxbench.pytest_table import VIRTUAL_CLOCK, as_pytest_ends, replay_durations, replay_record, verdict_lines

if TYPE_CHECKING:
    from rtxbench.measure.groups import Group, Request
    from rtxbench.measure.session import GroupOutcome, Session
    from rtxbench.records import Case, CaseRecord, Environment, Record

__all__ = ["VIRTUAL_CLOCK", "Measured", "PlannedCase", "Trials", "use_rtxbench_defaults"]


class PlannedCase(NamedTuple):
    """One pytest item: a case and the group it is measured in."""

    group: "Group"
    case: "Case"


class _State:
    """The measurements of one pytest session so far."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.session: Session | None = None
        self.outcomes: dict[str, GroupOutcome] = {}
        self.wanted: dict[str, set[Case]] = {}
        self.groups: dict[str, Group] = {}
        self._environment: Environment | None = None
        self._refused: dict[str, str] = {}
        self._alone = ExitStack()

    def close(self) -> None:
        """End the recorder, close the results file and let others measure."""
        with undisturbed():  # pytest handles no signal any more
            self._alone.close()

    @property
    def environment(self) -> "Environment":
        """This machine, described once a session."""
        self._look()
        assert self._environment is not None
        return self._environment

    @property
    def refused(self) -> dict[str, str]:
        """Engines that cannot use this machine's GPUs, with the reason."""
        self._look()
        return self._refused

    def _look(self) -> None:
        from rtxbench.engines.refusals import COMPILERS
        from rtxbench.errors import UnavailableError
        from rtxbench.hardware.environment import describe
        from rtxbench.planning.engine_gpus import usable_gpus

        if self._environment is None:
            asked = self.config.getoption("--engine")
            try:
                found = usable_gpus(describe(), (asked,) if asked in COMPILERS else tuple(COMPILERS))
            except UnavailableError as error:
                pytest.exit(str(error), returncode=error.exit_code)
            self._environment, self._refused = found

    def open_session(self) -> "Session":
        """Open the one results file of this pytest session at the first measurement."""
        if self.session is None:
            from rtxbench.hardware.machine_lock import measuring_alone
            from rtxbench.measure.profiles import profile_named
            from rtxbench.measure.session import Session
            from rtxbench.verdicts.claims import load_claims
            from rtxbench.verdicts.stopping import Questions

            profile, budget = profile_named(self.config.getoption("--profile")), self.config.getoption("--budget")
            self._alone.enter_context(end_in_order(as_pytest_ends))
            self._alone.enter_context(measuring_alone(lambda text: sys.stderr.write(f"\nrtxbench: {text}\n")))
            session = Session(
                Path(self.config.getoption("--results")),
                profile if budget is None else profile.with_budget(budget),
                ("pytest", *self.config.invocation_params.args),
                environment=self.environment,
                question=Questions(load_claims(), self.environment),
            )
            self.session = self._alone.enter_context(session)
        return self.session


_USUAL: Final = {"profile": "quick", "engine": "tensorflow", "form": "native", "workload": [], "claim": []}
"""Values that need no check of their name before the bench suite is collected."""
_STATE: Final = pytest.StashKey[_State]()
_DEFAULTS_ON: Final = pytest.StashKey[bool]()


def use_rtxbench_defaults(config: pytest.Config) -> None:
    """Set pytest-benchmark's options as rtxbench wants them, where the user gave none. Call from ``conftest.py``.

    Store beside the records, save every run, and show the columns that mean something for block times.
    """
    config.stash[_DEFAULTS_ON] = True
    option = config.option
    if option.benchmark_storage == "file://./.benchmarks":
        option.benchmark_storage = f"file://{Path(config.getoption('--results')) / 'pytest-benchmark'}"
    if not (option.benchmark_save or option.benchmark_autosave):
        option.benchmark_save = "rtxbench"
        option.benchmark_save_data = True
    if "--benchmark-columns" not in " ".join(map(str, config.invocation_params.args)):
        option.benchmark_columns = ["median", "iqr", "min", "ops", "rounds"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the bench suite."""
    group = parser.getgroup("rtxbench", "rtxbench: measured training throughput")
    group.addoption("--profile", default=_USUAL["profile"], help="smoke, quick (default), standard or full")
    group.addoption("--budget", type=float, metavar="SECONDS", help="time limit of one group (default: the profile's)")
    group.addoption("--results", default="results", metavar="DIR", help="folder of the records (default: results)")
    group.addoption("--engine", default=_USUAL["engine"], help="tensorflow, jax, torch or all")
    group.addoption("--claim", action="append", default=[], help="only this claim (repeatable)")
    group.addoption("--workload", action="append", default=[], help="only this workload (repeatable)")
    group.addoption("--compiler", action="append", default=[], help="none, xla or inductor (repeatable)")
    group.addoption("--form", default=_USUAL["form"], help="on torch: native (default), or keras: Keras on PyTorch")
    group.addoption("--harness", action="store_true", help="also hold rtxbench against itself (bench_harness.py)")
    group.addoption(
        "--logical-devices",
        type=int,
        default=0,
        metavar="N",
        help="also check MirroredStrategy over N logical CPU devices (functional, never evidence of scaling)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; nothing is imported until a bench function asks for it."""
    config.addinivalue_line(
        "markers", "claim(id): the bench function measures throughput for this claim's plan; without an id, for all"
    )
    config.addinivalue_line("markers", "harness: rtxbench held against itself; runs with --harness")
    config.stash[_STATE] = _State(config)
    if any(config.getoption(f"--{name}") != usual for name, usual in _USUAL.items()):
        _check_names(config)


def _check_names(config: pytest.Config) -> None:
    """Raise for a wrong name: one line at the start, not a traceback at collection."""
    from rtxbench.planning.suite import check

    try:
        check(_request(config, ()))
    except RtxbenchError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the harness's own proofs unless asked for: they take minutes and say nothing of the hardware."""
    if config.getoption("--harness"):
        return
    skip = pytest.mark.skip(reason="rtxbench's own proofs: add --harness")
    for item in items:
        if item.get_closest_marker("harness"):
            item.add_marker(skip)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item per case of the claims' plans on this machine, and one per claim that a trial measures."""
    if "trial" in metafunc.fixturenames:
        _parametrize_trials(metafunc)
    marker = metafunc.definition.get_closest_marker("claim")
    if marker is None or "arm" not in metafunc.fixturenames:
        return
    groups = _plan(metafunc.config, marker.args)
    arms = [
        PlannedCase(group, case) for group in groups for case in (*group.cases, *(case for case, _ in group.skipped))
    ]
    metafunc.parametrize("arm", [_parameter(arm) for arm in arms])


def _parametrize_trials(metafunc: pytest.Metafunc) -> None:
    from rtxbench.planning.suite import trials_of

    rows = trials_of(_request(metafunc.config, ()))
    marks = {name: pytest.mark.benchmark(group=name, timer=VIRTUAL_CLOCK) for name in rows}
    metafunc.parametrize("trial", [pytest.param(row, id=row[0], marks=marks[row[0]]) for row in rows.items()])


def _plan(config: pytest.Config, claims: Sequence[str]) -> "list[Group]":
    from rtxbench.planning.suite import plan

    state = config.stash[_STATE]
    return plan(_request(config, claims), state.environment, state.refused)


def _request(config: pytest.Config, claims: Sequence[str]) -> "Request":
    from rtxbench.measure.groups import Request

    return Request(
        profile=config.getoption("--profile"),
        engine=config.getoption("--engine"),
        claims=tuple(claims or config.getoption("--claim")),
        workloads=tuple(config.getoption("--workload")),
        compilers=tuple(config.getoption("--compiler")),
        form=config.getoption("--form"),
        logical_devices=config.getoption("--logical-devices"),
    )


def _parameter(arm: PlannedCase) -> Any:
    mark = pytest.mark.benchmark(group=arm.group.name, timer=VIRTUAL_CLOCK)
    return pytest.param(arm, id=f"{arm.group.claim}:{arm.case.label}", marks=[mark])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which cases were selected (``-k``): a group measures those, and its baseline with them."""
    state = session.config.stash[_STATE]
    for item in session.items:
        arm = getattr(item, "callspec", None) and item.callspec.params.get("arm")  # type: ignore[attr-defined]
        if isinstance(arm, PlannedCase):
            state.groups[arm.group.name] = arm.group
            state.wanted.setdefault(arm.group.name, set()).add(arm.case)


class Measured:
    """The ``measured`` fixture: run an arm, get its record."""

    def __init__(self, request: pytest.FixtureRequest, benchmark: Any) -> None:
        self._config = request.config
        self._benchmark = benchmark

    def run(self, arm: PlannedCase) -> "CaseRecord":
        """Measure the selected groups if that has not happened yet, then replay this arm's block times.

        A case that cannot run here skips the test with its stored reason; a failed one fails it.
        """
        outcome = self._outcome(arm.group)
        record = outcome.cases[arm.case]
        if record.status == "skipped":
            pytest.skip(record.reason or "skipped")
        if record.status == "failed" or record.measurement is None:
            pytest.fail(f"{arm.case.label}: {record.reason}", pytrace=False)
        ratio = next((ratio for ratio in outcome.ratios if ratio.candidate == arm.case), None)
        replay_record(self._benchmark, record, ratio)
        return record

    def _outcome(self, group: "Group") -> "GroupOutcome":
        """Look up what came of the group; the first that is asked for has all selected groups measured, in turn."""
        state = self._config.stash[_STATE]
        if group.name not in state.outcomes:
            state.outcomes |= self._measure(state)
        if any(outcome.interrupted for outcome in state.outcomes.values()):
            raise KeyboardInterrupt
        return state.outcomes[group.name]

    def _measure(self, state: _State) -> "dict[str, GroupOutcome]":
        from rtxbench.measure.progress import Board

        sys.stderr.write("\n")  # pytest's own line of dots is unfinished
        session = state.open_session()
        groups = [(group, state.wanted[name]) for name, group in state.groups.items()]
        names = [group.name for group, wanted in groups if group.cases and not wanted.isdisjoint(group.cases)]
        with _capture_suspended(self._config), Board(names, sys.stderr) as board:
            return session.measure(groups, board.launch_done)


def _capture_suspended(config: pytest.Config) -> AbstractContextManager[None]:
    """Let progress through pytest's capture."""
    manager = config.pluginmanager.getplugin("capturemanager")
    return manager.global_and_fixture_disabled() if manager is not None else nullcontext()


@pytest.fixture
def measured(request: pytest.FixtureRequest, benchmark: Any) -> Measured:
    """Measure throughput by the paired protocol and show it through pytest-benchmark."""
    return Measured(request, benchmark)


class Trials:
    """The ``trials`` fixture: measure a claim that is no throughput (`rtxbench.trials.table`)."""

    def __init__(self, request: pytest.FixtureRequest, benchmark: Any) -> None:
        self._config = request.config
        self._benchmark = benchmark

    def run(self, topic: str, shown: str | None = None) -> "list[Record]":
        """Run one trial, store its records, and show a figure of it through pytest-benchmark.

        Args:
            topic: row of `rtxbench.trials.table.TRIALS`.
            shown: metric in seconds whose values are replayed; by default the duration of the whole trial.
        """
        from rtxbench.measure.progress import TrialProgress
        from rtxbench.records import Observation
        from rtxbench.trials.table import measure_trial

        if self._config.getoption("--workload"):
            pytest.skip("a trial has its own model; leave --workload out to run it")
        session = self._config.stash[_STATE].open_session()
        engine = self._config.getoption("--engine")
        began = time.monotonic()
        with _capture_suspended(self._config), TrialProgress(f"\n{topic}", sys.stderr) as progress:
            records = measure_trial(topic, session, engine, progress.step)
        observed = [record for record in records if isinstance(record, Observation)]
        samples = [value for record in observed if record.metric == shown for value in record.values]
        durations = samples or [time.monotonic() - began]
        self._benchmark.extra_info.update(run_id=session.run_id, records=len(records), shown=shown or "whole trial")
        replay_durations(self._benchmark, durations)
        if not any(record.values for record in observed):
            pytest.fail(f"{topic}: {observed[0].reason if observed else 'nothing was measured'}", pytrace=False)
        return records


@pytest.fixture
def trials(request: pytest.FixtureRequest, benchmark: Any) -> Trials:
    """Measure a claim about quality, tuning, data or deployment and show it through pytest-benchmark."""
    return Trials(request, benchmark)


@pytest.fixture(scope="session")
def bench_session(request: pytest.FixtureRequest) -> "Iterator[Session]":
    """Yield the run's `Session`, for bench functions that store records of their own."""
    return request.config.stash[_STATE].open_session()  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After the timed work: measure the ceilings and look at one step of each case, so that causes can be named."""
    state = session.config.stash.get(_STATE, None)
    if state is None or state.session is None or not state.session.can_explain:
        return
    if exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR):
        return
    from rtxbench.measure.progress import Waiting

    with _capture_suspended(session.config), Waiting("\ngathering what explains the figures", sys.stderr):
        state.session.explain()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the recorder and close the results file."""
    state = config.stash.get(_STATE, None)
    if state is not None:
        state.close()


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add what a figure depends on and pytest-benchmark does not know: the machine's fingerprint and its GPUs."""
    if not config.stash.get(_DEFAULTS_ON, False):
        return
    environment = config.stash[_STATE].environment
    machine_info["rtxbench_machine"] = environment.machine
    machine_info["gpus"] = [
        {"uuid": gpu.uuid, "name": gpu.name, "driver": gpu.driver, "power_limit_w": gpu.power_limit_w}
        for gpu in environment.gpus
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_compare_machine_info(machine_info: dict[str, Any], compared_benchmark: dict[str, Any]) -> None:
    """Refuse to compare figures of two machines.

    Raises:
        pytest.UsageError: the stored run is of another machine, by rtxbench's fingerprint.
    """
    mine, theirs = machine_info.get("rtxbench_machine"), compared_benchmark["machine_info"].get("rtxbench_machine")
    if mine is not None and theirs is not None and mine != theirs:
        raise pytest.UsageError(
            f"the stored run is of machine {theirs}, this one is {mine}: their times are not comparable. "
            "Compare machines with `python -m rtxbench.report` on both results."
        )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Our own table: throughput, ratio with interval, verdict; then where the records are."""
    state = config.stash.get(_STATE, None)
    if state is None or state.session is None or not state.session.path.exists():
        return
    from rtxbench.measure.table import headline, summary_lines

    terminalreporter.section("rtxbench")
    for line in (*summary_lines(state.session.path), *verdict_lines(state.session.path)):
        terminalreporter.write_line(line)
    terminalreporter.write_line("")
    terminalreporter.write_line(f"records: {state.session.path}")
    terminalreporter.write_line("next:    rtxbench report --open")
    terminalreporter.write_line(headline(state.session.path))

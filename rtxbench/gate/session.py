"""One gate session: launches of both arms, one after another, until every case is decided or the budget is spent."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.errors import MeasurementError
from rtxbench.gate.statistics.decision import DEFAULT_MARGINS, FAIL_EVIDENCE, CaseDecision, GateOutcome, decide_cases
from rtxbench.records import Flag, Launch
from rtxbench.stats import trimmed_mean

__all__ = ["CaseResult", "GateLaunch", "ProcessPair", "Settings", "run_session", "step_times_s"]

_LEAST: Final = {"peak memory": 16.0 * 2**20, "first step": 0.05}
"""Bytes and seconds below which both arms' figures are an interpreter's, not the step's: they are not gated."""


class Settings(NamedTuple):
    """The cases to gate, and how strictly."""

    cases: tuple[str, ...]
    """``module:function`` each."""
    margins: Mapping[str, float] = DEFAULT_MARGINS
    """Quantity → the increase that must not go through, 0.05 for 5 %."""
    case_margins: Mapping[str, Mapping[str, float]] = {}
    """The same for single cases, where they have their own."""
    fail_evidence: float = FAIL_EVIDENCE
    """e-value that fails one case alone."""
    budget_s: float = 600.0

    def margins_of(self, case: str) -> dict[str, float]:
        """Quantity → margin of one case."""
        return {**self.margins, **self.case_margins.get(case, {})}


class ProcessPair(NamedTuple):
    """One fresh process of each arm: what their interleaved blocks say."""

    log_ratio: float
    """ln(candidate ÷ baseline) of step time; above zero the candidate is slower."""
    baseline: Launch
    candidate: Launch

    @property
    def figures(self) -> dict[str, tuple[float, float]]:
        """Quantity → (baseline, candidate), of those beside step time that both arms have."""
        both = {
            "peak memory": (self.baseline.peak_memory_bytes, self.candidate.peak_memory_bytes),
            "first step": (self.baseline.first_step_s, self.candidate.first_step_s),
        }
        return {name: (old, new) for name, (old, new) in both.items() if old and new}


class GateLaunch(NamedTuple):
    """One finished launch of one case: as many pairs of processes as its time allows, and the number they agree on."""

    case: str
    number: int
    """From 1, within the case."""
    pairs: tuple[ProcessPair, ...]
    """At least one."""
    flags: tuple[Flag, ...] = ()
    machine: str = ""
    """Of a pool; empty where one machine measures."""

    @property
    def log_ratio(self) -> float:
        """ln(candidate ÷ baseline) of step time, trimmed mean over the pairs; above zero the candidate is slower."""
        return trimmed_mean([pair.log_ratio for pair in self.pairs])

    @property
    def log_ratios(self) -> dict[str, float]:
        """Quantity → ln(candidate ÷ baseline), of those that both arms of every pair have."""
        figures = [pair.figures for pair in self.pairs]
        names = [name for name in figures[0] if all(name in one for one in figures)]
        others = {name: trimmed_mean([math.log(one[name][1] / one[name][0]) for one in figures]) for name in names}
        return {"step time": self.log_ratio, **others}

    @property
    def gated(self) -> set[str]:
        """The quantities that in most pairs are large enough in either arm to be the step's own."""
        larger: dict[str, list[float]] = {}
        for pair in self.pairs:
            for name, both in pair.figures.items():
                larger.setdefault(name, []).append(max(both))
        return {"step time", *(name for name, values in larger.items() if median(values) >= _LEAST[name])}


class CaseResult(NamedTuple):
    """The outcome of one case."""

    case: str
    outcome: GateOutcome
    reason: str
    margins: Mapping[str, float]
    decision: CaseDecision
    launches: tuple[GateLaunch, ...]

    @property
    def log_ratios(self) -> dict[str, tuple[float, ...]]:
        """Quantity → its log-ratio in each launch."""
        return _values(self.launches)

    @property
    def machines(self) -> tuple[str, ...]:
        """Machine of each launch of a pool; empty where one machine measures."""
        return _machines(self.launches)


LaunchDone = Callable[[GateLaunch, CaseDecision], None]
Watch = Callable[[GateLaunch], tuple[Flag, ...]]
MeasureLaunch = Callable[[str, int], Sequence[ProcessPair]]
MachineOf = Callable[[int], str]


def step_times_s(launch: Launch) -> NDArray[np.float64]:
    """Return the seconds per step of each block, shape (rounds, 2)."""
    blocks_ns = np.asarray(launch.blocks_ns, dtype=np.float64)
    return np.asarray((blocks_ns[:, 1] - blocks_ns[:, 0]).reshape(-1, 2) / 1e9 / launch.steps_per_block)


def run_session(
    settings: Settings,
    measure: MeasureLaunch,
    launch_done: LaunchDone = lambda _launch, _decision: None,
    watch: Watch = lambda _launch: (),
    clock: Callable[[], float] = time.monotonic,
    machine_of: MachineOf = lambda _number: "",
) -> list[CaseResult]:
    """Measure the cases in turn, a launch each, until all are decided.

    Args:
        settings: cases, margins, budget.
        measure: (case, launch number) → the pairs of processes of that launch.
        launch_done: told of each finished launch and what follows from it.
        watch: the environment's flags of a launch; an invalid one is measured again, twice at most.
        clock: seconds.
        machine_of: launch number → the machine of a pool that measures it.

    Raises:
        MeasurementError: an arm failed, or the environment stayed invalid.
    """
    began_s = clock()
    launches: dict[str, list[GateLaunch]] = {case: [] for case in settings.cases}
    results: dict[str, CaseResult] = {}
    longest_s = 0.0
    while pending := [case for case in settings.cases if case not in results]:
        for case in pending:
            if clock() - began_s + longest_s > settings.budget_s:
                results[case] = _result(settings, case, launches, "budget-spent")
                continue
            started_s = clock()
            number = len(launches[case]) + 1
            launch = _valid_launch(case, number, measure, watch)._replace(machine=machine_of(number))
            longest_s = max(longest_s, clock() - started_s)
            launches[case].append(launch)
            result = _result(settings, case, launches)
            if result.decision.outcome is not None:
                results[case] = result
            launch_done(launch, result.decision)
    return [results[case] for case in settings.cases]


def _values(launches: Sequence[GateLaunch]) -> dict[str, tuple[float, ...]]:
    """Quantity → log-ratios, of the quantities that the first launch finds worth gating and that none lacks."""
    if not launches:
        return {"step time": ()}
    rows = [launch.log_ratios for launch in launches]
    names = [name for name in DEFAULT_MARGINS if name in launches[0].gated and all(name in row for row in rows)]
    return {name: tuple(row[name] for row in rows) for name in names}


def _machines(launches: Sequence[GateLaunch]) -> tuple[str, ...]:
    return tuple(launch.machine for launch in launches if launch.machine)


def _result(
    settings: Settings, case: str, launches: Mapping[str, Sequence[GateLaunch]], out_of_time: str | None = None
) -> CaseResult:
    """Return one case's result as it stands among the others: e-BH looks at all of them."""
    values = {name: _values(found) for name, found in launches.items()}
    margins = {name: settings.margins_of(name) for name in launches}
    machines = {name: _machines(found) for name, found in launches.items()}
    decision = decide_cases(values, margins, settings.fail_evidence, machines)[case]
    outcome, reason = decision.outcome, decision.reason
    if outcome is None and out_of_time is not None:
        reason = out_of_time
    return CaseResult(case, outcome or "inconclusive", reason, margins[case], decision, tuple(launches[case]))


def _valid_launch(case: str, number: int, measure: MeasureLaunch, watch: Watch) -> GateLaunch:
    """Make a launch whose environment was valid, in three tries."""
    flags: tuple[Flag, ...] = ()
    for _attempt in range(3):
        launch = GateLaunch(case, number, tuple(measure(case, number)))
        flags = watch(launch)
        if not any(flag.severity == "invalid" for flag in flags):
            return launch._replace(flags=flags)
    reasons = "; ".join(flag.detail for flag in flags if flag.severity == "invalid")
    raise MeasurementError(
        f"{case}: launch {number} was invalid three times: {reasons}.",
        next_step="Free the machine of what disturbs it, then gate again.",
    )

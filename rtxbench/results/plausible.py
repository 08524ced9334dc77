"""Refuse impossible records: figures that contradict their own blocks, intervals that contradict themselves.

Types and bounds are checked as a line is decoded (`rtxbench.records`); here stand the rules that tie fields together.
A record that passes both cannot make a later computation overflow or divide by nothing.
"""

from collections.abc import Iterable
from math import isclose
from typing import Final

from rtxbench.placement import PLACEMENTS
from rtxbench.precision import PRECISIONS
from rtxbench.records import Case, CaseRecord, Estimate, Launch, Observation, RatioRecord, Record, Run
from rtxbench.results.topics import topic_problem

__all__ = ["record_problem", "step_time_s"]

_TOLERANCE: Final = 0.02
"""Estimators may differ a little from version to version; an invented figure differs by more."""
_SHOWN: Final = 40


def record_problem(record: Record, run: Run) -> str | None:
    """Return what is impossible about a record of ``run``, or ``None``."""
    if record.run_id != run.run_id:
        return f"the file is run {run.run_id} but holds record {record.record_id} of run {record.run_id}"
    unknown = _first(map(_unknown_name, _cases(record)))
    if unknown is not None:
        return unknown
    if isinstance(record, CaseRecord):
        return _case_problem(record)
    if isinstance(record, RatioRecord):
        return _first((_estimate_problem(record.ratio, positive=True), _replicates_problem(record)))
    return _observation_problem(record) or topic_problem(record)


def _cases(record: Record) -> tuple[Case, ...]:
    if isinstance(record, RatioRecord):
        return record.baseline, record.candidate
    return () if record.case is None else (record.case,)


def _unknown_name(case: Case) -> str | None:
    """Readers ask the tables what a placement's devices and a precision's products are."""
    if case.placement not in PLACEMENTS:
        return f"no placement is called {case.placement[:_SHOWN]!r} in this version"
    if case.precision not in PRECISIONS:
        return f"no precision is called {case.precision[:_SHOWN]!r} in this version"
    return None


def step_time_s(launch: Launch) -> float:
    """Mean seconds per step of one launch: total time over total steps."""
    total_ns = sum(end - start for start, end in launch.blocks_ns)
    return total_ns / 1e9 / (launch.steps_per_block * len(launch.blocks_ns))


def _case_problem(record: CaseRecord) -> str | None:
    measured = record.measurement
    if measured is None:
        return "the case is called measured and holds no measurement" if record.status == "measured" else None
    problems = (
        _estimate_problem(measured.step_time_s, positive=True),
        _estimate_problem(measured.throughput_per_s, positive=True),
        _blocks_problem(measured.launches),
    )
    return _first(problems) or _throughput_problem(record.case, measured.launches, measured.throughput_per_s)


def _blocks_problem(launches: Iterable[Launch]) -> str | None:
    blocks = [launch.blocks_ns for launch in launches]
    if not blocks or not all(blocks):
        return "the measurement holds no timed blocks"
    if any(end <= start for launch in blocks for start, end in launch):
        return "a timed block ends before it begins"
    return None


def _throughput_problem(case: Case, launches: Iterable[Launch], stated: Estimate) -> str | None:
    """Find a stated throughput that lies outside those of its launches, whatever mean was taken."""
    if case.batch_size == 0:
        return None
    speeds = [case.batch_size / step_time_s(launch) for launch in launches]
    low, high = min(speeds) * (1 - _TOLERANCE), max(speeds) * (1 + _TOLERANCE)
    if low <= stated.value <= high:
        return None
    return f"its throughput of {stated.value:.6g} examples/s does not follow from its own timed blocks"


def _replicates_problem(record: RatioRecord) -> str | None:
    return None if record.log_ratios else "a comparison without a single replicate"


def _observation_problem(record: Observation) -> str | None:
    if record.estimate is None:
        return None
    return _estimate_problem(record.estimate, positive=False)


def _estimate_problem(estimate: Estimate, *, positive: bool) -> str | None:
    low, value, high = estimate.low, estimate.value, estimate.high
    if positive and (value <= 0 or (low is not None and low < 0)):
        return f"a speed, time or ratio of {value:.6g} cannot be"
    if low is not None and high is not None:
        inside = low <= value <= high or isclose(low, value) or isclose(value, high)
        if not inside:
            return f"the estimate {value:.6g} lies outside its own interval [{low:.6g}, {high:.6g}]"
    return None


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)

"""The throughput gate's decision: log-ratios so far → what to do next. Pure; no clock, no file.

::

    after every launch, from the third to the sixteenth, for step time, peak memory and first step
      e(slower) ≥ 100 and θ ≥ 0.6 margin                       ──►  regression
      e(slow-down below the margin) ≥ 20 and θ < 0.6 margin    ──►  pass, once it holds for every quantity
      neither after the sixteenth                              ──►  inconclusive

θ is ln(candidate ÷ baseline): above zero the candidate is slower or needs more. The evidence is an e-process
(`.evidence`), so that looking after each launch costs nothing. A machine with two states, each of which outlasts some
launches, breaks what the evidence assumes: one of them can hold an arm for the first few. So a *time* fails only after
six launches, unless it grew by more than such a state explains, and not while the launches lie in two groups so far
apart that the step between them explains it. Both only hold back a failure, which costs the evidence nothing.

Where several cases are gated together, e-BH over the cases of one quantity keeps its false alarms within the same one
per cent.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from rtxbench.gate.statistics.evidence import Look, Machines, e_bh, look

__all__ = [
    "DEFAULT_MARGINS",
    "EXIT_CODES",
    "FAIL_EVIDENCE",
    "LAUNCHES_LEAST",
    "LAUNCHES_MOST",
    "LAUNCHES_TO_FAIL",
    "MODE_LOG_RATIO",
    "PASS_EVIDENCE",
    "SLOW_SHARE",
    "CaseDecision",
    "GateOutcome",
    "QuantityDecision",
    "combined_outcome",
    "decide",
    "decide_cases",
    "replay",
]

GateOutcome: TypeAlias = Literal["pass", "regression", "inconclusive"]

DEFAULT_MARGINS: Final = {"step time": 0.05, "peak memory": 0.03, "first step": 0.25}
"""Gated quantity → the increase that must not go through."""

FAIL_EVIDENCE: Final = 100.0
"""e-value that fails a candidate: at most one false alarm in a hundred gates of unchanged code."""
PASS_EVIDENCE: Final = 20.0
"""e-value that lets it pass: at most one slow-down of the margin in twenty goes through."""
SLOW_SHARE: Final = 0.6
"""Of the margin: an increase below it never fails. At a half, an hour that shifts all launches by 1.5 % failed more
unchanged code than the first edition did (6.4 % against 3.7 %, simulated)."""
LAUNCHES_LEAST: Final = 3
LAUNCHES_MOST: Final = 16
LAUNCHES_TO_FAIL: Final = 6
"""Launches from which a time fails that a state of the machine could explain."""
MODE_LOG_RATIO: Final = 0.15
"""Factor that such a state can put on a time: 1.16."""
_GAP_LEAST: Final = 0.1
_GAP_SHARE: Final = 0.6
"""Two groups of launches at least this far apart, and by this share of the increase, may be two states."""
_TIMES: Final = frozenset({"step time", "first step"})

EXIT_CODES: Final[dict[GateOutcome, int]] = {"pass": 0, "regression": 1, "inconclusive": 6}


class QuantityDecision(NamedTuple):
    """One quantity of one case. ``outcome`` is ``None`` while nothing can be said."""

    look: Look | None
    """``None`` before the third launch."""
    outcome: GateOutcome | None


class CaseDecision(NamedTuple):
    """One case. ``outcome`` is ``None`` while more launches are wanted."""

    outcome: GateOutcome | None
    reason: str
    """Machine-readable: why this outcome, or why more is measured."""
    quantities: dict[str, QuantityDecision]


def decide_cases(
    cases: Mapping[str, Mapping[str, Sequence[float]]],
    margins: Mapping[str, Mapping[str, float]],
    fail_evidence: float = FAIL_EVIDENCE,
    machines: Mapping[str, Machines] = {},
) -> dict[str, CaseDecision]:
    """Decide every case on its launches so far.

    Args:
        cases: case → quantity → log-ratio of each launch, in the order measured.
        margins: case → quantity → the increase that must not go through, 0.05 for 5 %.
        fail_evidence: e-value that fails one case alone.
        machines: case → machine of each launch, where a pool measured.
    """
    looks = {
        case: {name: _look(values, margins[case][name], machines.get(case, ())) for name, values in quantities.items()}
        for case, quantities in cases.items()
    }
    slower = _slower(looks, fail_evidence)
    return {case: _decided(looks[case], cases[case], margins[case], slower[case]) for case in cases}


def decide(
    log_ratios: Sequence[float], margin_ratio: float = DEFAULT_MARGINS["step time"], evidence: float = FAIL_EVIDENCE
) -> CaseDecision:
    """Decide one case by its step time alone."""
    return decide_cases({"": {"step time": log_ratios}}, {"": {"step time": margin_ratio}}, evidence)[""]


def combined_outcome(outcomes: Sequence[GateOutcome]) -> GateOutcome:
    """Combine the outcomes of several cases: any regression fails, else any inconclusive is inconclusive."""
    for worst in ("regression", "inconclusive"):
        if worst in outcomes:
            return worst
    return "pass"


def replay(
    launches: Sequence[float], margin_ratio: float = DEFAULT_MARGINS["step time"], machines: Machines = ()
) -> tuple[CaseDecision, int]:
    """Run one case's gate on step-time log-ratios given in order: the decision and how many launches it took.

    Args:
        launches: in the order measured.
        margin_ratio: the slow-down that must not go through.
        machines: of a pool, that of each launch.

    Raises:
        ValueError: fewer launches than the gate wanted (sixteen always suffice).
    """
    for count in range(LAUNCHES_LEAST, len(launches) + 1):
        seen, own = {"": {"step time": launches[:count]}}, {"": machines[:count]}
        decision = decide_cases(seen, {"": {"step time": margin_ratio}}, machines=own)[""]
        if decision.outcome is not None:
            return decision, count
    raise ValueError(f"the gate is undecided after all {len(launches)} launches")


def _look(values: Sequence[float], margin_ratio: float, machines: Machines) -> Look | None:
    return look(values, margin_ratio, machines) if len(values) >= LAUNCHES_LEAST else None


def _slower(looks: Mapping[str, Mapping[str, Look | None]], evidence: float) -> dict[str, set[str]]:
    """Case → the quantities in which e-BH over all cases finds more than the baseline's."""
    found: dict[str, set[str]] = {case: set() for case in looks}
    for name in DEFAULT_MARGINS:
        family = [case for case in looks if name in looks[case]]
        values = [-math.inf if (one := looks[case][name]) is None else one.slower for case in family]
        for case, falls in zip(family, e_bh(values, evidence), strict=True):
            if falls:
                found[case].add(name)
    return found


def _decided(
    looks: Mapping[str, Look | None],
    values: Mapping[str, Sequence[float]],
    margins: Mapping[str, float],
    slower: set[str],
) -> CaseDecision:
    spent = max((len(one) for one in values.values()), default=0) >= LAUNCHES_MOST
    quantities = {
        name: QuantityDecision(one, _outcome(name, one, values[name], margins[name], name in slower))
        for name, one in looks.items()
    }
    outcomes = [quantity.outcome for quantity in quantities.values()]
    if "regression" in outcomes:
        return CaseDecision("regression", "evidence-of-slow-down", quantities)
    if outcomes and all(outcome == "pass" for outcome in outcomes):
        return CaseDecision("pass", "margin-excluded", quantities)
    if spent:
        held = any(name in slower and _at_two_speeds(values[name], one.estimate) for name, one in looks.items() if one)
        return CaseDecision(
            "inconclusive", "launches-at-two-speeds" if held else "noise-too-large-for-margin", quantities
        )
    return CaseDecision(None, "more-launches-needed", quantities)


def _outcome(
    name: str, one: Look | None, values: Sequence[float], margin_ratio: float, slower: bool
) -> GateOutcome | None:
    if one is None:
        return None
    bar = math.log1p(SLOW_SHARE * margin_ratio)
    if one.estimate < bar:
        return "pass" if one.within >= math.log(PASS_EVIDENCE) else None
    early = len(values) < LAUNCHES_TO_FAIL and one.estimate < bar + MODE_LOG_RATIO
    held_back = name in _TIMES and (early or _at_two_speeds(values, one.estimate))
    return "regression" if slower and not held_back else None


def _at_two_speeds(values: Sequence[float], estimate: float) -> bool:
    """Tell whether the largest step between neighbouring launches is large enough to be what the estimate shows."""
    step = max(high - low for low, high in itertools.pairwise(sorted(values)))
    return step >= max(_GAP_LEAST, _GAP_SHARE * estimate)

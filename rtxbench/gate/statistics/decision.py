"""The throughput gate's decision: log-ratios so far → what to do next. Pure; no clock, no file.

::

    after every launch, from the third to the sixteenth, for step time, peak memory and first step
      e(slower) ≥ 100 and θ ≥ ½ margin                       ──►  regression
      e(slow-down below the margin) ≥ 20 and θ < ½ margin    ──►  pass, once it holds for every quantity
      neither after the sixteenth                            ──►  inconclusive

θ is ln(candidate ÷ baseline): above zero the candidate is slower or needs more. The evidence is an e-process
(`.evidence`), so that looking after each launch costs nothing. Where several cases are gated together,
e-BH over the cases of one quantity keeps its false alarms within the same one per cent.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from rtxbench.gate.statistics.evidence import Look, e_bh, look

__all__ = [
    "DEFAULT_MARGINS",
    "EXIT_CODES",
    "FAIL_EVIDENCE",
    "LAUNCHES_LEAST",
    "LAUNCHES_MOST",
    "PASS_EVIDENCE",
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
"""What is gated, and the increase that must not go through."""

FAIL_EVIDENCE: Final = 100.0
"""e-value that fails a candidate: at most one false alarm in a hundred gates of unchanged code."""
PASS_EVIDENCE: Final = 20.0
"""e-value that lets it pass: at most one slow-down of the margin in twenty goes through."""
LAUNCHES_LEAST: Final = 3
LAUNCHES_MOST: Final = 16

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
) -> dict[str, CaseDecision]:
    """Decide every case on its launches so far.

    Args:
        cases: case → quantity → log-ratio of each launch, in the order measured.
        margins: case → quantity → the increase that must not go through, 0.05 for 5 %.
        fail_evidence: e-value that fails one case alone.
    """
    looks = {
        case: {name: _look(values, margins[case][name]) for name, values in quantities.items()}
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
    """One outcome for several cases: any regression fails, else any inconclusive is inconclusive."""
    for worst in ("regression", "inconclusive"):
        if worst in outcomes:
            return worst
    return "pass"


def replay(launches: Sequence[float], margin_ratio: float = DEFAULT_MARGINS["step time"]) -> tuple[CaseDecision, int]:
    """Run one case's gate on step-time log-ratios given in order: the decision and how many launches it took.

    Raises:
        ValueError: fewer launches than the gate wanted (sixteen always suffice).
    """
    for count in range(LAUNCHES_LEAST, len(launches) + 1):
        decision = decide(launches[:count], margin_ratio)
        if decision.outcome is not None:
            return decision, count
    raise ValueError(f"the gate is undecided after all {len(launches)} launches")


def _look(values: Sequence[float], margin_ratio: float) -> Look | None:
    return look(values, margin_ratio) if len(values) >= LAUNCHES_LEAST else None


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
        name: QuantityDecision(one, _outcome(one, margins[name], name in slower)) for name, one in looks.items()
    }
    outcomes = [quantity.outcome for quantity in quantities.values()]
    if "regression" in outcomes:
        return CaseDecision("regression", "evidence-of-slow-down", quantities)
    if outcomes and all(outcome == "pass" for outcome in outcomes):
        return CaseDecision("pass", "margin-excluded", quantities)
    if spent:
        return CaseDecision("inconclusive", "noise-too-large-for-margin", quantities)
    return CaseDecision(None, "more-launches-needed", quantities)


def _outcome(one: Look | None, margin_ratio: float, slower: bool) -> GateOutcome | None:
    if one is None:
        return None
    high = one.estimate >= math.log1p(margin_ratio / 2)
    if slower and high:
        return "regression"
    return "pass" if not high and one.within >= math.log(PASS_EVIDENCE) else None

"""The throughput gate's decision: log-ratios of step time so far → what to do next. Pure; no clock, no file.

::

    screen J = 3 ─ 5 ─ 8 ─ 12 launches         confirm on 5 fresh launches
      lower bound > 0 and θ ≥ ½ margin  ────►   LB95 > 0 and θ ≥ ½ margin  ──►  regression
      UB95 < margin and θ < ½ margin    ──►     pass
      neither at J = 12                 ──►     inconclusive

θ is the mean over launches of ln(candidate ÷ baseline) of step time: above zero the candidate is slower. The
screen's one-sided α grow with J and sum to .01 (Bonferroni over the looks). A screen that looks bad never fails
anyone by itself: launches that had no part in raising the suspicion must confirm it.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from rtxbench.stats import lower_bound, upper_bound

__all__ = [
    "CONFIRM_LAUNCHES",
    "DEFAULT_MARGIN_RATIO",
    "EXIT_CODES",
    "LOOKS",
    "CaseState",
    "Decision",
    "GateOutcome",
    "Stage",
    "combined_outcome",
    "decide",
    "replay",
    "screen",
]

GateOutcome: TypeAlias = Literal["pass", "regression", "inconclusive"]
Stage: TypeAlias = Literal["screen", "confirm", "done"]

DEFAULT_MARGIN_RATIO: Final = 0.05
"""The slow-down that must not go through."""

CONFIRM_LAUNCHES: Final = 5

EXIT_CODES: Final[dict[GateOutcome, int]] = {"pass": 0, "regression": 1, "inconclusive": 6}


class _Look(NamedTuple):
    launches: int
    alpha: float


LOOKS: Final = (_Look(3, 0.001), _Look(5, 0.002), _Look(8, 0.003), _Look(12, 0.004))
"""When the screen looks, and its one-sided chance of suspecting an unchanged commit at that look."""

_CONFIDENCE: Final = 0.95


class CaseState(NamedTuple):
    """What was measured of one case so far: log-ratios of step time, one per launch."""

    screened: tuple[float, ...] = ()
    confirmed: tuple[float, ...] = ()
    """Fresh launches after the screen raised a suspicion; empty before."""

    def extended(self, stage: Stage, log_ratios: Sequence[float]) -> "CaseState":
        """This state after more launches of the stage that asked for them."""
        if stage == "screen":
            return self._replace(screened=(*self.screened, *log_ratios))
        return self._replace(confirmed=(*self.confirmed, *log_ratios))


class Decision(NamedTuple):
    """What to do next with one case. ``outcome`` is set exactly when ``stage`` is ``done``."""

    stage: Stage
    launches_wanted: int
    """Launches still to measure before the next look; 0 when done."""
    outcome: GateOutcome | None
    reason: str
    """Machine-readable: why this outcome, or why more is measured."""


def screen(log_ratios: Sequence[float], margin_ratio: float = DEFAULT_MARGIN_RATIO) -> Literal["suspect", "pass", "go"]:
    """One look of the screen; between looks, and where nothing can be said yet, ``go`` on measuring."""
    alpha = {look.launches: look.alpha for look in LOOKS}.get(len(log_ratios))
    if alpha is None:
        return "go"
    mean = math.fsum(log_ratios) / len(log_ratios)
    if mean >= _suspicious(margin_ratio):
        return "suspect" if lower_bound(log_ratios, 1.0 - alpha) > 0.0 else "go"
    return "pass" if upper_bound(log_ratios, _CONFIDENCE) < math.log1p(margin_ratio) else "go"


def decide(state: CaseState, margin_ratio: float = DEFAULT_MARGIN_RATIO, family: int = 1) -> Decision:
    """Decide as far as the launches so far allow.

    Args:
        state: log-ratios so far.
        margin_ratio: slow-down to be caught; half of it is the least estimate that fails.
        family: number of cases gated together; the confirmation's level is divided by it, so that more cases do
            not mean more false alarms.
    """
    if state.confirmed:
        return _confirmation(state.confirmed, margin_ratio, family)
    for look in LOOKS:
        if len(state.screened) < look.launches:
            return Decision("screen", look.launches - len(state.screened), None, "more-launches-needed")
        verdict = screen(state.screened[: look.launches], margin_ratio)
        if verdict == "pass":
            return Decision("done", 0, "pass", "upper-bound-below-margin")
        if verdict == "suspect":
            return Decision("confirm", CONFIRM_LAUNCHES, None, "suspected-by-the-screen")
    return Decision("done", 0, "inconclusive", "noise-too-large-for-margin")


def combined_outcome(outcomes: Sequence[GateOutcome]) -> GateOutcome:
    """One outcome for several cases: any regression fails, else any inconclusive is inconclusive."""
    for worst in ("regression", "inconclusive"):
        if worst in outcomes:
            return worst
    return "pass"


def replay(launches: Iterable[float], margin_ratio: float = DEFAULT_MARGIN_RATIO) -> tuple[Decision, int]:
    """Run one case's gate on log-ratios given in order: the decision and how many launches it took.

    Raises:
        ValueError: fewer launches than the gate wanted (17 always suffice).
    """
    state = CaseState()
    source = iter(launches)
    while (decision := decide(state, margin_ratio)).outcome is None:
        fresh = tuple(itertools.islice(source, decision.launches_wanted))
        if len(fresh) < decision.launches_wanted:
            raise ValueError(f"the gate wants {decision.launches_wanted} more launches, {len(fresh)} are left")
        state = state.extended(decision.stage, fresh)
    return decision, len(state.screened) + len(state.confirmed)


def _confirmation(fresh: Sequence[float], margin_ratio: float, family: int) -> Decision:
    missing = CONFIRM_LAUNCHES - len(fresh)
    if missing > 0:
        return Decision("confirm", missing, None, "suspected-by-the-screen")
    mean = math.fsum(fresh) / len(fresh)
    if mean >= _suspicious(margin_ratio) and lower_bound(fresh, 1.0 - (1.0 - _CONFIDENCE) / family) > 0.0:
        return Decision("done", 0, "regression", "confirmed-on-fresh-launches")
    if upper_bound(fresh, _CONFIDENCE) < math.log1p(margin_ratio):
        return Decision("done", 0, "pass", "not-confirmed-on-fresh-launches")
    return Decision("done", 0, "inconclusive", "suspected-but-not-confirmed")


def _suspicious(margin_ratio: float) -> float:
    """Least log-ratio that may fail: half the margin (2.5 % of 5 %)."""
    return math.log1p(margin_ratio / 2)

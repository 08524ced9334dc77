"""One launch: a fresh worker per arm, both warmed up, their blocks interleaved. Gives one log-ratio per case.

::

    warm-up  A B A B …   until the two-window rule holds on both arms, or on their ratio
    solo     A A A A     the baseline alone: does interleaving disturb it?
    rounds   A B B A │ B A A B │ A B B A │ …   each letter a block of k synchronised steps

The other arm's worker sleeps on its pipe while one runs.
"""

import contextlib
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from rtxbench.errors import MeasurementError
from rtxbench.gate.process import Arm, StepWorker, build_in_all
from rtxbench.stats import log_ratio_per_round, trimmed_mean, two_window_steady

__all__ = ["CaseLaunch", "Plan", "Window", "measure_launch", "warmup_block_default_s"]

Window = tuple[int, int]

_WINDOW_BLOCKS: Final = 20
_CHECKS_IN_A_ROW: Final = 3
_SOLO_BLOCKS: Final = 4
_ABBA: Final = (0, 1, 1, 0)
_BAAB: Final = (1, 0, 0, 1)


class Plan(NamedTuple):
    """How one launch is measured."""

    cases: tuple[str, ...]
    rounds: int = 16
    block_s: float = 0.25
    warmup_block_s: float = 0.05
    warmup_cap_s: float = 20.0
    """Per case; at the cap the launch is measured and marked."""
    planted_ratio: float = 0.0
    """Slow-down planted in the candidate by step duplication: it runs k(1 + planted) steps and reports k."""
    timeout_s: float = 600.0


class CaseLaunch(NamedTuple):
    """What one launch measured of one case."""

    case: str
    step_times_s: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]
    """Shape (rounds, 2 arms, 2 blocks), seconds per step."""
    windows_ns: tuple[Window, ...]
    """Every timed block, in the order run."""
    steps_per_block: int
    warmup_ok: bool
    solo_ratio: float
    """Baseline's step time alone ÷ interleaved."""

    @property
    def log_ratio(self) -> float:
        """ln(candidate ÷ baseline) of step time: 20 % trimmed mean over rounds."""
        return trimmed_mean(log_ratio_per_round(self.step_times_s[:, 0, :], self.step_times_s[:, 1, :]))


def warmup_block_default_s() -> float:
    """Windows of 20 blocks last 1 s on a CPU; 5 s where a GPU's clocks and temperature have to settle."""
    return 0.25 if Path("/dev/nvidiactl").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != "" else 0.05


def measure_launch(baseline: Arm, candidate: Arm, plan: Plan, index: int) -> list[CaseLaunch]:
    """Start fresh workers and measure every case of the plan.

    Args:
        baseline: arm A.
        candidate: arm B.
        plan: cases and lengths.
        index: number of the launch; odd launches start the candidate's worker first.

    Raises:
        MeasurementError: an arm does not start, does not import, crashes, hangs or returns no time.
    """
    with contextlib.ExitStack() as stack:
        order = (candidate, baseline) if index % 2 else (baseline, candidate)
        started = [stack.enter_context(StepWorker(arm, plan.timeout_s)) for arm in order]
        pair = (started[1], started[0]) if index % 2 else (started[0], started[1])
        return [_measure_case(_Pair(pair, case, plan), index) for case in plan.cases]


class _Pair:
    """Both workers on one case, with the number of steps a block has."""

    def __init__(self, workers: tuple[StepWorker, StepWorker], case: str, plan: Plan) -> None:
        self.workers = workers
        self.case = case
        self.plan = plan
        self.windows: list[Window] = []

    def block_s(self, arm: int, steps: int, lead_in: int = 1) -> float:
        """Seconds per reported step of one block of one arm."""
        really = steps if arm == 0 else round(steps * (1 + self.plan.planted_ratio))
        start_ns, end_ns = self.workers[arm].block(self.case, really, lead_in)
        if end_ns <= start_ns:
            raise MeasurementError(
                f"{self.case}: {steps} steps took no measurable time.",
                next_step="Make sure that the function returned by the case runs a whole training step.",
            )
        self.windows.append((start_ns, end_ns))
        return (end_ns - start_ns) / 1e9 / steps

    def steps_for(self, target_s: float) -> int:
        """Steps of the baseline that last about ``target_s``, a multiple of what the planted share needs."""
        steps = 1
        while (elapsed_s := self.block_s(0, steps) * steps) < target_s / 4:
            steps *= 2
        unit = Fraction(self.plan.planted_ratio).limit_denominator(1000).denominator
        return max(1, round(target_s / (elapsed_s / steps) / unit)) * unit


def _measure_case(pair: _Pair, index: int) -> CaseLaunch:
    build_in_all(pair.workers, pair.case)
    warmup_ok = _warm_up(pair)
    steps = pair.steps_for(pair.plan.block_s)
    solo_s = [pair.block_s(0, steps) for _ in range(_SOLO_BLOCKS)]
    pair.windows.clear()
    rounds = [_round(pair, steps, _ABBA if (number + index) % 2 == 0 else _BAAB) for number in range(pair.plan.rounds)]
    times = np.asarray(rounds)
    return CaseLaunch(
        case=pair.case,
        step_times_s=times,
        windows_ns=tuple(pair.windows),
        steps_per_block=steps,
        warmup_ok=warmup_ok,
        solo_ratio=float(np.median(solo_s) / np.median(times[: 2 * _SOLO_BLOCKS, 0, :])),
    )


def _round(pair: _Pair, steps: int, order: Sequence[int]) -> tuple[list[float], list[float]]:
    """One balanced round: the two blocks of the baseline and the two of the candidate."""
    times: tuple[list[float], list[float]] = ([], [])
    for arm in order:
        times[arm].append(pair.block_s(arm, steps))
    return times


def _warm_up(pair: _Pair) -> bool:
    """Short interleaved blocks until the two-window rule holds three times in a row; False at the cap.

    The rule may hold on both arms, or on their ratio: noise of the machine hits both alike and cancels there.
    """
    steps = pair.steps_for(pair.plan.warmup_block_s)
    series: tuple[list[float], list[float]] = ([], [])
    passed = 0
    started_ns = pair.windows[0][0]
    while passed < _CHECKS_IN_A_ROW:
        for arm in (0, 1):
            series[arm].append(pair.block_s(arm, steps, lead_in=0))
        if len(series[0]) >= 2 * _WINDOW_BLOCKS:
            passed = passed + 1 if _is_steady(series) else 0
        if (pair.windows[-1][1] - started_ns) / 1e9 > pair.plan.warmup_cap_s:
            return False
    return True


def _is_steady(series: tuple[list[float], list[float]]) -> bool:
    recent = np.asarray(series)[:, -2 * _WINDOW_BLOCKS :]
    if two_window_steady(recent[1] / recent[0], _WINDOW_BLOCKS):
        return True
    return all(two_window_steady(arm, _WINDOW_BLOCKS) for arm in recent)

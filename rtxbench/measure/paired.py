"""The paired protocol: fresh worker processes per launch, warm-up to steady state, interleaved balanced blocks.

::

    launch 1            launch 2            …      launch J
    ┌──────────────────┐
    │ build  warm up   │  round 1      round 2      …   round R        solo
    │ A,B    A,B       │  A B B A      B A A B                         A A A A
    └──────────────────┘ (in launch 2, B is first)
                          └ block: k synchronised steps after 1-2 untimed ones

Every round holds two blocks of each arm, placed symmetrically, so that a drift of the machine cancels within the
round. The launch is the unit of error: it contributes one number, the trimmed mean over its rounds of
ln(candidate ÷ baseline). More than two arms share rounds in the same way: a b c c b a, then b c a a c b, …
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from rtxbench.measure.arms import Arm, LaunchSource, WorkersAhead
from rtxbench.measure.launch import run_launch
from rtxbench.measure.paired_result import ArmResult, Pairing
from rtxbench.measure.profiles import Profile
from rtxbench.stats import launch_estimate

__all__ = ["LEAST_LAUNCHES", "half_width", "measure_pairing"]

LEAST_LAUNCHES = 3
"""A group out of time is cut here: the least launches that give an interval and its power."""


def measure_pairing(
    arms: Sequence[Arm],
    profile: Profile,
    *,
    seed: int = 0,
    launch_done: Callable[[int, Pairing], None] = lambda number, pairing: None,
    watch: Callable[[Sequence[int]], None] = lambda pids: None,
    start: LaunchSource | None = None,
) -> Pairing:
    """Measure the arms against the first until the profile's stop.

    A failing arm is given up with its reason while the others go on. Ctrl-C ends the measuring after which
    ``interrupted`` is set: finished launches are kept.

    Args:
        arms: baseline first; keys must differ.
        profile: launches, rounds, block length, warm-up.
        seed: of weights and batches; launch j uses seed + j in every arm.
        launch_done: told after each launch.
        watch: told the worker processes' ids of each launch.
        start: how workers are started, if not by `WorkersAhead`.
    """
    pairing = Pairing([ArmResult(arm) for arm in arms], {arm.key: [] for arm in arms[1:]})
    began = time.monotonic()
    with closing(WorkersAhead(profile.launches_max, seed=seed, build=profile.builds_ahead)) as ahead:
        for number in range(profile.launches_max):
            alive = [result for result in pairing.results if result.failure is None]
            if not alive or _may_stop(pairing, profile, time.monotonic() - began):
                break
            try:
                run_launch(pairing, alive, profile, seed + number, start or ahead, watch)
            except KeyboardInterrupt:
                pairing.interrupted = True
                break
            launch_done(number + 1, pairing)
    return pairing


def _may_stop(pairing: Pairing, profile: Profile, elapsed_s: float) -> bool:
    """Enough launches and narrow intervals, or out of time with the least that gives an interval."""
    done = pairing.launches
    if done >= LEAST_LAUNCHES and elapsed_s * (done + 1) / done > profile.group_budget_s:
        return True
    if done < profile.launches_min:
        return False
    widths = [half_width(values, adaptive=profile.adaptive) for values in pairing.log_ratios.values() if values]
    return all(width <= profile.half_width_goal_ratio for width in widths)


def half_width(log_ratios: Sequence[float], *, adaptive: bool) -> float:
    """Half-width of the 95 % interval of a log-ratio; infinite below two launches."""
    estimate = launch_estimate(log_ratios, adaptive=adaptive)
    return math.inf if estimate.high is None else estimate.high - estimate.value

"""The paired protocol: fresh worker processes per launch, short warm-up, interleaved balanced blocks.

::

    launch 1            launch 2            …      launch J
    ┌──────────────────┐
    │ build  warm up   │  round 1      round 2      …   round R        solo        once: A alone, B alone
    │ A,B    A,B       │  A B B A      B A A B                         A A A A     (sustained)
    └──────────────────┘ (in launch 2, B is first, and the solo blocks come before the rounds)
                          └ block: k synchronised steps after 1-2 untimed ones

Every round holds two blocks of each arm, placed symmetrically, so that a drift of the machine cancels within the
round. The launch is the unit of error: it contributes one number, the trimmed mean over its rounds of
ln(candidate ÷ baseline). More than two arms share rounds in the same way: a b c c b a, then b c a a c b, …
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from rtxbench.measure.paired.arms import Arm, LaunchSource, ToCome, WorkersAhead
from rtxbench.measure.paired.launch import run_launch
from rtxbench.measure.paired.result import ArmResult, PairedResult
from rtxbench.measure.paired.schedule import Limits, in_rounds
from rtxbench.measure.profiles import Profile
from rtxbench.stats import launch_estimate

__all__ = ["GroupRun", "expected_launches", "half_width", "limits_of", "measure_pairing", "precise_enough"]


class GroupRun:
    """One group's launches, made one at a time: a `rtxbench.measure.paired.schedule.Track`.

    Args:
        name: of the group.
        arms: baseline first; keys must differ.
        profile: rounds, block length, warm-up.
        start: how workers are started.
        seed: of weights and batches; launch j uses seed + j in every arm.
        watch: told the worker processes' ids of each launch.
        spent_s: what earlier attempts at this group took.
    """

    def __init__(
        self,
        name: str,
        arms: Sequence[Arm],
        profile: Profile,
        start: LaunchSource,
        *,
        seed: int = 0,
        watch: Callable[[Sequence[int]], None] = lambda pids: None,
        spent_s: float = 0.0,
    ) -> None:
        self.name = name
        self.pairing = PairedResult([ArmResult(arm) for arm in arms], {arm.key: [] for arm in arms[1:]})
        self.spent_s = spent_s
        self.longest_s = 0.0
        self._profile = profile
        self._start = start
        self.adaptive = profile.adaptive
        """Return whether the number of launches depends on what they show."""
        self._seed = seed
        self._watch = watch
        self._made = 0

    @property
    def launches(self) -> int:
        """Launches made, also those in which an arm failed."""
        return self._made

    @property
    def over(self) -> bool:
        """Return whether every arm was given up."""
        return not self._alive

    @property
    def _alive(self) -> list[ArmResult]:
        return [result for result in self.pairing.results if result.failure is None]

    def to_come(self, after: int = 0) -> ToCome:
        """Announce the launch after as many others of this group."""
        return ToCome([result.arm for result in self._alive], self._seed + self._made + after)

    def launch(self) -> None:
        """Make the next launch.

        Raises:
            KeyboardInterrupt: Ctrl-C; the workers have ended and finished launches are kept.
        """
        began = time.monotonic()
        before_s = self._stretches_s()
        try:
            run_launch(self.pairing, self._alive, self._profile, self._seed + self._made, self._start, self._watch)
        except KeyboardInterrupt:
            self.pairing.interrupted = True
            raise
        self._made += 1
        took_s = time.monotonic() - began
        self.spent_s += took_s
        self.longest_s = max(self.longest_s, took_s - (self._stretches_s() - before_s))

    def _stretches_s(self) -> float:
        """Sum the seconds of long runs alone: these come once, so the next launch will not take them."""
        stretches = [result.stretch for result in self.pairing.results if result.stretch is not None]
        return sum(s.discarded_s + (s.blocks_ns[-1][1] - s.blocks_ns[0][0]) / 1e9 for s in stretches)


def expected_launches(runs: Sequence[GroupRun]) -> list[ToCome]:
    """List the launches of groups in that order; one named twice gets two."""
    seen: dict[int, int] = {}
    coming = []
    for run in runs:
        number = seen.get(id(run), 0)
        coming.append(run.to_come(number))
        seen[id(run)] = number + 1
    return coming


def limits_of(profile: Profile, device_kind: str = "cpu") -> Limits:
    """Take the launches and seconds of a profile, by the machine's best kind of device."""
    session_s = profile.session_on(device_kind)
    return Limits(profile.launches_min, profile.launches_max, profile.group_budget_s, session_s)


def measure_pairing(
    arms: Sequence[Arm],
    profile: Profile,
    *,
    seed: int = 0,
    watch: Callable[[Sequence[int]], None] = lambda pids: None,
    start: LaunchSource | None = None,
) -> PairedResult:
    """Measure the arms against the first until the profile's stop, as a session of one group.

    A failing arm is given up with its reason while the others go on. Ctrl-C ends the measuring after which
    ``interrupted`` is set: finished launches are kept.

    Args:
        arms: baseline first; keys must differ.
        profile: launches, rounds, block length, warm-up.
        seed: of weights and batches; launch j uses seed + j in every arm.
        watch: told the worker processes' ids of each launch.
        start: how workers are started, if not by `WorkersAhead`.
    """
    with closing(WorkersAhead(build=profile.builds_ahead)) as ahead:
        run = GroupRun("", arms, profile, start or ahead, seed=seed, watch=watch)
        try:
            in_rounds(
                [run],
                limits_of(profile),
                decided=lambda run: precise_enough(run.pairing, profile),
                expect=lambda turn: ahead.expect(expected_launches(turn)),
            )
        except KeyboardInterrupt:
            run.pairing.interrupted = True
    return run.pairing


def precise_enough(pairing: PairedResult, profile: Profile) -> bool:
    """Return whether every interval is as narrow as the profile wants it where no claim asks a question."""
    values = [values for values in pairing.log_ratios.values() if values]
    return all(half_width(ratios, adaptive=profile.adaptive) <= profile.half_width_goal_ratio for ratios in values)


def half_width(log_ratios: Sequence[float], *, adaptive: bool) -> float:
    """Half-width of the 95 % interval of a log-ratio; infinite below two launches."""
    estimate = launch_estimate(log_ratios, adaptive=adaptive)
    return math.inf if estimate.high is None else estimate.high - estimate.value

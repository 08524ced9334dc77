"""Constants of the protocol per profile: how long to measure. See ``docs/method.md`` for each one's evidence."""

import math
from dataclasses import dataclass, replace
from typing import Final

from rtxbench.lookup import named

__all__ = ["PROFILES", "Profile", "ShortWarmUp", "WarmUpRule", "profile_named"]


@dataclass(frozen=True, kw_only=True)
class WarmUpRule:
    """The two-window rule of `rtxbench.stats.two_window_steady`, asked after each block. For absolute figures."""

    window_blocks: int
    block_s: float
    cap_s: float
    """Budget of one arm's warm-up; at the cap the launch is marked ``warmup_ok = False``."""
    consecutive: int = 3
    """Checks in a row that must find the arm steady."""


@dataclass(frozen=True, kw_only=True)
class ShortWarmUp:
    """Blocks for a fixed time. For ratios, which survive what an absolute figure does not (docs/method.md)."""

    seconds: float
    block_s: float = 0.1
    least_blocks: int = 3


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One row of `PROFILES`."""

    name: str
    launches_min: int
    """Every group gets as many, in turn with the others."""
    launches_max: int
    """As many at most, for groups whose question stays open."""
    rounds: int
    """Rounds of a pilot launch; each holds two blocks of every arm."""
    rounds_max: int = 0
    """Rounds at most once the variances of the pilot launches are known; 0 keeps ``rounds`` throughout."""
    block_s: float
    """Aimed-at length of one block, seconds."""
    timed_budget_s: float = math.inf
    """A launch makes fewer rounds, though at least three, where they would take longer than this."""
    timed_share: float = 0.0
    """Rounds go on for at least this share of what starting, building and warm-up took: a launch that was long in
    coming is not timed for a moment."""
    warm_up: WarmUpRule | ShortWarmUp
    group_budget_s: float
    """No launch of a group is started that would not end within it, by the longest so far (the first always is)."""
    session_s: float = math.inf
    """The same for all groups of a session together; beyond ``launches_min`` only open questions get what is left."""
    session_gpu_s: float | None = None
    """The same on a machine with a GPU, where launches do not get ready side by side; ``None``: no other."""
    retries: int = 0
    """Number of times a group is measured again when its environment was invalid."""
    half_width_goal_ratio: float = 0.01
    """A figure that answers no claim's question is precise enough when its interval is this narrow."""
    ceiling_budget_s: float = 10.0
    """Seconds for measuring the device's ceilings after the timed work; 0 gathers no evidence of causes at all."""
    solo_blocks: int = 4
    """Blocks of the baseline alone, once a launch, that show whether the arms disturb each other."""
    sustained_gpu_s: float = 0.0
    """Length of the stretch in which one arm on a GPU runs alone, once a group; its first half is discarded."""
    sustained_cpu_s: float = 0.0
    """The same on a CPU."""
    peaks_alone: bool = True
    """A short process of its own for an arm whose launches could not show its memory."""
    builds_ahead: bool = False
    """On a CPU, build a launch's models beside those of the launch before it: sooner done, but the times of building
    and of the first step are then those of a busy machine."""

    @property
    def adaptive(self) -> bool:
        """Return whether the number of launches depends on what was seen, which widens the interval."""
        return self.launches_max > self.launches_min

    def session_on(self, device_kind: str) -> float:
        """Return the seconds for all groups of a session, by the machine's best kind of device."""
        return self.session_gpu_s if device_kind == "gpu" and self.session_gpu_s is not None else self.session_s

    def with_budget(self, group_budget_s: float) -> "Profile":
        """Return the same profile with another time budget per group."""
        return replace(self, group_budget_s=group_budget_s)


PROFILES: Final[dict[str, Profile]] = {
    row.name: row
    for row in (
        Profile(
            name="smoke",  # for tests: proves the path, never a claim (fewer than three launches)
            launches_min=2,
            launches_max=2,
            rounds=2,
            block_s=0.02,
            warm_up=ShortWarmUp(seconds=0.03, block_s=0.01),
            group_budget_s=60.0,
            ceiling_budget_s=0.0,
            sustained_gpu_s=0.5,
            sustained_cpu_s=0.2,
            builds_ahead=True,
        ),
        Profile(
            name="quick",
            launches_min=3,
            launches_max=8,
            rounds=8,
            rounds_max=26,
            block_s=0.15,
            timed_budget_s=8.0,
            warm_up=ShortWarmUp(seconds=0.5),
            group_budget_s=150.0,
            session_s=380.0,  # the trials take eight of the fifteen minutes on two cores
            session_gpu_s=900.0,
            half_width_goal_ratio=0.03,
            sustained_gpu_s=10.0,
            builds_ahead=True,
        ),
        Profile(
            name="standard",
            launches_min=4,
            launches_max=12,
            rounds=12,
            rounds_max=32,
            block_s=0.25,
            timed_budget_s=60.0,
            warm_up=ShortWarmUp(seconds=2.0, block_s=0.25),
            group_budget_s=900.0,
            session_s=3 * 3600.0,
            retries=2,
            half_width_goal_ratio=0.02,
            sustained_gpu_s=60.0,
            sustained_cpu_s=10.0,
        ),
        Profile(
            name="full",
            launches_min=6,
            launches_max=16,
            rounds=16,
            rounds_max=40,
            block_s=0.5,
            timed_budget_s=180.0,
            warm_up=ShortWarmUp(seconds=4.0, block_s=0.25),
            group_budget_s=3600.0,
            session_s=16 * 3600.0,
            retries=2,
            sustained_gpu_s=120.0,
            sustained_cpu_s=20.0,
        ),
    )
}


def profile_named(name: str) -> Profile:
    """Look up a profile by name.

    Raises:
        UsageError: there is none.
    """
    return named(PROFILES, name, "profile")

"""How long to measure: the constants of the protocol per profile. See ``docs/method.md`` for each one's evidence."""

import math
from dataclasses import dataclass, replace
from typing import Final

from rtxbench.lookup import named

__all__ = ["PROFILES", "Profile", "WarmUpRule", "profile_named"]


@dataclass(frozen=True, kw_only=True)
class WarmUpRule:
    """The two-window rule of `rtxbench.stats.two_window_steady`, asked after each block."""

    window_blocks: int
    block_s: float
    cap_s: float
    """Budget of one arm's warm-up; at the cap the launch is marked ``warmup_ok = False``."""
    consecutive: int = 3
    """Checks in a row that must find the arm steady."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One row of `PROFILES`."""

    name: str
    launches_min: int
    launches_max: int
    rounds: int
    """Rounds per launch; each holds two blocks of every arm."""
    block_s: float
    """Aimed-at length of one block, seconds."""
    timed_budget_s: float = math.inf
    """A launch makes fewer rounds, though at least three, where they would take longer than this."""
    warm_up: WarmUpRule
    group_budget_s: float
    """No further launch is started once a group has taken this long (at least three are made)."""
    retries: int = 0
    """How often a group is measured again when its environment was invalid."""
    half_width_goal_ratio: float = 0.01
    """Stop adding launches when every ratio's interval is this narrow."""
    ceiling_budget_s: float = 10.0
    """Seconds for measuring the device's ceilings after the timed work; 0 gathers no evidence of causes at all."""
    solo_blocks: int = 4
    """Blocks of the baseline alone, once a launch, that show whether the arms disturb each other."""

    builds_ahead: bool = False
    """On a CPU, build a launch's models beside those of the launch before it: sooner done, but the times of building
    and of the first step are then those of a busy machine."""

    @property
    def adaptive(self) -> bool:
        """Whether the number of launches depends on what was seen, which widens the interval."""
        return self.launches_max > self.launches_min

    def with_budget(self, group_budget_s: float) -> "Profile":
        """The same profile with another time budget per group."""
        return replace(self, group_budget_s=group_budget_s)


PROFILES: Final[dict[str, Profile]] = {
    row.name: row
    for row in (
        Profile(
            name="smoke",  # for tests: proves the path, never a claim (fewer than five launches)
            launches_min=2,
            launches_max=2,
            rounds=2,
            block_s=0.02,
            warm_up=WarmUpRule(window_blocks=3, block_s=0.01, cap_s=1.0),
            group_budget_s=60.0,
            ceiling_budget_s=0.0,
            builds_ahead=True,
        ),
        Profile(
            name="quick",
            launches_min=5,
            launches_max=5,
            rounds=8,
            block_s=0.15,
            timed_budget_s=4.0,
            warm_up=WarmUpRule(window_blocks=4, block_s=0.1, cap_s=8.0),
            group_budget_s=150.0,
            builds_ahead=True,
        ),
        Profile(
            name="standard",
            launches_min=5,
            launches_max=12,
            rounds=16,
            block_s=0.25,
            warm_up=WarmUpRule(window_blocks=20, block_s=0.25, cap_s=60.0),
            group_budget_s=900.0,
            retries=2,
        ),
        Profile(
            name="full",
            launches_min=5,
            launches_max=12,
            rounds=24,
            block_s=0.5,
            warm_up=WarmUpRule(window_blocks=20, block_s=0.25, cap_s=180.0),
            group_budget_s=3600.0,
            retries=2,
        ),
    )
}


def profile_named(name: str) -> Profile:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    return named(PROFILES, name, "profile")

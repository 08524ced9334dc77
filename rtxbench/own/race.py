"""Successive halving on paired launches: many settings, few launches, the fastest one left (Jamieson & Talwalkar 2016).

::

    round 1   every setting once          the fastest third goes on
    round 2   those once more             by the mean of what each has shown, the fastest third goes on
    ...       until four are left
    last      those four, three times more, in one launch each time: the fastest by the mean wins

A launch holds a few settings and the baseline, so that what the machine does to one it does to all of them. Knows
neither processes nor cases: a setting is anything that can be told from others.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final, Generic, TypeVar

__all__ = ["BRACKET", "Race", "launches_of_exhaustive_search", "race"]

BRACKET: Final = 4
"""Settings in a launch beside the baseline: all of their weights are in the device's memory at once."""
_KEEP: Final = 3
"""One in so many goes on."""
_FINALISTS: Final = BRACKET
"""As many as a launch holds: a fourth costs nothing, and more often the fastest is among them."""
_LAST_LAUNCHES: Final = 3
"""Launches of each finalist beyond those that made it one."""

_Setting = TypeVar("_Setting")

Launch = Callable[[Sequence[_Setting]], Mapping[_Setting, float | str]]
"""Launches some settings beside the baseline: each one's ln(speed ÷ baseline's), or why it has none."""


@dataclass
class Race(Generic[_Setting]):
    """The state of a race, and its outcome once it is over."""

    seen: dict[_Setting, list[float]]
    """Setting → ln(speed ÷ baseline's), one value a launch."""
    failed: dict[_Setting, str] = field(default_factory=dict)
    launches: int = 0
    """Made in this race; those an earlier one left behind are not counted."""
    ranking: list[_Setting] = field(default_factory=list)
    """The finalists, fastest first."""

    def score(self, setting: _Setting) -> float:
        """Mean of what a setting has shown; below all others where it has shown nothing."""
        return fmean(self.seen[setting]) if self.seen.get(setting) else -math.inf


def race(
    settings: Sequence[_Setting],
    launch: Launch[_Setting],
    *,
    known: Mapping[_Setting, Sequence[float]] | None = None,
    told: Callable[[int, int], object] = lambda made, to_come: None,
    seed: int = 0,
) -> Race[_Setting]:
    """Find the fastest of many settings by as few launches as the noise allows.

    Args:
        settings: that differ from the baseline.
        launch: measures some of them beside the baseline.
        known: what an interrupted race has measured already; it is not measured again.
        told: launches made and still to come, before each.
        seed: of the order in which settings meet in launches.
    """
    state = Race({setting: list((known or {}).get(setting, ())) for setting in settings})
    left = list(settings)
    shuffle = random.Random(seed)
    wanted = 1
    while left:
        last = len(left) <= _FINALISTS
        wanted += _LAST_LAUNCHES if last else 0
        _round(state, left, wanted, launch, told, shuffle)
        # By what this round had to show: a race that goes on knows more of some, and must not choose others for it.
        shown = {s: fmean(state.seen[s][:wanted]) for s in left if s not in state.failed}
        left = sorted(shown, key=shown.__getitem__, reverse=True)
        if last:
            break
        left = left[: max(_FINALISTS, math.ceil(len(left) / _KEEP))]
        wanted += 1
    state.ranking = left
    return state


def _round(
    state: Race[_Setting],
    left: Sequence[_Setting],
    wanted: int,
    launch: Launch[_Setting],
    told: Callable[[int, int], object],
    shuffle: random.Random,
) -> None:
    """Launch settings until each that has not failed has shown ``wanted`` values."""
    while lacking := [s for s in left if len(state.seen[s]) < wanted and s not in state.failed]:
        shuffle.shuffle(lacking)
        fewest = min(len(state.seen[s]) for s in lacking)
        turn = [s for s in lacking if len(state.seen[s]) == fewest][:BRACKET]
        told(state.launches, _to_come(state, left, wanted))
        for setting, value in launch(turn).items():
            if isinstance(value, str):
                state.failed[setting] = value
            else:
                state.seen[setting].append(value)
        state.launches += 1
        for setting in turn:
            if len(state.seen[setting]) == fewest and setting not in state.failed:
                state.failed[setting] = "its launch brought no figure"


def _to_come(state: Race[_Setting], left: Sequence[_Setting], wanted: int) -> int:
    """Count the launches until the end, as far as nothing fails."""
    alive = [s for s in left if s not in state.failed]
    turns = sum(_turns(sum(len(state.seen[s]) < value for s in alive)) for value in range(1, wanted + 1))
    count = len(alive)
    while count > _FINALISTS:
        count = max(_FINALISTS, math.ceil(count / _KEEP))
        turns += _turns(count)
        if count == _FINALISTS:
            turns += _LAST_LAUNCHES
            break
    return turns


def _turns(count: int) -> int:
    return math.ceil(count / BRACKET)


def launches_of_exhaustive_search(settings: int) -> int:
    """Count the launches that measure every setting as often as a race measures its finalists."""
    rounds, left = 1, settings
    while left > _FINALISTS:
        left = max(_FINALISTS, math.ceil(left / _KEEP))
        rounds += 1
    return _turns(settings) * (rounds + _LAST_LAUNCHES - 1 if settings > _FINALISTS else _LAST_LAUNCHES + 1)

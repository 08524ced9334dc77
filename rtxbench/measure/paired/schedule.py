"""Who gets the next launch: all groups of a session in turn, then those whose question is still open.

::

    pass 1   a b c d        every group once, so that the hour's state enters every interval
    pass 2   a b c d
    pass 3   a b c d        after the least number: who is decided?
    pass 4   b   d          only open questions, one launch each in turn
    pass 5   b   d          ... up to an even number: the arms take turns at being first
    pass 6   d              until all are decided, or the time is spent

Knows neither processes nor records: a track is anything that can be launched and says what it has cost.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

__all__ = ["Limits", "Track", "in_rounds"]


class Track(Protocol):
    """One group on its way."""

    @property
    def launches(self) -> int:
        """Finished launches."""

    @property
    def over(self) -> bool:
        """Return whether nothing of it can run any more: every arm has failed."""

    @property
    def spent_s(self) -> float:
        """Everything it has taken so far: worker start, build, warm-up, rounds."""

    @property
    def longest_s(self) -> float:
        """The longest of its launches: what the next one is expected to take."""

    def launch(self) -> None:
        """Make the next launch."""


_AnyTrack = TypeVar("_AnyTrack", bound=Track)


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    least: int
    most: int
    group_s: float
    session_s: float


def in_rounds(
    tracks: Sequence[_AnyTrack],
    limits: Limits,
    *,
    decided: Callable[[_AnyTrack], bool],
    expect: Callable[[list[_AnyTrack]], None] = lambda coming: None,
    launched: Callable[[_AnyTrack, float], None] = lambda track, left_s: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Launch the tracks in turn until every question is decided or the time is spent.

    A launch that would not end in time, by the longest of its group so far, is not started; the first one of a group
    always is, since nothing is known of it yet.

    Args:
        tracks: in the order of their turns.
        limits: launches and seconds.
        decided: whether a track's question needs no further launch; asked at the least number and at even ones.
        expect: told which launches come next, before each pass.
        launched: told after each launch, with the seconds left to the session.
        clock: seconds.
    """
    end_s = clock() + limits.session_s

    def fits(track: _AnyTrack) -> bool:
        """Tell whether another launch of the track ends within the time of its group and of all groups."""
        if track.over or track.launches >= limits.most:
            return False
        in_group = track.spent_s + track.longest_s <= limits.group_s
        return track.launches == 0 or (in_group and clock() + track.longest_s <= end_s)

    def wanted(track: _AnyTrack) -> bool:
        unfinished_pair = track.launches > limits.least and track.launches % 2 == 1
        return track.launches < limits.least or unfinished_pair or not decided(track)

    def sure_of_two(track: _AnyTrack) -> bool:
        made = track.launches
        return made + 1 < limits.least or (made >= limits.least and made % 2 == 0)

    while turn := [track for track in tracks if fits(track) and wanted(track)]:
        expect([*turn, *(track for track in turn if sure_of_two(track))])
        for track in turn:
            if fits(track):
                track.launch()
                launched(track, max(0.0, end_s - clock()))

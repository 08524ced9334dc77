"""Who gets the next launch, on a virtual clock."""

from dataclasses import dataclass, field

import pytest

from rtxbench.measure.paired.schedule import Limits, in_rounds

LIMITS = Limits(least=3, most=12, group_s=1e9, session_s=1e9)


class Clock:
    """Seconds that pass only while something is launched."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Group:
    """A group whose launches take ``takes_s`` and whose question is decided after ``needs`` of them."""

    name: str
    clock: Clock
    log: list[str]
    takes_s: float = 10.0
    needs: int = 0
    launches: int = 0
    spent_s: float = 0.0
    longest_s: float = 0.0
    over: bool = False
    asked_at: list[int] = field(default_factory=list)

    def launch(self) -> None:
        """Take the time of one launch."""
        self.clock.now_s += self.takes_s
        self.launches += 1
        self.spent_s += self.takes_s
        self.longest_s = self.takes_s
        self.log.append(self.name)

    def decided(self) -> bool:
        """Note at how many launches it was asked."""
        self.asked_at.append(self.launches)
        return self.launches >= self.needs


def run(limits: Limits = LIMITS, **groups: dict[str, float]) -> tuple[list[str], dict[str, Group]]:
    """The order of launches, and the groups as they ended."""
    clock, log = Clock(), []
    tracks = {name: Group(name, clock, log, **options) for name, options in groups.items()}  # type: ignore[arg-type]
    in_rounds(list(tracks.values()), limits, decided=Group.decided, clock=clock)
    return log, tracks


def test_groups_take_turns_launch_by_launch() -> None:
    """The first launch of every group comes before the second of any: the session's drift enters every interval."""
    assert run(a={}, b={}, c={})[0] == ["a", "b", "c"] * 3


def test_what_is_left_goes_to_open_questions_until_they_are_decided() -> None:
    """A decided group gets the least number; an open one goes on alone, and ends at an even number of launches."""
    log, groups = run(a={}, b={"needs": 7}, c={"needs": 4})
    assert log == [*"abc" * 3, *"bc", *"bbbb"]
    assert groups["b"].launches == 8


def test_the_question_is_asked_at_the_least_number_and_at_even_ones() -> None:
    """Stopping at odd numbers would favour the arm that was second more often."""
    _, groups = run(b={"needs": 100})
    assert groups["b"].asked_at == [3, 4, 6, 8, 10]
    assert groups["b"].launches == LIMITS.most


def test_the_session_ends_before_a_launch_that_would_not() -> None:
    """Nothing is started whose end, by the longest launch of its group, lies beyond the session's time."""
    log, _ = run(Limits(3, 12, 1e9, session_s=100.0), a={"needs": 100}, b={"takes_s": 30.0, "needs": 100})
    assert log == ["a", "b", "a", "b", "a", "a"]  # b's third would end at 120 s


@pytest.mark.parametrize(("budget_s", "launches"), [(200.0, 2), (199.0, 1), (5.0, 1)])
def test_a_groups_budget_holds_but_for_its_first_launch(budget_s: float, launches: int) -> None:
    """Launches of 100 s in 200 s are two; one complete attempt is made however short the budget."""
    assert run(Limits(3, 12, budget_s, 1e9), a={"takes_s": 100.0})[1]["a"].launches == launches


def test_every_group_is_tried_once_however_short_the_session() -> None:
    """A figure of one launch says more than none."""
    assert run(Limits(3, 12, 1e9, session_s=1.0), a={}, b={})[0] == ["a", "b"]


def test_a_group_whose_arms_all_failed_gets_no_further_launch() -> None:
    """What cannot run costs the others nothing."""
    assert run(a={"over": True}, b={})[0] == ["b"] * 3


def test_coming_launches_are_announced_pass_by_pass() -> None:
    """What is certain to come is told ahead, so that two launches' workers can start together."""
    clock, log = Clock(), []
    tracks = [Group("a", clock, log), Group("b", clock, log, needs=5)]
    told: list[str] = []
    in_rounds(
        tracks,
        LIMITS,
        decided=Group.decided,
        clock=clock,
        expect=lambda coming: told.append("".join(track.name for track in coming)),
    )
    assert told == ["abab", "abab", "ab", "b", "bb", "b"]

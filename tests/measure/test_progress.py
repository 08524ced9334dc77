"""What a waiting person reads."""

import io
import math

import pytest
from rich.console import Console

from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.paired.loop import GroupRun
from rtxbench.measure.profiles import profile_named
from rtxbench.measure.progress import Board, Countdown, TrialProgress
from rtxbench.measure.session import Standing
from rtxbench.records import Case
from rtxbench.workers.process import WorkerSpec


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def run(name: str, log_ratios: list[float]) -> GroupRun:
    """A group of two arms with so many finished launches."""
    arms = [Arm(Case(workload=arm, batch_size=8), WorkerSpec(engine="python"), name=arm) for arm in ("a", "b")]
    found = GroupRun(name, arms, profile_named("quick"), start=lambda arms: {})
    found.pairing.log_ratios["b"] = log_ratios
    found._made = len(log_ratios)
    return found


def test_a_log_gets_a_line_per_launch_with_what_is_open_and_the_time_left() -> None:
    """Group, launch, ratio, where the question stands, how many are decided, which are open, how long at most."""
    stream = io.StringIO()
    with Board(["architecture/mlp", "vision/cnn"], stream) as board:
        board.launch_done(run("architecture/mlp", [-math.log(2)] * 3), Standing(True, "at least 1.10×? yes"), 300.0)
        first = stream.getvalue()
        board.launch_done(run("vision/cnn", [0.0, 0.2]), Standing(False), math.inf)
    assert "architecture/mlp: launch 3, 2.00× ± 0.0 %, at least 1.10×? yes" in first
    assert "1 of 2 decided, at most 5 min 0 s left; open: vision/cnn" in first
    assert "vision/cnn: launch 2" in stream.getvalue()
    assert "2 groups: 1 of 2 decided; open: vision/cnn (" in stream.getvalue()


def test_a_terminal_shows_every_group_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table holds each group's launches and standing, the waiting ones too; no line is printed per launch."""
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Board(["architecture/mlp", "vision/cnn"], stream) as board:
        board.launch_done(run("architecture/mlp", [-math.log(2)] * 3), Standing(True, "at least 1.10×? yes"), 300.0)
        drawn = io.StringIO()
        Console(file=drawn, width=120).print(board._table())
    assert "at least 1.10×? yes" in drawn.getvalue()
    assert "waiting" in drawn.getvalue()
    assert "launch 3," not in stream.getvalue()


def test_many_open_groups_are_counted_not_listed() -> None:
    """A line names three and counts the others."""
    stream = io.StringIO()
    with Board([f"g{number}" for number in range(9)], stream) as board:
        board.launch_done(run("g0", [0.1]), Standing(False), 60.0)
    assert "open: g0, g1, g2 and 6 more" in stream.getvalue()


def test_a_trial_shows_its_step_on_a_terminal_and_one_line_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal sees how many steps of the part are done and which is next; a log only that the trial is over."""
    monkeypatch.setenv("TERM", "xterm")
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        with TrialProgress("tuning", stream) as progress:
            progress.step("tuning pilot: rate 0.1", 0, 7)
            progress.step("tuning pilot: rate 0.2", 3, 7)
            progress.step("tuning: seed 1", 0, 2)
    assert "tuning: seed 1" in terminal.getvalue() and "0/2" in terminal.getvalue()
    assert log.getvalue().startswith("tuning: done (") and log.getvalue().count("\n") == 1


def test_a_countdown_says_how_long_the_rest_takes_at_this_pace() -> None:
    """The first line of each kind of work knows no pace yet."""
    stream, now = io.StringIO(), iter([0.0, 10.0, 100.0])
    countdown = Countdown("search", stream, lambda: next(now))
    countdown.told("trying", 0, 3)
    countdown.told("trying", 1, 2)
    countdown.told("racing", 0, 5)
    assert stream.getvalue().splitlines() == [
        "search: trying, 1 of 3",
        "search: trying, 2 of 3, about 20.0 s left",
        "search: racing, 1 of 5",
    ]

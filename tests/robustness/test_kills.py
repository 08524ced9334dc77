"""Killed commands lose nothing that was finished, leave nobody behind, and the next run works."""

import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from rtxbench.robustness import aftermath, kills
from rtxbench.robustness.kills import kill_trials
from rtxbench.robustness.scenarios import SCENARIOS, Scenario
from rtxbench.robustness.terminal import terminal
from tests.waiting import wait_until


def test_killed_commands_lose_nothing_and_leave_nobody() -> None:
    """Trace, merge and run, each killed at moments drawn from a seed, by any of four signals, some of them twice."""
    trials = list(kill_trials(range(3, 8), ["trace", "merge", "run"]))
    assert [(trial.number, trial.problems) for trial in trials if trial.problems] == []
    assert {trial.scenario for trial in trials} == {"trace", "merge", "run"}
    assert any(trial.signals for trial in trials)


def test_a_planted_orphan_loss_stray_and_traceback_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test can fail: each kind of damage that a command can leave is named."""
    program = (
        "import subprocess, sys, time, pathlib\n"
        "pathlib.Path('x.trace.jsonl').write_text('one\\n')\n"
        "pathlib.Path('half.part').touch()\n"
        "pathlib.Path('../temporary/stray').touch()\n"
        "print('\\x1b[?25l', flush=True)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "while not pathlib.Path('seen').exists(): time.sleep(0.01)\n"
        "pathlib.Path('x.trace.jsonl').write_text('')\n"
        "{}['planted']\n"
    )

    def before_the_loss(folder: Path) -> aftermath.Snapshot:
        wait_until(lambda: bool(look(folder).total), "the line")
        found = look(folder)
        monkeypatch.setattr(kills, "snapshot", look)
        (folder / "seen").touch()
        return found

    def nobody(*_: object) -> tuple[tuple[signal.Signals, ...], str]:
        return (), "nobody"

    look = kills.snapshot
    monkeypatch.setattr(kills, "orphans", lambda token: aftermath.orphans(token, 0.0))
    monkeypatch.setattr(kills, "snapshot", before_the_loss)
    monkeypatch.setattr(kills, "_kill", nobody)
    monkeypatch.setattr(kills, "_unharmed_s", lambda name: 0.0)
    command = (sys.executable, "-c", program)
    monkeypatch.setitem(SCENARIOS, "bad", Scenario(lambda folder: None, command, command))
    (trial,) = kill_trials([1], ["bad"])
    found = "; ".join(trial.problems)
    for planted in ("lost samples", "orphan", "half.part", "stray", "traceback", "cursor"):
        assert planted in found


def test_every_target_is_hit_by_every_signal() -> None:
    """Coordinator, child and the whole group; four signals; once and twice: the draw leaves none of them out."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True) as process:
        draws = [kills._aim(process, [process.pid + 1], random.Random(number)) for number in range(400)]
        process.kill()
    assert {(one.target, number) for one in draws for number in one.signals} == {
        (target, number) for target in ("coordinator", "child", "group") for number in kills._SIGNALS
    }
    assert {len(one.signals) for one in draws} == {1, 2}


def test_a_terminal_left_without_echo_is_noticed() -> None:
    """A command that switches echo off and dies spoils the shell it was started from."""
    with terminal() as screen:
        subprocess.run(["stty", "-echo"], stdin=screen.slave, check=True)
        assert screen.problems() == ["the terminal's settings are changed"]


def test_a_series_in_the_background_still_interrupts_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell starts background programs with Ctrl-C and a closed terminal ignored; what is killed here heeds them."""
    monkeypatch.setattr(kills, "_unharmed_s", lambda name: 0.0)
    monkeypatch.setattr(kills, "_HANG_S", 5.0)
    command = (sys.executable, "-c", "import time; time.sleep(1000)")
    monkeypatch.setitem(SCENARIOS, "sleep", Scenario(lambda folder: None, command, command))
    for number in (signal.SIGINT, signal.SIGHUP):
        usual = signal.signal(number, signal.SIG_IGN)
        try:
            monkeypatch.setattr(kills, "_kill", partial(_sent, number))
            (trial,) = kill_trials([1], ["sleep"])
        finally:
            signal.signal(number, usual)
        assert not [problem for problem in trial.problems if problem.startswith("still running")]


def _sent(
    number: signal.Signals, process: "subprocess.Popen[bytes]", *_: object
) -> tuple[tuple[signal.Signals, ...], str]:
    process.send_signal(number)
    return (number,), "coordinator"

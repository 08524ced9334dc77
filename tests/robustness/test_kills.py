"""Killed commands lose nothing that was finished and leave nobody behind."""

import subprocess
import sys

import pytest

from rtxbench.robustness import kills
from rtxbench.robustness.kills import Scenario, kill_trials
from tests.waiting import wait_until


def test_killed_commands_lose_nothing_and_leave_nobody() -> None:
    """Trace, merge and report, each killed at moments drawn from a seed, by any of four signals."""
    trials = list(kill_trials(range(8), ["trace", "merge", "report"]))
    assert [(trial.number, trial.problems) for trial in trials if trial.problems] == []
    assert any(trial.signals for trial in trials)


def test_a_planted_orphan_and_a_planted_loss_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test can fail: a command that leaves a process and takes a line back is found out on both counts."""
    program = (
        "import subprocess, sys, time, pathlib\n"
        "pathlib.Path('x.trace.jsonl').write_text('one\\n')\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "while not pathlib.Path('seen').exists(): time.sleep(0.01)\n"
        "pathlib.Path('x.trace.jsonl').write_text('')\n"
        "pathlib.Path('done').touch()\n"
        "time.sleep(1000)\n"
    )

    def before_the_loss(folder: kills.Path) -> dict[kills.Path, list[bytes]]:
        wait_until(lambda: (folder / "x.trace.jsonl").exists() and any(lines(folder).values()), "the line")
        found = lines(folder)
        monkeypatch.setattr(kills, "_complete_lines", lines)
        (folder / "seen").touch()
        wait_until((folder / "done").exists, "the loss")
        return found

    lines = kills._complete_lines
    monkeypatch.setattr(kills, "_RTXBENCH", (sys.executable, "-c", program))
    monkeypatch.setattr(kills, "_ORPHAN_S", 0.0)
    monkeypatch.setattr(kills, "_complete_lines", before_the_loss)
    monkeypatch.setattr(kills, "_kill", _kill_the_coordinator)
    monkeypatch.setitem(kills.SCENARIOS, "bad", Scenario(lambda folder: None, (), 0.0))
    (trial,) = kill_trials([1], ["bad"])
    assert any("lost records" in problem for problem in trial.problems)
    assert any("orphan" in problem for problem in trial.problems)


def _kill_the_coordinator(process: "subprocess.Popen[bytes]", token: str, draw: object) -> tuple[list[object], str]:
    process.kill()
    return [], "coordinator"

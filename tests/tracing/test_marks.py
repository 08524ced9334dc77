"""Marks that a traced program makes: a line each, from any language, with nothing of rtxbench."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtxbench.tracing.marks import MARKS_VARIABLE, hearing_marks
from tests.waiting import wait_until

LINE = 'import os; print("epoch 2", file=open(os.environ.get("RTXBENCH_MARKS", os.devnull), "a"))'


def test_the_documented_lines_are_heard() -> None:
    """From Python and from a shell, in order, in processes of their own."""
    heard: list[str] = []
    with hearing_marks(heard.append) as environment:
        everything = {**os.environ, **environment}
        subprocess.run(["sh", "-c", f'echo "epoch 1" > "${MARKS_VARIABLE}"'], check=True, env=everything)
        subprocess.run([sys.executable, "-c", LINE], check=True, env=everything)
        wait_until(lambda: len(heard) == 2, "two marks")
    assert heard == ["phase epoch 1", "phase epoch 2"]


def test_the_line_does_no_harm_where_nobody_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can stay in the program."""
    monkeypatch.delenv(MARKS_VARIABLE, raising=False)
    subprocess.run([sys.executable, "-c", LINE], check=True)


def test_what_is_no_mark_is_not_kept() -> None:
    """Empty lines are nothing, long ones are cut, and a program that marks every step cannot fill the trace."""
    heard: list[str] = []
    with hearing_marks(heard.append) as environment, Path(environment[MARKS_VARIABLE]).open("a") as pipe:
        pipe.write("\n" + "x" * 500 + "\n")
        pipe.writelines("step\n" for _ in range(1500))
    assert len(heard) == 1000
    assert heard[0] == "phase " + "x" * 80

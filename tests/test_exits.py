"""A command ends with one line and a code that means one thing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtxbench.errors import RecordError
from rtxbench.exits import FAULT, exit_codes
from tests.waiting import HANG_S

REPORT = [sys.executable, "-m", "rtxbench.report"]


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as leaving, exit_codes():
        raise error
    return leaving.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RecordError("bad file.", next_step="Look."), 5, "bad file. Look."),
        (OSError(28, "No space left on device", "x.csv"), 4, "No space left on device (x.csv)"),
        (ValueError("odd\x1b[2J\n::set-output name=a::b"), FAULT, "RTXBENCH_TRACEBACK"),
    ],
)
def test_each_kind_of_end_has_its_code(
    error: Exception, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deliberate errors keep their codes, the system's become 4, and a fault is never 1: that is a regression."""
    left, shown = ended(error, capsys)
    assert left == code
    assert words in shown
    assert shown.endswith("\n")
    assert shown[:-1].isprintable()


def test_a_fault_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mends it needs it whole."""
    monkeypatch.setenv("RTXBENCH_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError), exit_codes():
        raise ZeroDivisionError


def test_a_deleted_working_folder_is_said_in_one_line(tmp_path: Path) -> None:
    """No traceback where the shell's own folder is gone."""
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f"cd {folder} && rmdir {folder} && exec {sys.executable} -P -m rtxbench.report"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode not in (0, 1)
    assert "Traceback" not in done.stderr


def test_an_ascii_terminal_gets_every_word(tmp_path: Path) -> None:
    """What a terminal cannot show is escaped; nothing is lost to an encoding."""
    done = subprocess.run(
        [*REPORT, str(tmp_path / "größe.jsonl")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 5
    assert b"gr" in done.stderr

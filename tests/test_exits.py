"""A command ends with one line and a code that means one thing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtxbench.errors import RecordError
from rtxbench.exits import FAULT, end_in_order, exit_codes
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
        (MemoryError(), 4, "no memory left"),
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_lets_everything_be_tidied_up_once(number: signal.Signals) -> None:
    """CI's cancellation unwinds as an exception; a second one a moment later does not disturb the tidying up."""
    tidied = []
    with pytest.raises(SystemExit) as ended, exit_codes():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGINT)
            tidied.append("all")
    assert (ended.value.code, tidied) == (128 + number, ["all"])
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_signal_that_arrives_in_a_finalizer_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Python swallows what a finalizer raises, and prints a traceback; the command ends nevertheless, without one."""

    class Unlucky:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended, exit_codes():
        Unlucky()
        time.sleep(HANG_S)
        raise AssertionError("the signal was lost")
    assert (ended.value.code, capsys.readouterr().err) == (128 + signal.SIGTERM, "")


def test_an_ignored_hang_up_stays_ignored() -> None:
    """Under nohup a closed terminal ends nothing, the gate included."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with end_in_order(lambda number: KeyboardInterrupt()):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_while_the_command_loads_shows_no_traceback(tmp_path: Path) -> None:
    """Before the first line of rtxbench's own work, the system's own ending is in place."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); import rtxbench.__main__ as m; m.main()"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")

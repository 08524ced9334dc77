"""Two measurements never run side by side on one machine, and a killed one blocks nobody."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtxbench.errors import UnavailableError
from rtxbench.hardware.machine_lock import measuring_alone

HOLDER = (
    "import time\n"
    "from rtxbench.hardware.machine_lock import measuring_alone\n"
    "with measuring_alone(print):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(1000)\n"
)


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait for measurements of the machine they run on."""
    monkeypatch.setenv("RTXBENCH_LOCK", str(tmp_path / "lock"))


def test_a_second_measurement_is_refused_and_a_killed_one_lets_go() -> None:
    """With ``wait`` off the second says why; once the first is killed, even by SIGKILL, the lock is free."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UnavailableError, match="another rtxbench"), measuring_alone(print, wait=False):
            pass
        holder.send_signal(signal.SIGKILL)
    with measuring_alone(print, wait=False):
        pass


def test_a_second_measurement_waits_and_says_so() -> None:
    """The waiting one speaks once, and goes on when the first has ended."""
    said: list[str] = []
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()

        def say(text: str) -> None:
            said.append(text)
            holder.kill()

        with measuring_alone(say):
            assert len(said) == 1


def test_a_lock_that_cannot_be_made_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No temporary folder, or a file of another user: the measurement goes on unguarded."""
    monkeypatch.setenv("RTXBENCH_LOCK", "/nonexistent/folder/lock")
    with measuring_alone(print, wait=False):
        pass

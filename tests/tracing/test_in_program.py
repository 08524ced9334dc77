"""What runs inside a traced program: when the profiler starts and ends, and that nothing of it reaches the program."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from rtxbench.tracing import in_program
from rtxbench.tracing.in_program import LOG, Steps

SECOND = 1_000_000_000


class Profiler:
    """Notes what it is told; fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.told: list[str] = []
        self._fails = fails

    def _note(self, what: str) -> None:
        self.told.append(what)
        if what.split(maxsplit=1)[0] == self._fails:
            raise RuntimeError("CUPTI is in use")

    def start(self, steps: int) -> None:
        self._note(f"start {steps}")

    def step(self) -> None:
        self._note("step")

    def stop(self) -> None:
        self._note("stop")


def trained(folder: Path, profiler: Profiler, steps: int, step_ns: int) -> Steps:
    now = 0

    def clock() -> int:
        return now

    watched = Steps(str(folder), profiler, clock)
    for _ in range(steps):
        now += step_ns
        watched.made()
    return watched


def log(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_two_seconds_of_steps_are_profiled_after_the_warm_up(tmp_path: Path) -> None:
    """Steps of 0.1 s: the profiler starts after 2 s, takes 20 of them and two to settle, and is never asked again."""
    profiler = Profiler()
    trained(tmp_path, profiler, 200, SECOND // 10).end()
    assert profiler.told == ["start 20", *["step"] * 22, "stop"]
    taken, all_steps = log(tmp_path)
    assert (taken["what"], taken["steps"], taken["step_s"]) == ("profiled", 20, 0.1)
    assert (all_steps["what"], all_steps["steps"]) == ("steps", 200)


def test_long_steps_are_profiled_for_ten_seconds_at_most(tmp_path: Path) -> None:
    """Five steps of 4 s would take twenty."""
    profiler = Profiler()
    trained(tmp_path, profiler, 30, 4 * SECOND).end()
    assert profiler.told == ["start 5", *["step"] * 3, "stop"]


def test_a_program_that_ends_within_the_window_keeps_what_there_is(tmp_path: Path) -> None:
    """Its end stops the profiler."""
    profiler = Profiler()
    trained(tmp_path, profiler, 35, SECOND // 10).end()
    assert profiler.told[-1] == "stop"
    assert log(tmp_path)[0]["steps"] == 35 - 22 - 2  # the 22nd is the first after two seconds


def test_a_short_program_is_never_profiled(tmp_path: Path) -> None:
    """Only its steps are counted."""
    profiler = Profiler()
    trained(tmp_path, profiler, 9, SECOND).end()
    assert profiler.told == []
    assert [line["what"] for line in log(tmp_path)] == ["steps"]


def test_a_profiler_that_fails_is_a_line_of_the_log(tmp_path: Path) -> None:
    """The program trains on, and the profiler is left alone."""
    for number, fails in enumerate(("start", "step", "stop")):
        folder = tmp_path / str(number)
        folder.mkdir()
        trained(folder, Profiler(fails), 100, SECOND // 10).end()
        first, last = log(folder)
        assert (first["what"], first["reason"]) == ("failed", "RuntimeError: CUPTI is in use")
        assert last["steps"] == 100


def test_one_process_of_many_is_profiled(tmp_path: Path) -> None:
    """The first to be warm; other ranks run undisturbed."""
    ranks = [Profiler(), Profiler()]
    for profiler in ranks:
        trained(tmp_path, profiler, 100, SECOND // 10)
    assert [bool(profiler.told) for profiler in ranks] == [True, False]


def test_steps_of_another_thread_are_not_counted(tmp_path: Path) -> None:
    """A profiler belongs to the thread that started it."""
    watched = trained(tmp_path, Profiler(), 3, SECOND)
    other = threading.Thread(target=watched.made)
    other.start()
    other.join()
    watched.end()
    assert log(tmp_path)[0]["steps"] == 3


FAKE_TORCH = """
import types
__version__ = "9.9"
cuda = types.SimpleNamespace(is_initialized=lambda: False)
def _backward(loss):
    if loss:
        autograd.backward(loss - 1)   # as gradient checkpointing does
autograd = types.SimpleNamespace(backward=_backward)
"""


def in_python(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """A program with the hook before it, as `rtxbench trace --profile` starts it, and a package called torch."""
    hook = folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_bytes(Path(in_program.__file__).read_bytes())
    (folder / "torch.py").write_text(FAKE_TORCH)
    (folder / "sitecustomize.py").write_text("print('the environment has one of its own')")
    environment = {**os.environ, "PYTHONPATH": f"{hook}{os.pathsep}{folder}", in_program.FOLDER_VARIABLE: str(folder)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def test_a_programs_steps_are_counted_and_its_start_up_is_as_ever(tmp_path: Path) -> None:
    """A backward pass within a backward pass is one step; the hidden sitecustomize runs; nothing else is printed."""
    program = "import sys, torch\nfor _ in range(4): torch.autograd.backward(3)\nprint(len(sys.meta_path) > 1)"
    found = in_python(tmp_path, program)
    assert found.stdout.splitlines() == ["the environment has one of its own", "True"]
    assert found.stderr == ""
    started, imported, ended = log(tmp_path)
    assert started["what"] == "python"
    assert (imported["framework"], imported["version"]) == ("torch", "9.9")
    assert ended["steps"] == 4


def test_a_program_without_a_framework_says_only_that_it_is_python(tmp_path: Path) -> None:
    """And fails as it would: a package that is not there is not there."""
    found = in_python(tmp_path, "try: import tensorflow_that_is_not_there\nexcept ImportError: print('no')")
    assert found.stdout.splitlines()[-1] == "no"
    assert [line["what"] for line in log(tmp_path)] == ["python"]

"""Drawing in processes: the same pictures, and none lost when a process is."""

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rtxbench.hardware import environment
from rtxbench.report.drawing.pool import Drawing, Drawn, drawing_processes
from rtxbench.report.drawing.purchase import FitCell, fit_matrix
from rtxbench.report.parts import Figure
from rtxbench.report.sections.table import SECTIONS
from tests.synthetic import BIG_GPU, CPU_ONLY, write_results
from tests.synthetic_report import context_of
from tests.waiting import gone, wait_until

CELLS = ((FitCell("fits", 3), FitCell("no", 0)),)
FIGURES = [
    Figure(name=name, build=partial(fit_matrix, (name,), (8, 16), CELLS), alt="", caption="", origin="predicted")
    for name in ("first", "second", "third")
]


class Broken(Executor):
    """Processes that were killed: before they were asked, or with a figure in hand."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def submit(self, *_args: Any, **_named: Any) -> Future[Any]:
        killed = BrokenExecutor("a process was terminated abruptly")
        if self.at_once:
            raise killed
        future: Future[Any] = Future()
        future.set_exception(killed)
        return future


def drawn(processes: Executor | None = None) -> dict[str, Drawn]:
    drawing = Drawing(processes)
    drawing.begin(FIGURES[:1])
    drawing.begin(FIGURES[1:])
    return drawing.finish()


def test_processes_draw_the_same_bytes_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes give what this one gives."""
    monkeypatch.setattr(environment, "usable_cores", lambda: 2)
    with drawing_processes() as processes:
        assert processes is not None
        elsewhere = drawn(processes)
        assert processes.submit(os.getpid).result() != os.getpid()
    assert elsewhere == drawn()
    assert list(elsewhere) == ["first", "second", "third"]


def test_one_core_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process on one core would only import matplotlib twice."""
    monkeypatch.setattr(environment, "usable_cores", lambda: 1)
    with drawing_processes() as processes:
        assert processes is None


@pytest.mark.parametrize("at_once", [True, False])
def test_killed_processes_lose_no_figure(at_once: bool) -> None:
    """What killed processes did not draw is drawn here."""
    assert list(drawn(Broken(at_once=at_once))) == ["first", "second", "third"]


def test_every_figure_can_go_to_another_process(tmp_path: Path) -> None:
    """No section's figure holds what cannot be pickled."""
    context = context_of(write_results(tmp_path, (BIG_GPU, CPU_ONLY)))
    figures = [figure for make in SECTIONS if (section := make(context)) for figure in section.figures]
    assert len(figures) > 5
    for figure in figures:
        assert pickle.loads(pickle.dumps(figure)).name == figure.name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_report_leaves_no_draughtsman(number: int) -> None:
    """The drawing processes end with whoever asked for them."""
    program = (
        "import os, sys, time\n"
        "from rtxbench.hardware import environment\n"
        "environment.usable_cores = lambda: 2\n"
        "from rtxbench.report.drawing.pool import drawing_processes\n"
        "if __name__ == '__main__':\n"
        "    with drawing_processes() as pool:\n"
        "        print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)\n"
        "        time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.send_signal(number)
        assert pids
        wait_until(lambda: all(gone(pid) for pid in pids), "the drawing processes' end")

"""Drawing in processes: the same pictures, and none lost when a process is."""

import os
import pickle
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rtxbench.hardware import environment
from rtxbench.report.base import Figure
from rtxbench.report.drawing import draw_all, drawing_processes
from rtxbench.report.purchase_figures import FitCell, fit_matrix
from rtxbench.report.sections import SECTIONS
from tests.synthetic import write_results
from tests.synthetic_report import context_of

CELLS = ((FitCell("fits", 3), FitCell("no", 0)),)
FIGURES = [
    Figure(name=name, build=partial(fit_matrix, (name,), (8, 16), CELLS), alt="", caption="", origin="predicted")
    for name in ("first", "second", "third")
]


class Broken(Executor):
    """Processes that were killed."""

    def submit(self, *_args: Any, **_named: Any) -> Future[Any]:
        raise BrokenExecutor("a process was terminated abruptly")


def test_processes_draw_the_same_bytes_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes give what this one gives."""
    monkeypatch.setattr(environment, "usable_cores", lambda: 2)
    with drawing_processes() as processes:
        assert processes is not None
        elsewhere = draw_all(FIGURES, processes)
        assert processes.submit(os.getpid).result() != os.getpid()
    assert elsewhere == draw_all(FIGURES)
    assert list(elsewhere) == ["first", "second", "third"]


def test_one_core_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process on one core would only import matplotlib twice."""
    monkeypatch.setattr(environment, "usable_cores", lambda: 1)
    with drawing_processes() as processes:
        assert processes is None


def test_killed_processes_lose_no_figure() -> None:
    """What killed processes did not draw is drawn here."""
    assert list(draw_all(FIGURES, Broken())) == ["first", "second", "third"]


def test_every_figure_can_go_to_another_process(tmp_path: Path) -> None:
    """No section's figure holds what cannot be pickled."""
    context = context_of(write_results(tmp_path))
    figures = [figure for make in SECTIONS if (section := make(context)) for figure in section.figures]
    assert len(figures) > 10
    for figure in figures:
        assert pickle.loads(pickle.dumps(figure)).name == figure.name

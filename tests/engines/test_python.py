"""A user's own step, without a framework."""

import sys
from pathlib import Path

import pytest

from rtxbench.engines.python import create
from rtxbench.errors import MeasurementError
from rtxbench.records import Case


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> float | None:
    """The loss of one step of ``make`` in a file with this source."""
    (tmp_path / "own_python_step.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_python_step", raising=False)
    step = create().build(Case(workload="own_python_step:make", batch_size=1, engine="python"), 0)
    step.run(1)
    return step.loss()


def test_a_step_reports_the_number_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is its loss."""
    assert run(tmp_path, monkeypatch, "def make():\n    return lambda: 0.5") == 0.5


@pytest.mark.parametrize(
    "step",
    ["Awaitable()", "Future()"],
)
def test_a_step_that_is_still_to_be_awaited_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It has begun its work at most; the message says how to end it."""
    later = "class Awaitable:\n    def __await__(self): ..."
    source = f"from concurrent.futures import Future\n{later}\ndef make():\n    return lambda: {step}"
    with pytest.raises(MeasurementError, match="still to be awaited") as caught:
        run(tmp_path, monkeypatch, source)
    assert "asyncio.run" in caught.value.next_step

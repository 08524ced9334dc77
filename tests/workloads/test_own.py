"""A user's own function: what it may return, and the sentence that each mistake becomes."""

import os
from pathlib import Path

import pytest

from rtxbench.errors import MeasurementError, UsageError
from rtxbench.records import Case
from rtxbench.workloads.own import SOURCE_VARIABLE, OwnModel, call_build, own_name
from rtxbench.workloads.process_state import changed_state


def called(tmp_path: Path, source: str, function: str = "build") -> OwnModel:
    """What the function of a file with this source returns."""
    path = tmp_path / f"own_{abs(hash(source))}.py"
    path.write_text(source, encoding="utf-8")
    case = Case(workload=own_name(path, function), batch_size=4)
    return call_build(case, 0, {SOURCE_VARIABLE: f"{path}:{function}"})


def test_the_function_gets_the_batch_size_and_what_lies_beside_it(tmp_path: Path) -> None:
    """A model's helpers are imported from the folder of its file."""
    (tmp_path / "own_helper_beside.py").write_text("LOSS = 'mse'", encoding="utf-8")
    own = called(
        tmp_path, "def build(n):\n    from own_helper_beside import LOSS\n    return 'model', ([n], [0]), LOSS"
    )
    assert own == OwnModel("model", ([4], [0]), "mse")


def test_equal_seeds_draw_equal_numbers(tmp_path: Path) -> None:
    """The function needs no seed of its own for two cases to start alike."""
    source = "import random, numpy\ndef build(n):\n    return random.random(), {'x': numpy.random.rand()}, None"
    assert called(tmp_path, source) == called(tmp_path, source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def other(n): ...", "has no function 'build'"),
        ("def build(n): return 'model'", "returned str. Return (model, batch, loss)"),
        ("def build(n): return 1, 2", "returned 2 values"),
        ("def build(n): return 1, ([1], [2]), None", "returned no loss"),
        ("import numpy\ndef build(n): return 1, (numpy.ones((9, 2)), numpy.ones(9)), 'mse'", "asked for a batch of 4"),
        ("import no_such_package_at_all", "needs the package 'no_such_package_at_all'"),
        ("import sys\nsys.exit(2)", "ended the program"),
        ("def build(n):\n    return 1 / 0", "raised ZeroDivisionError: division by zero (line 2)"),
        ("import os\ndef build(n):\n    os.chdir('/')\n    return 1, {}, None", "changes the process it runs in: "),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence_with_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    """Whatever a stranger's file does ends in words that say what to change."""
    monkeypatch.chdir(tmp_path)  # put back afterwards
    with pytest.raises(MeasurementError) as caught:
        called(tmp_path, source)
    assert said in str(caught.value)
    assert caught.value.next_step.endswith(".")


def test_a_file_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """Records of one name are of one source."""
    path = tmp_path / "own_changing.py"
    path.write_text("def build(n): ...", encoding="utf-8")
    case = Case(workload=own_name(path, "build"), batch_size=1)
    path.write_text("def build(n): return 1", encoding="utf-8")
    with pytest.raises(UsageError, match="has changed since"):
        call_build(case, 0, {SOURCE_VARIABLE: f"{path}:build"})


def test_what_is_printed_does_not_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chatty function is built like any other; its worker keeps standard output to itself."""
    assert called(tmp_path, "def build(n):\n    print('{')\n    return 1, {}, None").model == 1
    assert "{" in capsys.readouterr().out


def test_only_switches_known_before_and_after_are_compared() -> None:
    """A framework that the function imports first has changed nothing."""
    assert changed_state({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b went from 2 to 3"]


def test_the_name_holds_no_path(tmp_path: Path) -> None:
    """A record says which program it was, not where on somebody's disk it lies."""
    path = tmp_path / "train.py"
    path.write_text("", encoding="utf-8")
    name = own_name(path, "build")
    assert name.startswith("model:train.build@")
    assert os.sep not in name

"""The gate's worker, where it can be asked without a process of its own."""

import os
import sys
import types
from pathlib import Path

import pytest

from rtxbench.gate.worker import _foreign_modules


def test_code_of_the_other_arm_is_named_and_the_worker_itself_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also under the second name that PyTorch gives the main module; what is installed there is nobody's code."""
    places = {"theirs": "train.py", "installed": "lib/site-packages/numpy.py", "__main__": "worker.py"}
    for name, place in places.items():
        module = types.ModuleType(name)
        module.__file__ = os.fspath(tmp_path / place)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])
    assert _foreign_modules(os.fspath(tmp_path)) == [f"theirs ({tmp_path / 'train.py'})"]
    assert _foreign_modules("") == []

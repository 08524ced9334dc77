"""Where an engine's workers find their Python."""

import sys
from pathlib import Path

import pytest

from rtxbench.workers import interpreters
from rtxbench.workers.interpreters import interpreter_of, why_engine_missing, worker_spec


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "find_spec", lambda name: None)


def tox_python(folder: Path, engine: str) -> Path:
    python = folder / ".tox" / engine / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    return python


def test_a_named_interpreter_comes_first(tmp_path: Path, nowhere: None) -> None:
    """The environment variable wins over tox's environment."""
    tox_python(tmp_path, "jax")
    assert interpreter_of("jax", {"RTXBENCH_PYTHON_JAX": "/opt/jax/bin/python"}, tmp_path) == "/opt/jax/bin/python"


def test_toxs_environment_is_found_where_this_one_lacks_the_engine(tmp_path: Path, nowhere: None) -> None:
    """After `tox -e torch` no variable is needed."""
    assert interpreter_of("torch", {}, tmp_path) == sys.executable
    python = tox_python(tmp_path, "torch")
    assert interpreter_of("torch", {}, tmp_path) == str(python)
    assert why_engine_missing("torch", {}, tmp_path) is None


def test_this_interpreter_is_used_where_it_has_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One environment with every engine needs no setting, even beside a tox environment."""
    monkeypatch.setattr(interpreters, "find_spec", lambda name: object())
    tox_python(tmp_path, "jax")
    assert interpreter_of("jax", {}, tmp_path) == sys.executable
    assert why_engine_missing("jax", {}, tmp_path) is None


def test_a_missing_engine_is_explained(tmp_path: Path, nowhere: None) -> None:
    """The reason names the variable and the tox environment; a variable that names no file is said."""
    assert "RTXBENCH_PYTHON_JAX" in (why_engine_missing("jax", {}, tmp_path) or "")
    named = why_engine_missing("jax", {"RTXBENCH_PYTHON_JAX": str(tmp_path / "none")}, tmp_path) or ""
    assert "which is no file" in named


def test_workers_elsewhere_get_this_rtxbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coordinator and worker are one version: another interpreter imports rtxbench from where this one does."""
    monkeypatch.setenv("RTXBENCH_PYTHON_TORCH", str(tmp_path / "python"))
    spec = worker_spec("torch")
    assert spec.python == str(tmp_path / "python")
    root = Path(interpreters.rtxbench.__file__).parent.parent
    assert spec.environment["PYTHONPATH"].split(":")[0] == str(root)
    monkeypatch.delenv("RTXBENCH_PYTHON_TORCH")
    monkeypatch.setenv("PYTHONPATH", str(root))
    assert "PYTHONPATH" not in worker_spec("tensorflow").environment
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(interpreters.sysconfig, "get_paths", dict)  # a source tree that is nowhere installed
    assert worker_spec("tensorflow").environment["PYTHONPATH"] == str(root)

"""What decides whether two arms may share an interpreter, and what a broken project gets told."""

import importlib.util
import sys
from pathlib import Path

import pytest

from rtxbench.errors import MeasurementError, UsageError
from rtxbench.gate import environments

PROJECT = '[project]\nname = "p"\ndependencies = ["numpy>=2"]\n[project.optional-dependencies]\ntrain = ["torch"]\n'


def digest(tree: Path, **options: tuple[str, ...]) -> str:
    """The digest of a tree's dependencies."""
    return environments.dependencies(tree, **options).digest


def test_only_dependencies_decide(tmp_path: Path) -> None:
    """A linter's settings do not change the digest; a dependency, an extra, a lock file and requirements do."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    before = digest(tmp_path)
    (tmp_path / "pyproject.toml").write_text(PROJECT + "[tool.ruff]\nline-length = 99\n")
    assert digest(tmp_path) == before
    changed = {digest(tmp_path, extras=("train",))}
    (tmp_path / "uv.lock").write_text("version = 1\n")
    changed.add(digest(tmp_path))
    (tmp_path / "requirements.txt").write_text("scipy\n")
    changed.add(digest(tmp_path))
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace("numpy>=2", "numpy>=1"))
    changed.add(digest(tmp_path))
    assert before not in changed
    assert len(changed) == 4


def test_requirements_of_project_and_extra(tmp_path: Path) -> None:
    """Project dependencies and the extras asked for are installed together."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    assert environments.dependencies(tmp_path, ("train",)).requirements == ("numpy>=2", "torch")


def test_broken_projects_are_usage_errors(tmp_path: Path) -> None:
    """An unknown extra and malformed TOML are explained."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    with pytest.raises(UsageError, match="no extra named 'nope'") as caught:
        environments.dependencies(tmp_path, ("nope",))
    assert "train" in caught.value.next_step
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(UsageError, match="malformed"):
        environments.dependencies(tmp_path)


def test_source_folder_comes_first(tmp_path: Path) -> None:
    """Projects with ``src/`` import from there."""
    assert environments.search_path(tmp_path) == (tmp_path,)
    (tmp_path / "src").mkdir()
    assert environments.search_path(tmp_path) == (tmp_path / "src", tmp_path)


def test_failed_installation_leaves_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requirements that cannot be installed are an error each time, never a half-built environment in use."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "requirements.txt").write_text("no-such-package-anywhere==9\n")
    needed = environments.dependencies(tree)
    for _ in range(2):
        with pytest.raises(MeasurementError, match="no-such-package-anywhere"):
            environments.arm_python(tree, needed, tmp_path / "cache")


def test_unwritable_cache(tmp_path: Path) -> None:
    """A cache that cannot be written is an error that names the variable to change."""
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(MeasurementError, match="cannot build an environment") as caught:
        environments.arm_python(tmp_path, environments.dependencies(tmp_path), tmp_path / "cache" / "below")
    assert "XDG_CACHE_HOME" in caught.value.next_step


@pytest.mark.parametrize("own_pip", [True, False])
def test_an_interpreter_without_pip_lets_the_new_environment_bring_its_own(
    own_pip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pip, it installs into an environment without one; without, as in uv's, the new one's pip does."""
    commands: list[list[str]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object() if own_pip else None)
    monkeypatch.setattr(environments, "_run", lambda command, _folder: commands.append(command))
    needed = environments.Dependencies(("numpy>=2",), (), "digest")
    environments._build(tmp_path / "new", tmp_path, needed)
    create, install = commands
    assert ("--without-pip" in create) is own_pip
    assert ("--python" in install) is own_pip
    assert install[0] == (sys.executable if own_pip else str(tmp_path / "new" / "bin" / "python"))
    assert install[-2:] == ["--", "numpy>=2"]

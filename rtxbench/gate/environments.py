"""Each arm's Python: the running interpreter where both arms need the same packages, else one environment per arm.

An environment holds the *dependencies* of a tree, never the tree itself, which is put first on ``sys.path``
instead. So two commits with the same dependencies share one, built once and found again by the digest of the
files that name them.
"""

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rtxbench.errors import MeasurementError, UsageError
from rtxbench.gate.settings import foreign_bytes, foreign_text, foreign_toml, shape_error

__all__ = ["Dependencies", "arm_python", "cache_dir", "dependencies", "search_path"]

_LOCK_FILES: Final = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "constraints.txt")
_READY: Final = "rtxbench-ready.json"
_MOST_LOCK_BYTES: Final = 64 * 2**20


class _Project(msgspec.Struct, frozen=True, rename="kebab"):
    """The part of ``[project]`` that decides an installation."""

    dependencies: tuple[str, ...] = ()
    optional_dependencies: dict[str, tuple[str, ...]] = {}


class Dependencies(NamedTuple):
    """The packages a tree needs, and the digest that names them."""

    requirements: tuple[str, ...]
    requirement_files: tuple[Path, ...]
    digest: str


def cache_dir() -> Path:
    """Return ``$XDG_CACHE_HOME/rtxbench/environments``; ``~/.cache`` where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rtxbench" / "environments"


def search_path(tree: Path) -> tuple[Path, ...]:
    """Find where a tree's code is imported from: ``src/`` where there is one, then the tree."""
    source = tree / "src"
    return (source, tree) if source.is_dir() else (tree,)


def dependencies(tree: Path, extras: tuple[str, ...] = ()) -> Dependencies:
    """List what ``pyproject.toml`` (project dependencies and ``extras``) and ``requirements*.txt`` of a tree ask for.

    Only what decides the installation enters the digest, so that a change of, say, a linter's settings in
    ``pyproject.toml`` does not build a new environment.

    Raises:
        UsageError: a file is malformed, unreadable or no file, or ``pyproject.toml`` lacks an extra that was asked for.
    """
    files = tuple(sorted(tree.glob("requirements*.txt")))
    locks = [tree / name for name in _LOCK_FILES if os.path.lexists(tree / name)]
    requirements = _project_requirements(tree / "pyproject.toml", extras)
    digest = hashlib.sha256(json.dumps([sys.implementation.cache_tag, platform.machine(), requirements]).encode())
    for path in (*files, *locks):
        digest.update(path.name.encode() + b"\0" + foreign_bytes(path, _MOST_LOCK_BYTES) + b"\0")
    return Dependencies(tuple(requirements), files, digest.hexdigest()[:24])


def arm_python(tree: Path, needed: Dependencies, cache: Path | None = None) -> Path:
    """Return the interpreter of the environment that holds ``needed``; built on first use, wholly or not at all.

    Raises:
        MeasurementError: the environment cannot be created or a package cannot be installed.
    """
    from filelock import FileLock

    home = (cache or cache_dir()) / needed.digest
    python = home / "bin" / "python"
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(home.with_suffix(".lock")):  # two gates build it once; the second waits
            if not (home / _READY).exists():
                shutil.rmtree(home, ignore_errors=True)  # an earlier build was interrupted
                _build(home, tree, needed)
                (home / _READY).write_text(json.dumps({"requirements": needed.requirements}))
    except OSError as error:
        raise MeasurementError(
            f"cannot build an environment in {home}: {error.strerror}.",
            next_step="Free some disk space, or set XDG_CACHE_HOME to another disk.",
        ) from error
    return python


def _project_requirements(path: Path, extras: tuple[str, ...]) -> list[str]:
    try:
        project = msgspec.convert(foreign_toml(path).get("project", {}), _Project)
    except msgspec.ValidationError as error:
        raise shape_error(path, "[project]", error) from error
    optional = project.optional_dependencies
    unknown = [extra for extra in extras if extra not in optional]
    if unknown:
        raise UsageError(f"{path} has no extra named {unknown[0]!r}.", next_step=f"It has: {', '.join(optional)}.")
    wanted = sorted([*project.dependencies, *(row for extra in extras for row in optional[extra])])
    for row in wanted:
        if not row[:1].isalnum():
            raise UsageError(f"{path}: {row!r} is no requirement.", next_step="Write for example numpy>=2.")
    return wanted


def _build(home: Path, tree: Path, needed: Dependencies) -> None:
    """Install by the running interpreter's pip: bootstrapping another one takes longer than most gates.

    Where it has none, as in uv's environments, the new one gets pip from the standard library's own copy.
    """
    own_pip = importlib.util.find_spec("pip") is not None
    _run([sys.executable, "-I", "-m", "venv", *(["--without-pip"] if own_pip else []), str(home)], tree)
    wanted = [f"-r{path}" for path in filter(_asks_for_anything, needed.requirement_files)]
    wanted += ["--", *needed.requirements] if needed.requirements else []
    if wanted:
        python = str(home / "bin" / "python")
        pip = [sys.executable, "-I", "-m", "pip", "--python", python] if own_pip else [python, "-I", "-m", "pip"]
        _run([*pip, "install", "--disable-pip-version-check", "--quiet", *wanted], tree)


def _asks_for_anything(path: Path) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in foreign_text(path).splitlines())


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        tail = "\n".join((result.stderr or result.stdout).rstrip().splitlines()[-8:])
        raise MeasurementError(
            f"{' '.join(command[:6])} … failed:\n{tail}\n",
            next_step="Mend the requirements, or measure with an interpreter you prepared: --python PATH.",
        )

"""Each arm's Python: the running interpreter where both arms need the same packages, else one environment per arm.

An environment holds the *dependencies* of a tree, never the tree itself, which is put first on ``sys.path``
instead. So two commits with the same dependencies share one, built once and found again by the digest of the
files that name them.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from rtxbench.errors import MeasurementError, UsageError

__all__ = ["Dependencies", "arm_python", "cache_dir", "dependencies", "search_path"]

_LOCK_FILES: Final = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "constraints.txt")
_READY: Final = "rtxbench-ready.json"


class Dependencies(NamedTuple):
    """What a tree needs installed, and the digest that names it."""

    requirements: tuple[str, ...]
    requirement_files: tuple[Path, ...]
    digest: str


def cache_dir() -> Path:
    """``$XDG_CACHE_HOME/rtxbench/environments``; ``~/.cache`` where that is not set."""
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
        UsageError: ``pyproject.toml`` is malformed or lacks an extra that was asked for.
    """
    files = tuple(sorted(tree.glob("requirements*.txt")))
    locks = [tree / name for name in _LOCK_FILES if (tree / name).exists()]
    requirements = _project_requirements(tree / "pyproject.toml", extras)
    digest = hashlib.sha256(json.dumps([sys.implementation.cache_tag, platform.machine(), requirements]).encode())
    for path in (*files, *locks):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return Dependencies(tuple(requirements), files, digest.hexdigest()[:24])


def arm_python(tree: Path, needed: Dependencies, cache: Path | None = None) -> Path:
    """The interpreter of the environment that holds ``needed``; built on first use, complete or not there at all.

    Raises:
        MeasurementError: the environment cannot be created or a package cannot be installed.
    """
    home = (cache or cache_dir()) / needed.digest
    python = home / "bin" / "python"
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(home.with_suffix(".lock")):
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
    if not path.exists():
        return []
    try:
        project: dict[str, Any] = tomllib.loads(path.read_text()).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is malformed: {error}.", next_step="Mend it, or pass --no-install.") from error
    optional = project.get("optional-dependencies", {})
    unknown = [extra for extra in extras if extra not in optional]
    if unknown:
        raise UsageError(f"{path} has no extra named {unknown[0]!r}.", next_step=f"It has: {', '.join(optional)}.")
    return sorted([*project.get("dependencies", []), *(row for extra in extras for row in optional[extra])])


def _build(home: Path, tree: Path, needed: Dependencies) -> None:
    """The running interpreter's pip installs into it: bootstrapping another one takes longer than most gates."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)], tree)
    wanted = [*needed.requirements]
    for path in filter(_asks_for_anything, needed.requirement_files):
        wanted += ["-r", str(path)]
    if wanted:
        pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install"]
        _run([*pip, "--disable-pip-version-check", "--quiet", *wanted], tree)


def _asks_for_anything(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        tail = "\n".join((result.stderr or result.stdout).rstrip().splitlines()[-8:])
        raise MeasurementError(
            f"{' '.join(command[:6])} … failed:\n{tail}\n",
            next_step="Mend the requirements, or measure with an interpreter you prepared: --python PATH.",
        )


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Two gates on one machine build an environment once; the second waits."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

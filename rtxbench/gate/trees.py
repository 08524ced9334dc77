"""The two source trees: a revision gets a git work tree of its own, which is always removed; a folder is used as is."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rtxbench.errors import MeasurementError, UnavailableError, UsageError
from rtxbench.processes import run_git

__all__ = ["Tree", "check_unchanged", "checked_out", "is_dirty"]

_PREFIX: Final = "rtxbench-gate-"


class Tree(NamedTuple):
    """One arm's source tree on disk."""

    path: Path
    asked: str
    """As the user named it."""
    commit: str | None
    """Full hash; ``None`` for a folder that is not under git."""
    dirty: bool
    """A folder with changes that no commit holds."""
    state: str
    """Digest of the folder's uncommitted state when it was opened; empty for a work tree."""
    own: tuple[Path, ...]
    """Files that the gate writes there."""

    @property
    def label(self) -> str:
        """For people: what was asked, the short hash, and whether there is more than the commit holds."""
        if self.commit is None:
            return f"{self.asked} (not under git)"
        suffix = " + uncommitted changes" if self.dirty else ""
        return f"{self.asked} ({self.commit[:10]}{suffix})"


@contextlib.contextmanager
def checked_out(asked: str, repository: Path, own: Sequence[Path] = ()) -> Iterator[Tree]:
    """Yield the tree that ``asked`` names: a folder, a revision, or ``A...B`` for the merge base of two revisions.

    A revision's work tree lives in the temporary folder and is removed on the way out, also on Ctrl-C. What a
    killed gate left behind is removed on the way in.

    Args:
        asked: as the user named it.
        repository: the folder the gate was called in.
        own: files and folders that the gate itself writes: they are no change of the code.

    Raises:
        UsageError: neither a folder nor a revision of ``repository``.
        UnavailableError: git is not installed.
        MeasurementError: git cannot create the work tree.
    """
    if "\0" in asked:
        raise UsageError(f"{asked!r} is no revision.", next_step="Name a branch, tag, commit or folder.")
    if _looks_like_a_path(asked) or not (commit := _resolve(asked, repository)):
        yield _folder(asked, repository, own)
        return
    _remove_abandoned(repository)
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        added = _git(repository, "worktree", "add", "--detach", "--force", str(path), commit)
        if added.returncode:
            raise MeasurementError(
                f"git cannot create a work tree of {asked}: {added.stderr.strip()}.",
                next_step=f"Check the free space of {path.parent}, or set TMPDIR.",
            )
        prefix = _git(repository, "rev-parse", "--show-prefix").stdout.strip()
        inside = path / prefix
        if not inside.is_dir():
            raise UsageError(f"{asked} has no folder {prefix}.", next_step="Name a revision that holds it.")
        yield Tree(inside.resolve(), asked, commit, dirty=False, state="", own=())
    finally:
        _remove(repository, path)


def check_unchanged(tree: Tree) -> None:
    """Refuse a folder that was edited while it was measured.

    Raises:
        MeasurementError: its commit or its uncommitted changes are no longer what they were.
    """
    if tree.state and _folder_state(tree.path, tree.own)[2] != tree.state:
        raise MeasurementError(
            f"{tree.asked} changed while it was being measured.",
            next_step="Leave the folder alone while the gate runs, or gate a commit: --candidate HEAD.",
        )


def is_dirty(folder: Path, own: Sequence[Path] = ()) -> bool:
    """Tell whether the folder holds changes that no commit has, but for what the gate itself writes."""
    return _folder_state(folder, own)[1]


def _looks_like_a_path(asked: str) -> bool:
    return asked.startswith((".", "/", "~")) and "..." not in asked


def _folder(asked: str, repository: Path, own: Sequence[Path]) -> Tree:
    try:
        path = (repository / Path(asked).expanduser()).resolve()
        found = path.is_dir()
    except (OSError, RuntimeError):  # a name too long, a loop of links, no such user
        found = False
    if not found:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        cure = "The clone is shallow: fetch the history first (git fetch --unshallow; fetch-depth: 0 in CI)."
        raise UsageError(
            f"{asked!r} is neither a folder nor a revision of {repository}.",
            next_step=cure if shallow else "Name a branch, tag, commit or folder; `git branch -a` lists the branches.",
        )
    commit, dirty, state = _folder_state(path, own)
    return Tree(path, asked, commit, dirty, state, tuple(own))


def _folder_state(path: Path, own: Sequence[Path]) -> tuple[str | None, bool, str]:
    """Return (commit, dirty, digest of the commit and of what tracked files have more than it).

    Untracked files make a folder dirty but are not in the digest: a training step may write some.
    """
    commit = _git(path, "rev-parse", "--verify", "--quiet", "HEAD").stdout.strip() or None
    absolute = [Path(os.path.abspath(path / one)) for one in (Path(".rtxbench"), *own)]  # noqa: PTH100 (links stay links)
    beside = [f":(exclude,literal){one.relative_to(path)}" for one in absolute if one != path and path in one.parents]
    status = _git(path, "status", "--porcelain", "--untracked-files=normal", "--", ".", *beside).stdout
    changes = _git(path, "diff", "--no-ext-diff", "HEAD", "--", ".", *beside).stdout
    digest = hashlib.sha256(f"{commit}\n{changes}".encode(errors="surrogateescape")).hexdigest()
    return commit, bool(status.strip()), digest


def _resolve(asked: str, repository: Path) -> str | None:
    """Full hash of a revision, or ``None`` where git does not know it."""
    if "..." in asked:
        left, _, right = asked.partition("...")
        ends = [_resolve(end or "HEAD", repository) for end in (left, right)]
        known = [end for end in ends if end is not None]  # hashes: no part of what was asked can pass for an option
        return _git(repository, "merge-base", *known).stdout.strip() or None if len(known) == 2 else None
    if asked.startswith("-"):
        return None
    found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}")
    commit = found.stdout.strip()
    return commit if re.fullmatch(r"[0-9a-f]{40,64}", commit) else None  # "A..B" answers with two


def _remove_abandoned(repository: Path) -> None:
    """Remove the work trees of gates that were killed outright: their process no longer exists."""
    listing = _git(repository, "worktree", "list", "--porcelain").stdout
    for line in listing.splitlines():
        match = re.fullmatch(rf"worktree (.*/{_PREFIX}(\d+)-[^/]+)", line)
        if match and not Path(f"/proc/{match[2]}").exists() and Path("/proc").is_dir():
            _remove(repository, Path(match[1]))


def _remove(repository: Path, path: Path) -> None:
    _git(repository, "worktree", "remove", "--force", "--force", str(path))
    shutil.rmtree(path, ignore_errors=True)  # what git did not know of: a failed checkout, files of the user's step
    _git(repository, "worktree", "prune")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        result = run_git(folder, *arguments)
    except FileNotFoundError as error:
        raise UnavailableError(
            "git is not installed.", next_step="Install git; the gate asks it what is compared."
        ) from error
    if result.returncode and "dubious ownership" in result.stderr:
        raise UsageError(
            f"git refuses {folder}: it belongs to another user (dubious ownership).",
            next_step=f"If you trust it: git config --global --add safe.directory {folder}",
        )
    return result

"""Both arms' trees as one archive, which any machine of a pool can unpack."""

import io
import tarfile
from pathlib import Path
from typing import Final

from rtxbench.errors import UsageError

__all__ = ["packed", "unpacked"]

_LEFT_OUT: Final = frozenset({".git", ".tox", ".venv", "venv", "node_modules", "__pycache__", ".rtxbench"})
"""Folders that are no code of the tree, or are made anew from it."""
_MOST_BYTES: Final = 256 * 2**20


def packed(baseline: Path, candidate: Path) -> bytes:
    """Pack two trees, without what is no code of theirs.

    Raises:
        UsageError: together they are larger than 256 MiB.
    """
    stream = io.BytesIO()
    left = _MOST_BYTES
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for role, tree in (("baseline", baseline), ("candidate", candidate)):
            for path in sorted(tree.rglob("*")):
                inside = path.relative_to(tree)
                if path.is_symlink() or not path.is_file() or _LEFT_OUT.intersection(inside.parts):
                    continue
                left -= path.stat().st_size
                if left < 0:
                    raise UsageError(
                        f"the trees are larger than 256 MiB: {tree} holds more than code.",
                        next_step="Gate two revisions of the repository rather than a folder with data in it.",
                    )
                archive.add(path, f"{role}/{inside.as_posix()}")
    return stream.getvalue()


def unpacked(parcel: bytes, folder: Path) -> tuple[Path, Path]:
    """Unpack into a folder and return the baseline's tree and the candidate's."""
    with tarfile.open(fileobj=io.BytesIO(parcel), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")
    trees = folder / "baseline", folder / "candidate"
    for tree in trees:
        tree.mkdir(exist_ok=True)
    return trees

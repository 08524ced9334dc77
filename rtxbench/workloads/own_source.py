"""The source of a user's own model: its file and what it imports from beside it, told apart by a digest.

::

    train.py ── import data ─► data.py ── from blocks.attention import … ─► blocks/__init__.py, blocks/attention.py

The files are parsed, never run; what they hold goes into no record. Installed packages are told by their versions.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from rtxbench.errors import UsageError

__all__ = ["source_digest", "source_files", "source_labels"]


def source_files(path: Path) -> tuple[Path, ...]:
    """List a file and every file beside or below it that it imports, directly or through another, sorted.

    Only imports written in the source are seen; a name computed while the program runs is not.

    Raises:
        UsageError: a file cannot be read.
    """
    root, found, waiting = path.parent, {path}, [path]
    while waiting:
        file = waiting.pop()
        new = {local for imported in _imports(file) for local in _local(root, file, imported)} - found
        found |= new
        waiting += new
    return tuple(sorted(found))


def source_digest(path: Path) -> str:
    """SHA-256 of a model's source, hexadecimal: of its file alone, or of all its local files and their places.

    Raises:
        UsageError: a file cannot be read.
    """
    files = source_files(path)
    if files == (path,):
        return hashlib.sha256(_bytes(path)).hexdigest()
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(path.parent).as_posix()}\0".encode())
        whole.update(hashlib.sha256(_bytes(file)).digest())
    return whole.hexdigest()


def source_labels(path: Path) -> dict[str, str]:
    """Say in a record which source it was: the file's name, the digest, and of how many files.

    Raises:
        UsageError: a file cannot be read.
    """
    count = len(source_files(path))
    return {"file": path.name, "source_sha256": source_digest(path), "source_files": str(count)}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", next_step="Name your model as path/to/file.py:function."
        ) from error


def _imports(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """List (dots, parts) of what a file imports: ``from ..blocks import attention`` → 2, (blocks, attention)."""
    try:
        tree = ast.parse(_bytes(path))
    except (SyntaxError, ValueError):
        return  # whoever runs it says what is wrong with it
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((0, tuple(name.name.split("."))) for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                head = tuple(module.split(".")) if module else ()
                yield from ((level, (*head, name.name)) for name in names)


def _local(root: Path, importer: Path, imported: tuple[int, tuple[str, ...]]) -> Iterator[Path]:
    """List the files that an import runs, as far as they lie under ``root``: packages, then the module."""
    dots, parts = imported
    folder = root if dots == 0 else importer.parents[dots - 1]
    if not folder.is_relative_to(root):
        return
    for count in range(len(parts) + 1):
        place = folder.joinpath(*parts[:count])
        candidates = [place.with_suffix(".py")] if count else []
        candidates += [place / "__init__.py"] if count or dots else []
        yield from (file for file in candidates if file.is_file())

"""The digest of a model's source covers what it imports from beside it, and nothing else."""

import shutil
from pathlib import Path

import pytest

from rtxbench.errors import UsageError
from rtxbench.workloads.own_source import source_digest, source_files

FILES = {
    "train.py": "import data\nimport numpy\ndef build(n):\n    from blocks.attention import Head\n",
    "data.py": "import data\n",  # a circle
    "blocks/__init__.py": "",
    "blocks/attention.py": "from . import mask\nfrom .norm import RMS\n",
    "blocks/mask.py": "import importlib\n",
    "blocks/norm.py": "RMS = 1\n",
    "blocks/unused.py": "",
    "other.py": "",
}


@pytest.fixture
def train(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / "train.py"


def test_every_imported_local_file_is_found(train: Path) -> None:
    """Through functions, packages, relative imports and circles; installed packages and idle files are not source."""
    names = [file.relative_to(train.parent).as_posix() for file in source_files(train)]
    assert names == sorted({*FILES} - {"blocks/unused.py", "other.py"})


@pytest.mark.parametrize("name", FILES)
def test_the_digest_changes_with_the_source_and_with_nothing_else(train: Path, name: str) -> None:
    """A changed helper is another model; a changed neighbour that nobody imports is not."""
    before = source_digest(train)
    with (train.parent / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    imported = name not in ("blocks/unused.py", "other.py")
    assert (source_digest(train) != before) == imported


def test_the_digest_does_not_depend_on_where_the_files_lie(train: Path) -> None:
    """The same program on two machines is one case."""
    copy = train.parent / "elsewhere"
    shutil.copytree(train.parent, copy, ignore=shutil.ignore_patterns("elsewhere"))
    assert source_digest(copy / "train.py") == source_digest(train)


def test_a_file_without_local_imports_has_the_digest_of_its_bytes(train: Path) -> None:
    """The name of a one-file model in earlier records stays its name."""
    import hashlib

    assert source_digest(train.parent / "other.py") == hashlib.sha256(b"").hexdigest()


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """It names what to give instead."""
    with pytest.raises(UsageError, match=r"file\.py:function"):
        source_digest(tmp_path / "none.py")

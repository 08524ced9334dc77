"""A trace's files are checked before the command runs, and own files of any content are usage errors."""

from pathlib import Path

import pytest

from rtxbench.catalog.cards import load_cards
from rtxbench.catalog.prices import load_prices
from rtxbench.cli.tracing import trace
from rtxbench.errors import UsageError
from rtxbench.verdicts.claims import load_claims

DEEP = "x = " + "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize("name", ["nowhere/f.png", "f.exe"])
def test_a_picture_that_cannot_be_written_is_said_before_the_command_runs(name: str, tmp_path: Path) -> None:
    """The command did not run: its file is not there."""
    with pytest.raises(UsageError):
        trace(["touch", str(tmp_path / "ran")], figure=tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [DEEP.encode(), b"\xff\xfe", b"x = 99999-99-99", b"a" * 200_000])
@pytest.mark.parametrize("read", [load_claims, lambda path: load_prices(path, {}), load_cards])
def test_own_files_of_any_content_are_usage_errors(content: bytes, read: object, tmp_path: Path) -> None:
    """Claims, prices and cards that are nested without end, no text, out of range or one long field."""
    path = tmp_path / "own"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read(path)  # type: ignore[operator]

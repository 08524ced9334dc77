"""Whatever is wrong with a file from elsewhere becomes one error with file and line."""

import os
from pathlib import Path

import msgspec
import pytest

from rtxbench.errors import RecordError
from rtxbench.results.foreign import decoded_lines


def lines_of(path: Path, most_bytes: int = 1000) -> list[object]:
    return [value for _, value in decoded_lines(path, msgspec.json.Decoder().decode, most_bytes)]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a": "\xff"}\n', "UTF-8"),
        (b"[" * 900 + b"]" * 90 + b"\n", "line 1"),
        (b'{"a": 1e999}\n', "line 1"),
        (b"x" * 2000, "longer than 1000 bytes"),
        (b"\n", "line 1"),
    ],
    ids=["not UTF-8", "deep", "huge number", "long line", "empty line"],
)
def test_a_bad_line_is_named(tmp_path: Path, raw: bytes, why: str) -> None:
    """Encoding, depth, range and length end as a `RecordError` that says where."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(raw)
    with pytest.raises(RecordError, match=why):
        lines_of(path)


@pytest.mark.parametrize("raw", [b'{"a": "\xff', b"[" * 900, b'{"a": "unfini'])
def test_an_unfinished_last_line_is_forgiven_whatever_it_holds(tmp_path: Path, raw: bytes) -> None:
    """A killed writer leaves any prefix of a line, also half of a character."""
    path = tmp_path / "cut.jsonl"
    path.write_bytes(b'{"a": 1}\n' + raw)
    assert lines_of(path) == [{"a": 1}, None]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """Opening a FIFO would wait for a writer that never comes."""
    path = tmp_path / "x.jsonl"
    os.mkfifo(path)
    with pytest.raises(RecordError, match="no regular file"):
        lines_of(path)


@pytest.mark.parametrize("path", ["/dev/zero", "a\0b", "no/such/file"])
def test_devices_and_impossible_paths_are_errors(path: str) -> None:
    """A device has no end; a NUL is in no path."""
    with pytest.raises(RecordError):
        lines_of(Path(path))


def test_control_characters_in_strings_are_replaced(tmp_path: Path) -> None:
    """No later reader has to think of terminals: escapes, C1 and direction marks are gone, line feeds and tabs stay."""
    path = tmp_path / "hostile.jsonl"
    path.write_bytes(b'["\\u001b[2J", "\\r\\b", "a\\nb\\tc", "C:\\\\bin", "\xc2\x9b", "\\u202e", "\xe2\x80\xae"]\n')
    ((first, second, white, folder, *rest),) = lines_of(path)
    assert (first, second, white, folder) == ("\ufffd[2J", "\ufffd\ufffd", "a\nb\tc", "C:\\bin")
    assert rest == ["\ufffd"] * 3

"""The boundary for files from elsewhere: whatever is wrong with one ends here, as a `RecordError` with file and line.

Results and traces are JSON lines and may come from strangers. Only regular files are opened (a pipe would be waited
for without end), a line has a greatest length, and what a decoder can stumble over (encoding, depth, numbers out of
range) becomes one message. Control characters inside strings are replaced, so that no later reader has to think of
terminals.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from rtxbench.errors import RecordError

__all__ = ["ForeignLine", "decoded", "decoded_lines", "open_regular"]

_Decoded = TypeVar("_Decoded")

_LITERAL_UNSAFE: Final = re.compile(rb"\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\x7f")
"""C1 controls, bidi controls and line separators in UTF-8. (JSON itself forbids the other controls in strings.)"""
_ESCAPED_UNSAFE: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\(?:[bfr]|u(?:00(?:0[0-8b-fB-F]|1[0-9a-fA-F]|7[fF]|[89][0-9a-fA-F])"
    rb"|061[cC]|200[eEfF]|202[89a-eA-E]|206[6-9]))"
)
"""The same characters as JSON escapes, behind an even number of backslashes."""


class ForeignLine(NamedTuple):
    """One line of a JSON-lines file as it was found."""

    number: int
    raw: bytes

    @property
    def complete(self) -> bool:
        """Return whether a line end follows; the last line of a killed run has none."""
        return self.raw.endswith(b"\n")


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises:
        RecordError: it cannot be read, or is a pipe, a device or a folder.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise RecordError(f"cannot read {path}: {why}.", next_step="Check the path and its permissions.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise RecordError(f"{path} is no regular file.", next_step="Name the file itself, not a pipe or a device.")
    return descriptor


def decoded_lines(
    path: Path, decode: Callable[[bytes], _Decoded], most_bytes: int
) -> Iterator[tuple[ForeignLine, _Decoded | None]]:
    """Yield every line of a file with what it decodes to; ``None`` stands for an unfinished last line.

    Args:
        path: a JSON-lines file.
        decode: turns one line into a value; raises what msgspec raises.
        most_bytes: a longer line is an error.

    Raises:
        RecordError: unreadable, no regular file, or a line (but an unfinished last one) that does not decode.
    """
    yield from _decoded(path, _lines(path, most_bytes), decode)


def decoded(
    path: Path, lines: Iterable[bytes], decode: Callable[[bytes], _Decoded]
) -> Iterator[tuple[ForeignLine, _Decoded | None]]:
    """Yield lines that are held elsewhere than in a file, as `decoded_lines` does; ``path`` stands in messages.

    Raises:
        RecordError: a line does not decode.
    """
    yield from _decoded(path, (ForeignLine(number, raw) for number, raw in enumerate(lines, start=1)), decode)


def _decoded(
    path: Path, lines: Iterable[ForeignLine], decode: Callable[[bytes], _Decoded]
) -> Iterator[tuple[ForeignLine, _Decoded | None]]:
    for line in lines:
        try:
            value = decode(_without_controls(line.raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            if line.complete:
                raise malformed(path, line.number, _reason(error)) from error
            yield line, None
        else:
            yield line, value


def malformed(path: Path, number: int, why: str) -> RecordError:
    """Return the error for one bad line."""
    return RecordError(
        f"{path}, line {number}: {why}.",
        next_step="Restore the file from where it came from, or move it out of the folder to report without it.",
    )


def _lines(path: Path, most_bytes: int) -> Iterator[ForeignLine]:
    with os.fdopen(open_regular(path), "rb") as stream:
        number = 0
        while True:
            try:
                raw = stream.readline(most_bytes)
            except OSError as error:
                raise RecordError(f"cannot read {path}: {error.strerror}.", next_step="Check the disk.") from error
            if not raw:
                return
            number += 1
            if len(raw) == most_bytes and not raw.endswith(b"\n"):
                raise malformed(path, number, f"longer than {most_bytes} bytes")
            yield ForeignLine(number, raw)


def _without_controls(raw: bytes) -> bytes:
    if b"\\" in raw:
        raw = _ESCAPED_UNSAFE.sub(rb"\1\\ufffd", raw)
    return raw if raw.isascii() and b"\x7f" not in raw else _LITERAL_UNSAFE.sub("\ufffd".encode(), raw)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 ({error.reason})"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error).rstrip(".")

"""Make text safe to print and to share: no escape sequence, no hidden direction change, no person's folder."""

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Final

__all__ = ["one_line", "printable", "without_home"]

_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls but for tab and line feed, which are white space
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that reorder what stands around them (bidi controls)
    "\u2028\u2029\ud800-\udfff]"  # separators that some viewers break lines at; halves of characters
)


def printable(text: str) -> str:
    """Return the text on one line, with every control character written out as a visible escape.

    A terminal obeys escape sequences, and a CI runner obeys lines that begin with ``::``: neither may come from a
    file or a program that somebody else wrote.
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), " ".join(text.splitlines()))


def one_line(text: str) -> str:
    """Join a text of several lines, as a TOML block holds it, into one."""
    return " ".join(text.split())


def without_home(command: Iterable[str]) -> tuple[str, ...]:
    """Return a command line that names no person: of every absolute path, the program's too, its last part stays.

    Results are committed and shared; a home folder's path holds a user's name.
    """
    return tuple(_without_folder(word) for word in command)


def _without_folder(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return f"{option}{equals}{PurePath(value).name}" if value.startswith(("/", "~")) else word

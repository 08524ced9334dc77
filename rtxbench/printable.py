"""Make text of unknown origin safe to print: no escape sequence, no hidden direction change, no line of its own."""

import re
from typing import Final

__all__ = ["printable"]

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

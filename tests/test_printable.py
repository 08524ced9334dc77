"""Text of unknown origin cannot steer a terminal or a CI runner."""

import pytest

from rtxbench.errors import RecordError
from rtxbench.printable import printable


@pytest.mark.parametrize(
    "hostile",
    ["\x1b]0;title\x07", "a\rb", "\x9b31m", "x\u202ey", "\u2066z", "a\n::set-output name=x::y", "half \ud800"],
)
def test_no_control_character_survives(hostile: str) -> None:
    """Escapes, direction marks and line ends come out as plain text on one line that any encoding can print."""
    text = printable(hostile)
    assert text.isprintable()
    assert len(text.splitlines()) == 1
    text.encode("utf-8")


def test_ordinary_text_is_untouched() -> None:
    """Accents, symbols and other scripts are no danger."""
    assert printable("1.42× ± 3 %, Zürich, 東京") == "1.42× ± 3 %, Zürich, 東京"


def test_every_error_is_one_printable_line() -> None:
    """An error may quote a stranger's file; what it quotes is made safe where errors are made."""
    assert str(RecordError("bad \x1b[2J\nname", next_step="look\n::error::")).isprintable()

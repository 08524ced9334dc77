"""Addresses stay what they are, and nobody's text takes another's."""

import pytest

from rtxbench.catalog.cards import load_cards
from rtxbench.site.names import address, page_name


def test_a_permalink_is_the_name_in_lower_case() -> None:
    """What somebody linked to last year is there this year: a card's address follows from its name alone."""
    assert address("card", "GeForce RTX 3090") == "cards/geforce-rtx-3090.html"
    assert address("engine", "tensorflow 2.21.0") == "engines/tensorflow-2.21.0.html"


def test_no_two_cards_share_an_address() -> None:
    """Every card of the catalogue has a page of its own."""
    names = list(load_cards())
    assert len({page_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "text",
    ["../../etc/passwd", "a/b", "RTX  3090", "rtx_3090", "", "..", "x" * 500, '"><script>'],
)
def test_a_stranger_s_text_cannot_choose_an_address(text: str) -> None:
    """A text that is no plain name gets a digest behind an underscore, which no plain name holds; no folder."""
    name = page_name(text)
    assert name.count("_") == 1
    assert len(name) <= 80
    assert name.replace("_", "").replace("-", "").isalnum()
    assert page_name(name) != name

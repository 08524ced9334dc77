"""Names of pages: addresses that stay the same, and that no stranger's text can choose.

A card of the catalogue, a workload of the suite and a machine's slug keep their own name. Any other text gets a digest
behind an underscore, which no name of the first kind holds, so that it can take nobody else's address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from rtxbench.report.parts import Cell

__all__ = ["KINDS", "Kind", "address", "link", "page_name"]


class Kind(NamedTuple):
    """One kind of page."""

    folder: str
    words: str
    """For one of them, as search shows it."""
    several: str


KINDS: Final[Mapping[str, Kind]] = {
    "card": Kind("cards", "card", "Cards"),
    "processor": Kind("processors", "processor", "Processors"),
    "workload": Kind("workloads", "workload", "Workloads"),
    "engine": Kind("engines", "engine version", "Engine versions"),
    "machine": Kind("machines", "machine", "Machines"),
}
"""Kind → its folder and words, in the order of search results."""

_PLAIN: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_LONGEST: Final = 60


def page_name(text: str) -> str:
    """Make the file stem of a page: the words in lower case, or those with a digest where that would change them.

    ``GeForce RTX 3090`` → ``geforce-rtx-3090``; ``a/b`` → ``a-b_c14cddc033f6``.
    """
    lower = text.lower().replace(" ", "-")
    if _PLAIN.fullmatch(lower) and len(lower) <= _LONGEST and " ".join(text.split()) == text:
        return lower
    words = re.sub(r"[^a-z0-9]+", "-", lower).strip("-")[:_LONGEST].strip("-")
    return f"{words}_{sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def address(kind: str, text: str) -> str:
    """Return a page's address from the site's first page."""
    return f"{KINDS[kind].folder}/{page_name(text)}.html"


def link(kind: str, text: str, words: str, note: str = "", *, up: str = "../") -> Cell:
    """Make a table's cell that leads to a page; ``up`` is empty on the site's first level."""
    return Cell(words, note=note, page=up + address(kind, text))

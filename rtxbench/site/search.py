"""The search index: every page by kind, title and name, small enough to be part of the first page.

A page that is opened from a folder may load nothing beside it, so that the index is in the page itself. Titles are
written once: a thousand machines of one card share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import msgspec

from rtxbench.site.names import KINDS
from rtxbench.site.page import Page

__all__ = ["MOST_BYTES", "Index", "index_of"]

MOST_BYTES: Final = 200_000
"""Of the index: beyond it the machines with fewest records are left out, and the page says so."""


class Index(NamedTuple):
    """The index as JSON, and how many pages found no room in it."""

    data: bytes
    left_out: int


def index_of(pages: Sequence[Page]) -> Index:
    """Make the index of all pages of a kind; those with most records first, as far as there is room."""
    kinds = list(KINDS)
    named = sorted((page for page in pages if page.kind), key=lambda page: (kinds.index(page.kind), -page.weight))
    titles: dict[str, int] = {}
    entries: list[tuple[int, int, str]] = []
    size = 0
    for page in named:
        name = PurePosixPath(page.path).stem
        size += len(name) + 16 + (0 if page.title in titles else len(msgspec.json.encode(page.title)) + 1)
        if size > MOST_BYTES:
            break
        entries.append((kinds.index(page.kind), titles.setdefault(page.title, len(titles)), name))
    document = {
        "folders": [kind.folder for kind in KINDS.values()],
        "kinds": [kind.words for kind in KINDS.values()],
        "titles": list(titles),
        "pages": entries,
    }
    return Index(msgspec.json.encode(document), len(named) - len(entries))

"""Write the site: a page only when what it is made of has changed, whole or not at all; remove pages of what is gone.

``site.json`` beside the pages holds, of each, the digest of its data and of the page as it was written. A page whose
data is the same and whose file is as it was written is kept. The digest of the data covers the program that makes
pages, so that a newer one writes all of them anew.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rtxbench import __version__
from rtxbench.errors import UsageError
from rtxbench.report.drawing.pool import Drawing
from rtxbench.report.parts import View
from rtxbench.report.render.bounds import bounded
from rtxbench.report.render.html import Frame, render_page, search_of
from rtxbench.report.render.output import write_whole, writing
from rtxbench.results.query import database_errors, opened
from rtxbench.site.page import Page
from rtxbench.site.plan import plan_site

__all__ = ["Built", "build_site"]

_MANIFEST: Final = "site.json"
_OWN_PAGE: Final = re.compile(r"(?:[a-z]+/)?[a-z0-9_.-]+\.html")
"""Names of pages; what else a manifest may name was not written by a build."""
_CODE: Final = ("site", "report", "report/render", "report/templates", "report/drawing", "report/sections/cards")
"""Folders of the program whose files make a page."""


class Built(NamedTuple):
    """Outcome of one build."""

    written: int
    kept: int
    """Pages whose data and file are as they were."""
    removed: int
    """Pages of what the results no longer hold."""
    largest_bytes: int
    """Of one page."""
    total_bytes: int
    """Of all pages."""


class _Entry(NamedTuple):
    data: str
    page: str
    size: int


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pages of the last build: address → its digests."""

    pages: dict[str, _Entry]


def build_site(tables: Path, out: Path, progress: Callable[[int, int], None] = lambda done, count: None) -> Built:
    """Write every page that is new or has changed, and remove those that are no longer wanted.

    Args:
        tables: written by `rtxbench.results.tables.export`.
        out: folder of the site, new or of an earlier build.
        progress: called with pages done and all pages.

    Raises:
        UsageError: duckdb is missing, or ``out`` holds other things or cannot be written.
        RecordError: the tables are damaged.
    """
    known = _known(out)
    done: dict[str, _Entry] = {}
    written = 0
    with opened([tables]) as connection, database_errors(tables):
        site = plan_site(connection, tables)
        for number, page in enumerate(itertools.chain([site.home], site.pages), start=1):
            search = site.searchable.data if page is site.home else None
            entry = _Entry(_digest(msgspec.json.encode((page.path, page.data))), "", 0)
            before = known.get(page.path)
            if before is not None and before.data == entry.data and _is_as_written(out / page.path, before):
                done[page.path] = before
            else:
                html = _rendered(page, search).encode()
                with writing(out):
                    (out / page.path).parent.mkdir(parents=True, exist_ok=True)
                    write_whole(out / page.path, html)
                done[page.path] = entry._replace(page=sha256(html).hexdigest(), size=len(html))
                written += 1
            progress(number, site.page_count + 1)
    removed = _remove(out, known.keys() - done.keys())
    with writing(out):
        document = msgspec.json.format(msgspec.json.encode(_Manifest(done), order="sorted"), indent=1)
        write_whole(out / _MANIFEST, document)
    sizes = [entry.size for entry in done.values()]
    return Built(written, len(done) - written, removed, max(sizes), sum(sizes))


def _rendered(page: Page, search: bytes | None) -> str:
    body = page.make()
    up = "../" if "/" in page.path else ""
    sections = tuple(bounded(section) for section in body.sections)
    drawing = Drawing()
    for section in sections:
        drawing.begin(section.figures)
    frame = Frame(
        title=body.title,
        facts=body.facts,
        home=f"{up}index.html",
        links=(
            (f"{up}index.html", "Search"),
            (f"{up}spread.html", "Spread"),
            (f"{up}history.html", "History"),
        ),
        made_from="Made from what machines sent; nothing of it is a verdict",
        versions=(__version__,),
    )
    svgs = {name: drawn.svg for name, drawn in drawing.finish().items()}
    view = View(id="page", title=body.title, sections=sections)
    return render_page(frame, (view,), svgs, None if search is None else search_of(search))


def _known(out: Path) -> dict[str, _Entry]:
    """Read the last build's manifest; empty for a new folder."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    path = out / _MANIFEST
    if not path.exists():
        if any(out.iterdir()):
            raise UsageError(f"{out} holds other things.", next_step="Name a new folder with --out.")
        return {}
    try:
        pages = msgspec.json.decode(path.read_bytes(), type=_Manifest).pages
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not what a build writes.", next_step="Remove the folder and build the site anew."
        ) from error
    return {name: entry for name, entry in pages.items() if _OWN_PAGE.fullmatch(name)}


def _is_as_written(path: Path, entry: _Entry) -> bool:
    try:
        return sha256(path.read_bytes()).hexdigest() == entry.page
    except OSError:
        return False


def _remove(out: Path, names: set[str]) -> int:
    with writing(out):
        for name in names:
            (out / name).unlink(missing_ok=True)
    return len(names)


def _digest(data: bytes) -> str:
    return sha256(_program() + data).hexdigest()


@cache
def _program() -> bytes:
    """Return a digest of what turns data into a page: this package's code and templates."""
    found = sha256(__version__.encode())
    for folder in _CODE:
        files = (resources.files("rtxbench") / folder).iterdir()
        for file in sorted(files, key=lambda file: file.name):
            if file.name.endswith((".py", ".j2", ".css", ".js")):
                found.update(file.read_bytes())
    return found.digest()

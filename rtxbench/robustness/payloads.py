"""Put code into every free text of a results file, write the report, and open it in a real browser.

Each payload asks a server of ours for something if it is obeyed: by a script, an event handler, a redirect, a form, a
style. Whatever reaches the server was executed. A page without any protection is opened beside the others: where the
server does not hear of that one, the browser proved nothing.
"""

import json
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec

from rtxbench.errors import MeasurementError, RecordError, UnavailableError
from rtxbench.results.store import load_run
from rtxbench.robustness.mutants import places, sample_lines

__all__ = ["PAYLOADS", "Opened", "find_browser", "free_places", "open_poisoned", "poisoned"]

_BROWSERS: Final = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
_BATCH: Final = 10
_SHARE: Final = 0.25
"""Of the free texts of a file that hold a payload."""
_CONTROL: Final = "control"
_LIMIT_S: Final = 300.0

PAYLOADS: Final = (
    '"><script>fetch("URL")</script>',
    "</script><script src=URL></script>",
    "<img src=x onerror=\"fetch('URL')\">",
    "<img src=URL>",
    "<svg onload=\"fetch('URL')\"><image href=URL /></svg>",
    '"><meta http-equiv=refresh content="0;url=URL"><b y="',
    "x\"><meta http-equiv=refresh content='0;url=URL'>",
    "<iframe src=URL></iframe>",
    '<base href=URL><form action=URL><input autofocus onfocus="this.form.submit()"></form>',
    "</style><style>@import 'URL'; body{background:url(URL)}</style>",
    "<link rel=stylesheet href=URL><link rel=prefetch href=URL>",
    "</title><body onload=\"location='URL'\">",
    "--><script>location='URL'</script><!--",
    "]]><script>location='URL'</script>",
    '" onmouseover="location=\'URL\'" autofocus onfocus="location=\'URL\'" x="',
    "javascript:location='URL'",
    "![x](URL) [x](javascript:location='URL') <URL>",
    "{{ ''.__class__ }}{% include 'URL' %}",
    "<object data=URL></object><embed src=URL><video src=URL autoplay></video>",
    "<details open ontoggle=\"fetch('URL')\">",
)
"""Texts that a stranger may write; ``URL`` becomes the address that tells of it."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Fate of the poisoned files; ``rtxbench selftest payloads --json`` prints it."""

    files: int
    refused: int
    """Files that were refused, of which there is no page."""
    pages: int
    """Pages that a browser opened."""
    payloads: int
    """Payloads in the files of these pages."""
    executed: tuple[str, ...]
    """Addresses that the server was asked for: number of the file / its line / the place in it."""


def find_browser(named: str = "") -> str:
    """Return the path of a Chromium.

    Raises:
        UnavailableError: there is none.
    """
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise UnavailableError("no Chromium here.", next_step="Install one (Debian: apt-get install chromium).")
    return found


def free_places(lines: Sequence[bytes]) -> list[tuple[int, int]]:
    """List the texts that may hold anything: (line, place in it) of each that loads with a harmless word instead."""
    found = []
    with tempfile.TemporaryDirectory(prefix="rtxbench-payloads-") as folder:
        path = Path(folder) / "file.jsonl"
        for number, line in enumerate(lines):
            for place in range(len(_texts(json.loads(line)))):
                path.write_bytes(b"".join([*lines[:number], _put(line, {place: "word"}), *lines[number + 1 :]]))
                try:
                    load_run(path)
                except RecordError:
                    continue
                found.append((number, place))
    return found


def poisoned(lines: Sequence[bytes], free: Sequence[tuple[int, int]], number: int, address: str) -> tuple[bytes, int]:
    """Return the ``number``-th poisoned file, and the number of its payloads.

    Args:
        lines: of the healthy file.
        free: places that may hold anything (`free_places`).
        number: the same number poisons the same places by the same payloads.
        address: of the server that hears of it.
    """
    draw = random.Random(number)
    texts: dict[int, dict[int, str]] = {}
    for line, place in free:
        if draw.random() < _SHARE:
            kind = draw.randrange(len(PAYLOADS))
            texts.setdefault(line, {})[place] = PAYLOADS[kind].replace("URL", f"{address}/{number}/{line}/{place}")
    data = [_put(line, texts[at]) if at in texts else line for at, line in enumerate(lines)]
    return b"".join(data), sum(map(len, texts.values()))


def open_poisoned(
    numbers: Sequence[int],
    write_page: Callable[[Path, Path], Path],
    browser: str,
    progress: Callable[[int], None] = lambda done: None,
) -> Opened:
    """Write a report of each poisoned file and open all of them.

    Args:
        numbers: of the files.
        write_page: (folder of results, folder to write to) → the page.
        browser: path of a Chromium.
        progress: called with the count of files after each batch.

    Raises:
        MeasurementError: the unprotected page beside the others did not reach the server, so nothing was proven.
    """
    lines, refused, pages, payloads = sample_lines(), 0, 0, 0
    free = free_places(lines)
    with _listening() as (address, asked):
        for start in range(0, len(numbers), _BATCH):
            with tempfile.TemporaryDirectory(prefix="rtxbench-payloads-") as name:
                written = []
                for number in numbers[start : start + _BATCH]:
                    data, count = poisoned(lines, free, number, address)
                    results, out = Path(name) / f"{number}" / "results", Path(name) / f"{number}" / "report"
                    results.mkdir(parents=True)
                    (results / "file.jsonl").write_bytes(data)
                    try:
                        written.append(write_page(results, out))
                        payloads += count
                    except RecordError:
                        refused += 1
                _open(browser, Path(name), written, address)
                pages += len(written)
            progress(start + _BATCH)
            if f"/{_CONTROL}" not in asked:
                raise MeasurementError(
                    "the browser did not even open the page without protection.",
                    next_step="Check that it runs here: `chromium --headless --dump-dom about:blank`.",
                )
            asked.discard(f"/{_CONTROL}")
    return Opened(files=len(numbers), refused=refused, pages=pages, payloads=payloads, executed=tuple(sorted(asked)))


def _texts(document: Any) -> list[tuple[Any, Any]]:
    return [(holder, key) for holder, key in places(document) if isinstance(holder[key], str)]


def _put(line: bytes, texts: dict[int, str]) -> bytes:
    document = json.loads(line)
    found = _texts(document)
    for place, text in texts.items():
        holder, key = found[place]
        holder[key] = text
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _open(browser: str, folder: Path, pages: Sequence[Path], address: str) -> None:
    control = folder / "control.html"
    control.write_text(f"<meta http-equiv=refresh content='0;url={address}/{_CONTROL}'>", encoding="utf-8")
    frames = "".join(f'<iframe src="{page.as_uri()}" width=1200 height=900></iframe>' for page in (*pages, control))
    index = folder / "index.html"
    index.write_text(f"<!doctype html><title>pages</title>{frames}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]
    options += ["--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"]
    options += ["--dump-dom", "--virtual-time-budget=5000", f"--user-data-dir={folder / 'profile'}"]
    subprocess.run([browser, *options, index.as_uri()], capture_output=True, timeout=_LIMIT_S, check=False)


@contextmanager
def _listening() -> Iterator[tuple[str, set[str]]]:
    """Serve on a free port; yield its address and the paths that it is asked for."""
    asked: set[str] = set()

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Note the path and answer nothing."""
            asked.add(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 (the name is the library's)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()

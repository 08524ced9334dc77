"""The site in a real browser, opened from its folder: search finds, pages fit, and nothing of a stranger's runs."""

import html
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from rtxbench.robustness.payloads import open_poisoned
from tools.page_check import find_browser, probe

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

from rtxbench.site.names import address
from tests.site.fleets import built, write_fleet

CHROMIUM = find_browser()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    built(write_fleet(folder / "results"), folder / "site")
    return folder / "site"


def shown(address: str) -> str:
    """The page as the browser has it after its script ran."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder}",
        ]
        command = [CHROMIUM, *options, "--virtual-time-budget=5000", "--dump-dom", address]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def test_search_finds_the_card_first(site: Path) -> None:
    """A link with a question opens the first page with the answer: the card, then cards like named, machines last."""
    dom = shown(f"{(site / 'index.html').as_uri()}#q=rtx+3090")
    (found,) = re.findall(r'<ol id="found"[^>]*>(.*?)</ol>', dom, re.DOTALL)
    links = re.findall(r'<a href="([^"]+)">([^<]*)</a><small>([^<]*)</small>', found)
    assert links[0] == (address("card", "GeForce RTX 3090"), "GeForce RTX 3090", "card")
    assert any(link == address("machine", "made-up-00000") for link, _, _ in links[1:])
    assert all((site / html.unescape(link)).is_file() for link, _, _ in links)


@pytest.mark.parametrize("width", [360, 1400])
def test_no_page_is_wider_than_the_window(site: Path, width: int) -> None:
    """One page of each kind fits a phone and a desk."""
    assert CHROMIUM is not None
    for name in (address("card", "GeForce RTX 3090"), address("machine", "made-up-00001"), "spread.html"):
        found = probe(CHROMIUM, site / name, width)
        assert {view: facts["first"] for view, facts in found.items() if facts["overflowing"]} == {}, name


def test_what_a_stranger_wrote_does_not_run(tmp_path: Path) -> None:
    """Every page that holds a payload is opened; no address of a payload is asked for, the control's is."""

    def write_pages(results: Path, out: Path) -> Path:
        built(results, out)
        pages = [path for path in sorted(out.rglob("*.html")) if "http://127.0.0.1" in path.read_text(encoding="utf-8")]
        frames = "".join(f'<iframe src="{path.as_uri()}"></iframe>' for path in pages)
        (out / "all.html").write_text(f"<!doctype html><title>all</title>{frames}", encoding="utf-8")
        assert pages
        return out / "all.html"

    assert CHROMIUM is not None
    opened = open_poisoned(range(2), write_pages, CHROMIUM)
    assert opened.payloads > 0
    assert opened.executed == ()

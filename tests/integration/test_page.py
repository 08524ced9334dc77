"""The page in a real browser: nothing overflows at any width, and the answer fits two screens."""

from pathlib import Path

import pytest

from rtxbench.report.render.output import write_report
from tests.synthetic import BIG_GPU, CPU_ONLY, LAPTOP, write_results
from tests.synthetic_report import context_of
from tools.page_check import AXE, WIDTHS, accessibility, find_browser, probe
from tools.site import without_foreign_links

CHROMIUM = find_browser()
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_results(tmp_path_factory.mktemp("results"), (BIG_GPU, LAPTOP, CPU_ONLY), traces=False)
    return write_report(context_of(folder), tmp_path_factory.mktemp("report")).files[0]


@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_no_block_is_wider_than_the_window(page: Path, width: int) -> None:
    """On a phone, a tablet and a desk every view fits its width, with three machines on the page."""
    assert CHROMIUM is not None
    found = probe(CHROMIUM, page, width)
    assert {view: facts["first"] for view, facts in found.items() if facts["overflowing"]} == {}
    assert width < 800 or found["answers"]["screens"] <= 2


@needs_browser
def test_the_probe_sees_a_block_that_is_too_wide(page: Path, tmp_path: Path) -> None:
    """The check above can fail: a long unbreakable line is found out."""
    assert CHROMIUM is not None
    wide = tmp_path / "wide.html"
    text = page.read_text(encoding="utf-8")
    line = f'id="first"><pre style="white-space:pre;width:5000px">{"x" * 900}</pre>'
    wide.write_text(text.replace('id="first">', line, 1), encoding="utf-8")
    assert probe(CHROMIUM, wide, 360)["answers"]["overflowing"] > 0


@needs_browser
@pytest.mark.skipif(not AXE.exists(), reason="no axe-core here (npm install --prefix build/axe axe-core@4)")
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(page: Path, dark: bool) -> None:
    """Contrast, names and roles pass the accessibility checker in both colour schemes."""
    assert CHROMIUM is not None
    assert accessibility(CHROMIUM, page, AXE, dark=dark) == []


def test_links_to_files_the_site_does_not_hold_become_text(tmp_path: Path) -> None:
    """A page may link to source code of the repository; the site keeps the words."""
    (tmp_path / "a.md").write_text("x", encoding="utf-8")
    text = "[a](a.md#x), [code](../rtxbench/x.py), [web](https://example.org)"
    kept = without_foreign_links(text, Path("b.md"), tmp_path)
    assert kept == "[a](a.md#x), code, [web](https://example.org)"

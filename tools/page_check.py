"""Open a report in headless Chromium: overflowing blocks, screens and words per view, contrast, screenshots.

    python -m tools.page_check report/report.html --out shots/
    python -m tools.page_check report/report.html --pictures docs/images   (of `report results/MACHINE`)

The page forbids scripts, so a copy without its policy is opened, with a probe in it. Widths below 500 px are set by an
inline frame, because Chromium's window is not made narrower.
"""

import argparse
import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

__all__ = ["AXE", "WIDTHS", "accessibility", "find_browser", "main", "pages_in_print", "probe", "screenshot"]

WIDTHS: Final = (360, 800, 1400)
_SCREEN_PX: Final = 900
_BROWSERS: Final = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
_TIMEOUT_S: Final = 120
AXE: Final = Path("build/axe/node_modules/axe-core/axe.min.js")
"""Where `npm install --prefix build/axe axe-core@4` puts the accessibility checker (Deque; MPL-2.0)."""

_PROBE: Final = """
<script>
addEventListener("load", () => {
  const views = [...document.querySelectorAll(".view")];
  const shown = views.length ? views : [document.body];
  const found = {};
  for (const view of shown) {
    if (view.id) location.hash = view.id;
    const over = [...view.querySelectorAll("*")].filter(e => {
      const box = e.getBoundingClientRect();
      if (!box.width || !box.height || e.closest("svg") !== null && e.tagName !== "svg") return false;
      return box.right > document.documentElement.clientWidth + 1 || (e.scrollWidth > e.clientWidth + 1
        && getComputedStyle(e).overflowX !== "visible" && !e.matches(".visually-hidden"));
    });
    const outer = over.filter(e => !over.some(o => o !== e && o.contains(e)));
    found[view.id || "page"] = {
      screens: +(view.getBoundingClientRect().height / %d).toFixed(1),
      words: (view.innerText.match(/\\S+/g) || []).length,
      overflowing: outer.length,
      first: outer.slice(0, 5).map(e => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 60)),
    };
  }
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "probe"; out.textContent = JSON.stringify(found);
  document.body.append(out);
  if (parent !== window) parent.postMessage(out.textContent, "*");
});
</script>
"""


_PICTURES: Final = {
    "answers": (r'id="(answers)"', 1080),
    "verdict": (r'id="(verdict-cpu-matrix-unit-[a-z0-9-]+)"', 760),
}
"""Picture of the README → (its anchor on the page, its height in pixels)."""


def find_browser() -> str | None:
    """Find a Chromium that can open local files: a snap may not read them, and Ubuntu's stub may be all there is."""
    for path in filter(None, map(shutil.which, _BROWSERS)):
        if "snap" not in Path(path).resolve().as_posix() and b"/snap/" not in Path(path).read_bytes()[:4096]:
            return path
    return None


def probe(browser: str, page: Path, width_px: int) -> dict[str, Any]:
    """Measure every view of a page: view → screens, words, and the blocks wider than the window."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        inner = _without_policy(page.read_text(encoding="utf-8")).replace("</body>", _PROBE % _SCREEN_PX + "</body>")
        outer = (
            "<script>addEventListener('message', e => { const s = document.createElement('pre'); s.id = 'probe';"
            " s.textContent = e.data; document.body.append(s); });</script>"
            f'<iframe style="border:0" width="{width_px}" height="{_SCREEN_PX}" srcdoc="{html.escape(inner)}"></iframe>'
        )
        wrapper = Path(folder) / "wrapper.html"
        wrapper.write_text(f"<!DOCTYPE html><body style='margin:0'>{outer}", encoding="utf-8")
        dom = _run(browser, folder, "--virtual-time-budget=8000", "--dump-dom", wrapper.as_uri())
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    if found is None:
        raise RuntimeError("the page did not answer the probe")
    return dict(json.loads(html.unescape(found.group(1))))


def accessibility(browser: str, page: Path, axe: Path, *, dark: bool = False) -> list[str]:
    """List axe-core's serious and critical findings over all views, contrast included, each with its first place."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shutil.copy(axe, Path(folder) / "axe.js")
        run = (
            "<style>.view { display: block !important } .card > *, details > * { display: block }</style>"
            "<script src='axe.js'></script><script>addEventListener('load', async () => {"
            " const r = await axe.run(document, {resultTypes: ['violations']});"
            " const s = document.createElement('pre'); s.id = 'probe';"
            " s.textContent = JSON.stringify(r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => v.id + ': ' + v.help + ' (' + v.nodes.length + '): ' + v.nodes[0].html.slice(0, 200)));"
            " document.body.append(s); });</script></body>"
        )
        text = _without_policy(page.read_text(encoding="utf-8")).replace("</body>", run)
        copy = Path(folder) / "page.html"
        copy.write_text(_darkened(text) if dark else text, encoding="utf-8")
        dom = _run(browser, folder, "--virtual-time-budget=60000", "--dump-dom", copy.as_uri())
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    if found is None:
        raise RuntimeError("axe-core did not answer")
    return list(json.loads(html.unescape(found.group(1))))


def _darkened(page: str) -> str:
    return page.replace("(prefers-color-scheme: dark)", "screen").replace("light dark", "dark")


def screenshot(
    browser: str, page: Path, view: str, width_px: int, out: Path, *, dark: bool = False, height_px: int = _SCREEN_PX
) -> None:
    """Save what a reader sees first of one view, or at one anchor, at a width, as PNG."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        text = page.read_text(encoding="utf-8")
        text = _darkened(text) if dark else text
        copy = Path(folder) / "page.html"
        copy.write_text(text, encoding="utf-8")
        wrapper = Path(folder) / "wrapper.html"
        frame = f'<iframe style="border:0" width="{width_px}" height="{height_px}" src="page.html#{view}"></iframe>'
        wrapper.write_text(f"<!DOCTYPE html><body style='margin:0'>{frame}", encoding="utf-8")
        size = f"--window-size={max(width_px, 500)},{height_px}"
        _run(browser, folder, size, "--hide-scrollbars", f"--screenshot={out.resolve()}", wrapper.as_uri())


def pages_in_print(browser: str, page: Path) -> int:
    """Count the pages of the printed report."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pdf = Path(folder) / "page.pdf"
        _run(browser, folder, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.resolve().as_uri())
        return len(re.findall(rb"/Type\s*/Page[^s]", pdf.read_bytes()))


def _without_policy(page: str) -> str:
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)


def _run(browser: str, folder: str, *options: str) -> str:
    common = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    quiet = ("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files")
    command = [browser, *common, *quiet, f"--user-data-dir={folder}/profile", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{browser} failed: {done.stderr[-500:]}")
    return done.stdout


def main() -> None:
    """Print one line per view and width, save screenshots, and fail on an overflow or a serious finding if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, help="folder for screenshots")
    parser.add_argument("--pictures", type=Path, help="only save the README's pictures into this folder")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a block overflows or axe-core objects")
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        raise SystemExit("no Chromium here; Debian: apt-get install chromium")
    if options.pictures is not None:
        for name, (pattern, height_px) in _PICTURES.items():
            anchor = next(iter(re.findall(pattern, options.page.read_text(encoding="utf-8"))), "")
            screenshot(browser, options.page, anchor, 1000, options.pictures / f"{name}.png", height_px=height_px)
        return
    faults = _sizes(browser, options.page, options.out)
    print(f"{pages_in_print(browser, options.page)} pages in print")
    if AXE.exists():
        for mode in ("light", "dark"):
            found = accessibility(browser, options.page, AXE, dark=mode == "dark")
            faults += len(found)
            print(f"{mode}: {len(found)} serious findings by axe-core", *found, sep="\n  ")
    if options.strict and faults:
        raise SystemExit(1)


def _sizes(browser: str, page: Path, out: Path | None) -> int:
    """Print what each view measures at each width, save screenshots; how many blocks overflow."""
    faults = 0
    for width in WIDTHS:
        for view, found in probe(browser, page, width).items():
            faults += found["overflowing"]
            size = f"{found['screens']:6} screens {found['words']:6} words {found['overflowing']:3} overflowing"
            print(f"{width:5} px  {view:9} {size} {found['first'] or ''}")
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                screenshot(browser, page, view, width, out / f"{view}-{width}.png")
    return faults


if __name__ == "__main__":
    main()

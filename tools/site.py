"""Lay out the documentation for the site: pages as in the repository, a sample report, and links that stay inside.

    python -m tools.site            # writes build/docs; then: mkdocs build

Pages link to source files of the repository, which the site does not hold: such a link becomes plain text.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["main", "without_foreign_links"]

_OUT: Final = Path("build/docs")
_PAGES: Final = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE")
_LINK: Final = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def without_foreign_links(text: str, page: Path, root: Path) -> str:
    """Keep links to pages of the site, and turn those to other files of the repository into their text."""

    def kept(link: re.Match[str]) -> str:
        target = (root / page.parent / link.group(2)).resolve()
        inside = target.suffix in (".md", ".html", ".png") and target.exists()
        return link.group(0) if inside else link.group(1)

    return _LINK.sub(kept, text)


def main() -> None:
    """Write ``build/docs`` from the working tree, with a sample report made from ``results/``."""
    shutil.rmtree(_OUT, ignore_errors=True)
    shutil.copytree("docs", _OUT / "docs")
    for name in _PAGES:
        shutil.copy(name, _OUT / name)
    shutil.copy("README.md", _OUT / "index.md")
    command = [sys.executable, "-m", "rtxbench.report", "results", "--out", str(_OUT / "sample")]
    subprocess.run(command, check=True)
    for path in _OUT.rglob("*.md"):
        if "sample" in path.parts:
            path.unlink()
            continue
        text = (
            path.read_text(encoding="utf-8")
            .replace("](README.md", "](index.md")
            .replace("](../README.md", "](../index.md")
        )
        path.write_text(without_foreign_links(text, path.relative_to(_OUT), _OUT), encoding="utf-8")
    home = _OUT / "index.md"
    sample = "\n\n**[A sample report](sample/report.html)**, made from the results in the repository.\n"
    text = home.read_text(encoding="utf-8")
    home.write_text(
        text.replace("\n## What to type for what", f"{sample}\n## What to type for what", 1), encoding="utf-8"
    )


if __name__ == "__main__":
    main()

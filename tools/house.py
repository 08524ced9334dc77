"""Measure the house: the cost of each recipe, the size of rooms, files and functions, the import contracts.

`python -m tools.house` prints the table; ``--run`` also carries every recipe out and counts the commands that end red
(half an hour on two cores); ``--since COMMIT`` counts the package's lines added and removed since then.
"""

import argparse
import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.recipes import MOST, carried_out, is_red, recipes

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "rtxbench"


def recipe_rows(*, run: bool) -> Iterator[str]:
    """Give files and lines of each recipe with the most allowed, and the commands that ended red where they ran."""
    yield "| recipe | files | lines | red commands |"
    yield "|---|---|---|---|"
    for name, recipe in recipes().items():
        red = f"not run ({len(recipe.commands)})"
        if run:
            with tempfile.TemporaryDirectory() as folder:
                done = carried_out(recipe, Path(folder))
            red = f"{sum(map(is_red, done))} of {len(done)}"
        files, lines = MOST[name]
        yield f"| {name} | {recipe.files} (at most {files}) | {recipe.lines} (at most {lines}) | {red} |"


def room_rows() -> Iterator[str]:
    """Say how many modules and lines each room has, rooms inside it apart."""
    yield "| room | modules | lines |"
    yield "|---|---|---|"
    for room in sorted(path.parent for path in PACKAGE.rglob("__init__.py")):
        modules = [path for path in room.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
        yield f"| {room.relative_to(ROOT)} | {len(modules)} | {sum(map(_lines, room.glob('*.py')))} |"


def longest() -> Iterator[str]:
    """Name the longest function and the longest file."""
    files = list(PACKAGE.rglob("*.py"))
    spans = [
        ((node.end_lineno or 0) - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.name}")
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    length, name = max(spans)
    yield f"longest function: {name}, {length} lines (of {len(spans)}; median {sorted(spans)[len(spans) // 2][0]})"
    path = max(files, key=_lines)
    total = sum(map(_lines, files))
    yield f"longest file: {path.relative_to(ROOT)}, {_lines(path)} lines (of {len(files)}; {total} in all)"


def contracts() -> Iterator[str]:
    """Say which import contracts hold, the one on circles among them."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], check=False, cwd=ROOT, capture_output=True, text=True
    )
    yield from (line for line in done.stdout.splitlines() if " KEPT" in line or " BROKEN" in line or "kept," in line)


def since(commit: str) -> Iterator[str]:
    """Count the package's lines added and removed since a commit."""
    line = ["git", "diff", "--shortstat", commit, "--", "rtxbench"]
    yield subprocess.run(line, check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="carry the recipes out")
    parser.add_argument("--since", metavar="COMMIT", help="count lines added and removed since this commit")
    asked = parser.parse_args()
    for part in (
        recipe_rows(run=asked.run),
        room_rows(),
        longest(),
        contracts(),
        since(asked.since) if asked.since else (),
    ):
        for line in part:
            print(line, flush=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())

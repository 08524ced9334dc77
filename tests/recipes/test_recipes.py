"""The recipes of CONTRIBUTING.md, each carried out as written on a copy of the tree: its changes, then its commands."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.waiting import HANG_S

ROOT = Path(__file__).parents[2]
FOLDERS = ("rtxbench", "tests", "bench", "docs", "tools", "results")
FILES = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tox.ini")
MOST = {
    "workload": (1, 10),
    "precision": (1, 14),
    "placement": (1, 8),
    "strategy": (2, 2),
    "claim": (1, 20),
    "card": (1, 1),
    "column": (1, 1),
    "metric": (1, 3),
    "report section": (2, 12),
    "engine": (2, 12),
    "doctor check": (1, 3),
}
"""Files and lines (those that are not empty) that a recipe may need."""
ALWAYS = {"claim", "workload", "precision"}
"""Run with every test run; the others by `tox -e recipes`."""


class Change(NamedTuple):
    """Lines of a recipe, the file they go into and the place in it: in or before a table, among imports, at the end."""

    place: str
    table: str
    file: str
    lines: str

    def make(self, tree: Path) -> None:
        """Write the lines to their place in a copy of the tree."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        at = self._offset(text)
        before = text[:at].rstrip(" ")
        if self.place == "In" and before.rstrip()[-1] not in ",([{":
            before = before.rstrip() + ","
        if before and not before.endswith("\n"):
            before += "\n"
        written = self.lines.rstrip() + (",\n" if self.place == "In" else "\n")
        path.write_text(before + written + ("\n\n" if self.place == "Before" else "") + text[at:], encoding="utf-8")

    def _offset(self, text: str) -> int:
        if self.place in ("New file", "At the end"):
            assert bool(text) == (self.place == "At the end"), self.file
            return len(text)
        lines = text.splitlines(keepends=True)
        body = ast.parse(text).body
        if self.place == "Among the imports":
            last = max(node.end_lineno or 0 for node in body if isinstance(node, ast.Import | ast.ImportFrom))
            return len("".join(lines[:last]))
        (table,) = (
            node for node in body if isinstance(node, ast.Assign | ast.AnnAssign) and self.table in _names(node)
        )
        if self.place == "Before":
            return len("".join(lines[: table.lineno - 1]))
        assert table.value is not None
        literals = [node for node in ast.walk(table.value) if isinstance(node, ast.Tuple | ast.List | ast.Dict)]
        rows = next(node for node in literals if not (isinstance(node, ast.Dict) and None in node.keys))
        line = (rows.end_lineno or 0) - 1
        return len("".join(lines[:line])) + len(lines[line].encode()[: (rows.end_col_offset or 0) - 1].decode())


class Recipe(NamedTuple):
    """What a contributor writes and runs."""

    changes: tuple[Change, ...]
    commands: tuple[str, ...]


_BLOCK = re.compile(
    r"(?:(?P<place>In|Before|Among the imports|At the end|New file) (?:`(?P<table>[A-Z_]+)` )?(?:of )?`(?P<file>[^`]+)`"
    r":\n\n)?```(?P<kind>python|toml|csv|console)\n(?P<lines>.*?)```",
    re.DOTALL,
)


def recipes() -> dict[str, Recipe]:
    """Read the page: each ``### Add a …`` with its blocks."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {}
    for name, text in re.findall(r"### Add an? ([\w ]+)\n(.*?)(?=\n##)", page, re.DOTALL):
        blocks = list(_BLOCK.finditer(text))
        written = tuple(
            Change(b["place"], b["table"] or "", b["file"], b["lines"]) for b in blocks if b["kind"] != "console"
        )
        commands = [
            line.removeprefix("$ ") for b in blocks if b["kind"] == "console" for line in b["lines"].splitlines()
        ]
        found[name] = Recipe(written, tuple(commands))
    return found


RECIPES = recipes()


def run(folder: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the page with this Python and the copied tree."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    words = shlex.split(command)
    variables = dict(word.split("=", 1) for word in words if re.fullmatch(r"[A-Z_]+=\S*", word))
    program, *arguments = (word for word in words if word.split("=")[0] not in variables)
    program_words = {"python": [], "pytest": ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]}
    line = [sys.executable, *program_words.get(program, ["-m", program]), *arguments]
    environment = {**own, "PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": "-1", **variables}
    return subprocess.run(
        line, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANG_S
    )


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.recipe) for name in MOST]
)
def test_a_recipe_is_all_that_is_needed(name: str, tmp_path: Path) -> None:
    """As few files and lines as promised; then every command of the recipe ends well, and no test is red."""
    recipe = RECIPES[name]
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    written = [line for change in recipe.changes for line in change.lines.splitlines() if line.strip()]
    files = {change.file for change in recipe.changes}
    assert (len(files), len(written)) <= MOST[name]
    assert len(written) <= MOST[name][1]
    for change in recipe.changes:
        change.make(tmp_path)
    for command in recipe.commands:
        done = run(tmp_path, command)
        # The doctor ends with 3 where this machine lacks something, which is no fault of the recipe.
        allowed = (0, 3) if command == "rtxbench doctor" else (0,)
        assert done.returncode in allowed, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_the_page_has_these_recipes_and_no_other() -> None:
    """Every recipe changes something, names what to run, and is held by the test above."""
    assert set(RECIPES) == set(MOST)
    for name, recipe in RECIPES.items():
        assert recipe.changes, name
        assert any("pytest" in command for command in recipe.commands), name
        assert all(change.place for change in recipe.changes), name

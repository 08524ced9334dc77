"""Read the recipes of CONTRIBUTING.md and carry one out on a copy of the tree: its changes, then its commands."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["MOST", "Change", "Recipe", "carried_out", "is_red", "recipes", "run"]

ROOT: Final = Path(__file__).parents[1]
_FOLDERS: Final = ("rtxbench", "tests", "bench", "docs", "tools", "results")
_FILES: Final = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tox.ini")
_HANG_S: Final = 900.0
"""A command of a recipe that takes longer than this is stuck."""

MOST: Final = {
    "workload": (1, 10),
    "precision": (1, 8),
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
    """The changes that a contributor makes, and the commands to run afterwards."""

    changes: tuple[Change, ...]
    commands: tuple[str, ...]

    @property
    def files(self) -> int:
        """Number of files that it touches."""
        return len({change.file for change in self.changes})

    @property
    def lines(self) -> int:
        """Number of lines to write, without the empty ones."""
        return sum(bool(line.strip()) for change in self.changes for line in change.lines.splitlines())


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
        line, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=_HANG_S
    )


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def carried_out(recipe: Recipe, folder: Path) -> list["subprocess.CompletedProcess[str]"]:
    """Copy the tree to an empty folder, make the recipe's changes there and run its commands, each to its end."""
    for name in _FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, folder / name)
    for change in recipe.changes:
        change.make(folder)
    return [run(folder, command) for command in recipe.commands]


def is_red(done: "subprocess.CompletedProcess[str]") -> bool:
    """Return whether a command failed; the doctor's 3 is about the machine, which is no fault of the recipe."""
    return done.returncode not in ((0, 3) if "doctor" in done.args else (0,))

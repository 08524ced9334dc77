"""Rules that decay without a check."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import pairwise, takewhile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtxbench.cli import app
from rtxbench.verdicts.claims import TEMPLATE

ROOT = Path(__file__).parents[1]
TESTS = sorted(path for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_states_the_fact_it_proves(path: Path) -> None:
    """A test without a docstring says nothing when it fails."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


@cache
def trees(folder: str) -> dict[str, ast.Module]:
    """Every source file below the folder, parsed."""
    return {str(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / folder).rglob("*.py"))}


def test_no_file_and_no_function_outgrows_a_reader() -> None:
    """A file holds 400 lines at most, a function 50; what grows further is two things."""
    for path, tree in (trees("rtxbench") | trees("bench")).items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 50] == [], path
        assert len(Path(path).read_text(encoding="utf-8").splitlines()) <= 400, path


def functions(tree: ast.AST, *, inside: bool = False) -> Iterator[tuple[ast.FunctionDef, bool]]:
    """Every function with whether it is built inside another."""
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef)
        if is_function:
            yield node, inside
        yield from functions(node, inside=inside or is_function)


@pytest.mark.parametrize("folder", ["rtxbench", "tools"])
def test_every_function_without_underscore_says_what_it_does(folder: str) -> None:
    """Functions and methods, of private classes too, and what a function builds inside if it has 10 lines or more."""
    for path, tree in trees(folder).items():
        named = [(node, inside) for node, inside in functions(tree) if node.name[0] != "_"]
        long = [node for node, inside in named if not inside or (node.end_lineno or 0) - node.lineno >= 9]
        assert [node.name for node in long if not ast.get_docstring(node)] == [], path


def test_every_test_file_is_named_after_a_module() -> None:
    """A reader finds a module's test at tests/<room>/test_<module>.py, an inner room's as test_<inner>_<module>.py."""
    elsewhere = {"gpu", "integration", "recipes", "test_house_rules.py"}
    for path in TESTS:
        inside = path.relative_to(ROOT / "tests")
        if inside.parts[0] in elsewhere:
            continue
        room = ROOT / "rtxbench" / inside.parent
        below = [path.relative_to(room) for path in room.rglob("*") if path.suffix in ("", ".py")]
        names = {"_".join(path.with_suffix("").parts) for path in below}
        assert inside.stem.removeprefix("test_") in names, f"{inside} names no module of {inside.parent}"


ROOMS = sorted(path.parent for path in (ROOT / "rtxbench").rglob("__init__.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_can_be_known(room: Path) -> None:
    """A room holds 15 modules at most, and its docstring has a paragraph each on what lives there and what does not.

    The ground floor is a room like others, and full. What lies there is known to every room, on layers of its own that
    the contract keeps apart (a unit knows no record, a record no wording): in one room they would be a drawer of
    utilities. A sixteenth belongs into a room, or two that answer one question become one.
    """
    modules = [path for path in room.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert len(modules) <= 15
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    within_an_engine = room.parent.name == "engines"  # said once, in the room above
    assert "\n\n" in said or within_an_engine


def test_the_page_on_architecture_names_the_rooms_and_layers_of_the_contract() -> None:
    """docs/architecture.md shows the layers of pyproject.toml as they are, and each of their rooms in its table."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert "\n".join(["```", *(layer.replace(" | ", " · ") for layer in layers), "```"]) in page
    table = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    shown = {name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([^`]+)`", table)}
    there = {path.stem for path in (ROOT / "rtxbench").glob("[a-z]*") if path.suffix == ".py" or path in ROOMS}
    assert shown == there == {name for layer in layers for name in layer.split(" | ")}


_NO_SENTENCE = re.compile(r"(The \w+'s own\b|Itself\b|It\b|How |What |Which |Where |Why |Whether )")
_NO_VERB = re.compile(
    r"(The|An?|One|Every|Each|All|Both|Two|Such|This|That|Its|Of|In|For|From|Bytes|Seconds|Values)\b|\W"
)
"""Openers of a first line that names what comes back instead of telling what is done."""


def test_a_docstring_says_what_a_thing_does() -> None:
    """A function's first line is imperative, a module's or class's names the thing: no relative clause opens it.

    Properties are named for what they are.
    """
    found = []
    for path, tree in trees("rtxbench").items():
        parts = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
        for node in (node for node in parts if not _is_property(node)):
            text = ast.get_docstring(node) or ""
            verbless = isinstance(node, ast.FunctionDef) and _NO_VERB.match(text)
            found += [f"{path}: {text.splitlines()[0]}"] if verbless or _NO_SENTENCE.match(text) else []
    assert found == []


def test_the_docstring_of_a_field_names_it() -> None:
    """No field, constant or property is introduced by a question: what it holds is named by a noun."""
    found = []
    for path, tree in trees("rtxbench").items():
        texts = [
            node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ]
        found += [f"{path}: {text}" for text in texts if _NO_SENTENCE.match(text)]
    assert found == []


def _is_property(part: ast.AST) -> bool:
    return isinstance(part, ast.FunctionDef) and any("property" in ast.unparse(one) for one in part.decorator_list)


def pages_text() -> str:
    """README, CONTRIBUTING and every page of docs, one after the other."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join([*(page.read_text(encoding="utf-8") for page in pages), ""])


def test_every_command_of_the_pages_exists() -> None:
    """Each `rtxbench …` line of README, CONTRIBUTING, docs and the claims template names real commands and options."""
    text = pages_text() + re.sub(r":  +rtxbench", ": `rtxbench", TEMPLATE)
    commands = set(re.findall(r"(?:`|\$ )rtxbench ((?:[a-z-]+)(?: [^`#|\n]*)?)(?=[`#\n])", text))
    assert len(commands) >= 8
    for command in commands:
        name, *words = shlex.split(command)
        if name == "--install-completion":
            continue
        below = list(takewhile(lambda word: word.isalpha(), words)) if name in ("selftest", "fleet") else []
        shown = CliRunner().invoke(app, [name, *below, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert shown.exit_code == 0, command
        for option in (word for word in words if word.startswith("--") and word != "--"):
            assert option in shown.output, command


_COMMAND = re.compile(r"(?:`|^\$ |&& |^|- run: )((?:[A-Z_]+=\S+ )*(?:pytest|tox|python -m) [^`\n#&]*)", re.MULTILINE)


def test_every_pytest_tox_and_module_command_of_the_pages_exists() -> None:
    """Each such command of the pages names files, options, environments and modules that are there."""
    commands = set(_COMMAND.findall(pages_text()))
    help_text = subprocess.run(
        [sys.executable, "-m", "pytest", "bench", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    environments = set(re.findall(r"^\[testenv:(.+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE))
    assert len(commands) >= 20
    for command in commands:
        program, *words = (word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S+", word))
        if program == "tox":
            named = {name for before, word in pairwise(["", *words]) if before == "-e" for name in word.split(",")}
            assert named <= environments, command
        elif program == "pytest":
            assert all(word.split("=")[0] in help_text for word in words if word.startswith("--")), command
            assert all((ROOT / word).exists() for word in words if "/" in word), command
        elif words[1] not in ("pip", "venv"):
            assert find_spec(words[1]) is not None, command


def test_every_page_the_readme_links_exists() -> None:
    """The README links no file or picture that is not there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in {part.split(")")[0] for part in text.split("](")[1:]}:
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target

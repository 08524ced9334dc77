"""Rules that decay without a check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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


def test_every_bench_measure_and_report_command_of_the_readme_exists() -> None:
    """The README names no file, command or page that is not there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in {part.split(")")[0] for part in text.split("](")[1:]}:
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target

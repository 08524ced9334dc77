"""The recipes of CONTRIBUTING.md, each carried out as written on a copy of the tree: its changes, then its commands."""

from pathlib import Path

import pytest

from tools.recipes import MOST, carried_out, is_red, recipes

ALWAYS = {"claim", "workload", "precision"}
"""Run with every test run; the others by `tox -e recipes`."""
RECIPES = recipes()


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.recipe) for name in MOST]
)
def test_a_recipe_is_all_that_is_needed(name: str, tmp_path: Path) -> None:
    """As few files and lines as promised; then every command of the recipe ends well, and no test is red."""
    recipe = RECIPES[name]
    assert recipe.files <= MOST[name][0]
    assert recipe.lines <= MOST[name][1]
    for done in carried_out(recipe, tmp_path):
        assert not is_red(done), f"{done.args}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_the_page_has_these_recipes_and_no_other() -> None:
    """Every recipe changes something, names what to run, and is held by the test above."""
    assert set(RECIPES) == set(MOST)
    for name, recipe in RECIPES.items():
        assert recipe.changes, name
        assert any("pytest" in command for command in recipe.commands), name
        assert all(change.place for change in recipe.changes), name

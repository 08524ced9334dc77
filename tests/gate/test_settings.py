"""The trees under test may hold anything: no content, type or kind of file gets further than a usage error."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtxbench.errors import UsageError
from rtxbench.gate import environments
from rtxbench.gate.session import Settings
from rtxbench.gate.settings import Asked, parse_margins, settings_of
from rtxbench.gate.statistics.decision import DEFAULT_MARGINS

HOSTILE = [
    b"\xff\xfe[tool]",
    b"[tool\n",
    b"tool = 1",
    b"tool.rtxbench = 'x'",
    b"[tool.rtxbench]\ngate = []",
    b"[tool.rtxbench.gate]\ncases = 'ab'",
    b"[tool.rtxbench.gate]\ncases = [1]",
    b"[tool.rtxbench.gate]\ncases = ['a;b:c']",
    b"[tool.rtxbench.gate]\ncases = ['--help:f']",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nmargin = 0",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nmargin = true",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nmargin = 1979-05-27",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nmargin = nan",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nbudget = 0",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nbudget = inf",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nevidence = 1",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\nunknown = 1",
    b"[tool.rtxbench.gate]\ncases = ['a:f']\ncase = 'x'",
    b"x = " + b"[" * 20000,
    b"x = " + b"9" * 5000,
    b"# long\n" * 200_000,
]


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A baseline and a candidate folder."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    return tmp_path / "old", tmp_path / "new"


def settled(trees: tuple[Path, Path], old: str, new: str, **asked: object) -> tuple[Settings, tuple[str, ...]]:
    """Settings of two tables; empty text is no file."""
    for tree, text in zip(trees, (old, new), strict=True):
        if text:
            (tree / "pyproject.toml").write_text("[tool.rtxbench.gate]\n" + text)
    return settings_of(Asked(**asked), *trees)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("side", [0, 1])
def test_whatever_pyproject_holds_is_a_usage_error(trees: tuple[Path, Path], content: bytes, side: int) -> None:
    """Ten of these ended in a traceback before, and ``margin = 0`` was silently 5 %."""
    (trees[side] / "pyproject.toml").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        settings_of(Asked(), *trees)
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt", "uv.lock"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_special_files_neither_hang_nor_fill_memory(tmp_path: Path, name: str, kind: str) -> None:
    """A pipe nobody writes to, /dev/zero, a folder and a link to itself are refused at once."""
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises(UsageError, match=r"regular file|cannot read"):
        environments.dependencies(tmp_path)


@pytest.mark.parametrize(
    "project",
    ['dependencies = "ab"', "dependencies = [1]", 'optional-dependencies = "x"', 'dependencies = ["--index-url=evil"]',
     'dependencies = ["-rsecrets"]', 'dependencies = [""]'],
)  # fmt: skip
def test_dependencies_of_another_shape_are_refused(tmp_path: Path, project: str) -> None:
    """``"ab"`` once installed the packages a and b, and an option among the requirements reached pip."""
    (tmp_path / "pyproject.toml").write_text(f"[project]\n{project}\n")
    with pytest.raises(UsageError):
        environments.dependencies(tmp_path)


def test_requirements_that_are_not_text(tmp_path: Path) -> None:
    """Requirements that are not UTF-8 are named when the environment is built, before pip sees them."""
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        environments.arm_python(tmp_path, environments.dependencies(tmp_path), tmp_path / "cache")


def test_a_candidate_cannot_relax_its_own_margin(trees: tuple[Path, Path]) -> None:
    """``margin = "50%"`` in the pull request leaves the baseline's, or the default, and it is said."""
    found, notes = settled(trees, 'cases = ["a:f"]\nmargin = "4%"', 'cases = ["a:f"]\nmargin = "50%"')
    assert found.margins == {"step time": 0.04, "peak memory": 0.03, "first step": 0.25}
    assert "50 %" in notes[0]
    assert "4 %" in notes[0]


def test_without_a_baseline_table_the_defaults_are_the_bar(trees: tuple[Path, Path]) -> None:
    """The first pull request that configures the gate cannot start with 50 % either; a stricter wish is granted."""
    found, notes = settled(trees, "", 'cases = ["a:f"]\nmargin = "50%"\nmemory_margin = "1%"')
    assert found.margins == DEFAULT_MARGINS | {"peak memory": 0.01}
    assert len(notes) == 1


def test_a_case_the_candidate_deletes_is_still_gated(trees: tuple[Path, Path]) -> None:
    """Cases of both trees are gated; the one that disappeared is named."""
    found, notes = settled(trees, 'cases = ["a:f", "b:g"]', 'cases = ["a:f", "c:h"]')
    assert found.cases == ("a:f", "b:g", "c:h")
    assert "b:g" in notes[0]


def test_a_case_s_own_margin_may_only_be_tightened_by_the_candidate(trees: tuple[Path, Path]) -> None:
    """The baseline may set any margin for one case; of the candidate's only the stricter counts."""
    old = 'cases = ["a:f", "b:g"]\n[tool.rtxbench.gate.case."a:f"]\nfirst_step_margin = "50%"'
    new = 'cases = ["a:f", "b:g"]\n[tool.rtxbench.gate.case."a:f"]\nfirst_step_margin = "40%"\n'
    new += '[tool.rtxbench.gate.case."b:g"]\nmargin = "50%"'
    found, _notes = settled(trees, old, new)
    assert found.margins_of("a:f")["first step"] == 0.4
    assert found.margins_of("b:g")["step time"] == 0.05


def test_the_command_line_stands_above_both(trees: tuple[Path, Path]) -> None:
    """Whoever runs the gate may set any margin, for all cases and for one."""
    wanted = ("10%", "peak-memory=20%", "a:f/first-step=50%")
    found, notes = settled(trees, 'cases = ["a:f"]\nmargin = "2%"', 'margin = "50%"', margins=wanted, evidence=500.0)
    assert (found.margins["step time"], found.margins["peak memory"], found.fail_evidence) == (0.1, 0.2, 500.0)
    assert found.margins_of("a:f")["first step"] == 0.5
    assert notes == ("the candidate no longer names the case a:f; it is gated all the same",)


@settings(max_examples=50)
@given(st.text(max_size=12))
def test_margins_typed_are_understood_or_refused(text: str) -> None:
    """Nothing typed ends in another exception than a usage error."""
    try:
        assert parse_margins([text])
    except UsageError as error:
        assert error.next_step

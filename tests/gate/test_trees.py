"""Trees: what git is asked, what it may refuse, and what counts as an uncommitted change."""

import subprocess
from pathlib import Path

import pytest

from rtxbench.errors import UsageError
from rtxbench.gate import trees
from tests.integration.test_gate import commit, git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of two commits."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "one\n")
    commit(folder, "two\n")
    return folder


@pytest.mark.parametrize(
    "asked",
    ["HEAD...--fork-point", "--all...HEAD", "-h", "--output=x", "a\0b", "~nobody-such", "x" * 5000, "HEAD..HEAD"],
)
def test_no_name_reaches_git_as_an_option(repository: Path, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that is none is a usage error; `git merge-base` sees hashes only, never what was typed."""
    seen: list[tuple[str, ...]] = []
    plain = trees._git
    monkeypatch.setattr(trees, "_git", lambda folder, *words: seen.append(words) or plain(folder, *words))
    with pytest.raises(UsageError), trees.checked_out(asked, repository):
        pass
    assert not any(word in {"--fork-point", "--all"} for words in seen for word in words[1:])


def test_the_gate_s_own_records_are_no_change(repository: Path) -> None:
    """Records, JSON and summary inside the tree leave it clean, also when they are tracked; a new source does not."""
    own = (Path("results"), Path("gate.json"))
    (repository / "results").mkdir()
    (repository / "results" / "a.jsonl").write_text("{}")
    (repository / ".rtxbench").mkdir()
    (repository / ".rtxbench" / "gate.json").write_text("{}")
    git(repository, "add", "-Af")
    git(repository, "commit", "--quiet", "-m", "records")
    for path in ("results/a.jsonl", "results/b.jsonl", ".rtxbench/gate.json", ".rtxbench/new", "gate.json"):
        (repository / path).write_text("more")
    with trees.checked_out(".", repository, own) as tree:
        assert not tree.dirty
        (repository / "results" / "a.jsonl").write_text("even more")
        trees.check_unchanged(tree)
    (repository / "other.py").write_text("")
    assert trees.is_dirty(repository, own)


def test_dubious_ownership_is_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository of another user, as in a container, is told from a revision that does not exist."""
    refusal = "fatal: detected dubious ownership in repository at '/x'\n"
    answer = subprocess.CompletedProcess(["git"], 128, "", refusal)
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: answer)
    with pytest.raises(UsageError, match="dubious ownership") as caught, trees.checked_out("HEAD~1", repository):
        pass
    assert "safe.directory" in caught.value.next_step

"""A file that carries this machine's name and was measured elsewhere does not count as this machine's own."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from rtxbench.records import Run
from rtxbench.results.made_here import as_noted, note_run, notes_path
from rtxbench.results.store import RunWriter, load_results, set_apart
from tests.results.test_store import header


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has measured nothing yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def machines(*runs: Run) -> list[str]:
    return [run.environment.machine for run in as_noted(runs)]


def begun(run_id: str, realtime_ns: int) -> Run:
    return replace(header(run_id), realtime_ns=realtime_ns)


def test_a_file_of_this_machines_name_that_was_not_measured_here_counts_as_anothers(home: Path) -> None:
    """What was written here keeps its name; a stranger's file of that name, whatever its folder, gets another."""
    RunWriter(home, begun("own", 100)).close()
    stranger = home / "box" / "stranger.jsonl"
    stranger.write_bytes((home / "box" / "own.jsonl").read_bytes().replace(b'"own"', b'"not"').replace(b"100", b"101"))
    found = {one.run.run_id: one.run.environment.machine for one in set_apart(load_results([home]))}
    assert found == {"own": "box", "not": "box-elsewhere"}


def test_a_run_id_alone_does_not_pass() -> None:
    """A self-test's file has the same name everywhere: the instant it began counts, too."""
    note_run(begun("gate-selftest", 100))
    assert machines(begun("gate-selftest", 100), begun("gate-selftest", 101)) == ["box", "box-elsewhere"]


def test_what_cannot_be_known_counts_as_own() -> None:
    """Without notes, and for runs older than they are, nothing is told apart; nor are other machines' runs."""
    assert machines(begun("any", 5)) == ["box"]
    note_run(begun("first", 100))
    assert machines(begun("older", 99)) == ["box"]
    friends = replace(begun("newer", 200), environment=replace(header().environment, machine="friends-box"))
    assert machines(friends) == ["friends-box"]


def test_notes_that_cannot_be_written_or_are_damaged_stop_no_run(home: Path) -> None:
    """A run without a writable home is measured all the same; half a line and other bytes say nothing."""
    (home / "state").write_text("a file where a folder should be")
    RunWriter(home, begun("own", 100)).close()
    assert machines(begun("own", 100)) == ["box"]
    (home / "state").unlink()
    note_run(begun("own", 100))
    notes_path().write_bytes(notes_path().read_bytes() + b"\xff\xfe x y\nbox half")
    assert machines(begun("own", 100), begun("not", 101)) == ["box", "box-elsewhere"]


def test_the_longest_name_stays_a_name() -> None:
    """A name of as many letters as a folder may have is still one after it was told apart."""
    long = replace(header().environment, machine="m" * 120)
    note_run(replace(begun("own", 100), environment=long))
    (renamed,) = machines(replace(begun("not", 101), environment=long))
    assert len(renamed) == 120
    assert renamed.endswith("-elsewhere")

"""The ledger of a sweep survives what kills the sweep."""

from pathlib import Path

import pytest

from rtxbench.errors import RecordError
from rtxbench.fleet.jobs import Job, Sweep
from rtxbench.fleet.ledger import Ledger, ledger_counts

SWEEP = Sweep(profile="smoke")
JOB = Job(claim="claim", workload="mlp")


def written(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "r1.jsonl").touch()
    ledger = Ledger(tmp_path, SWEEP, resume=False)
    ledger.add("m", JOB, ("r1.jsonl",))
    return ledger.path


def test_an_entry_counts_as_long_as_its_file_is_there(tmp_path: Path) -> None:
    """A results file that somebody removed is measured again."""
    written(tmp_path)
    assert Ledger(tmp_path, SWEEP, resume=True).done() == {("m", JOB.name)}
    assert ledger_counts(tmp_path) == {SWEEP.digest: {"m": 1}}
    (tmp_path / "m" / "r1.jsonl").unlink()
    assert Ledger(tmp_path, SWEEP, resume=True).done() == set()


def test_an_unfinished_last_line_is_forgiven(tmp_path: Path) -> None:
    """A sweep killed while it wrote an entry resumes from the entries before it."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"machine": "m", "jo')
    ledger = Ledger(tmp_path, SWEEP, resume=True)
    ledger.add("m", Job(claim="other"), ("r1.jsonl",))
    assert Ledger(tmp_path, SWEEP, resume=True).done() == {("m", JOB.name), ("m", "other")}


def test_a_broken_ledger_is_named(tmp_path: Path) -> None:
    """What is no entry ends in a message with the file and the next step."""
    path = written(tmp_path)
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(RecordError, match=r"Delete it"):
        Ledger(tmp_path, SWEEP, resume=True)


def test_without_resume_the_ledger_is_empty(tmp_path: Path) -> None:
    """A sweep that is not resumed measures everything."""
    written(tmp_path)
    assert Ledger(tmp_path, SWEEP, resume=False).done() == set()

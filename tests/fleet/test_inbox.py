"""Files that nodes send are checked before they count, and never overwrite anything."""

from pathlib import Path

import pytest

from rtxbench.errors import RecordError
from rtxbench.fleet.inbox import Inbox, forget_drafts
from rtxbench.fleet.jobs import Home, Job
from tests.fleet.fake_cluster import run_file

JOB = Job(claim="claim", workload="mlp")


@pytest.mark.parametrize("name", ["../x.jsonl", "/etc/x.jsonl", ".hidden.jsonl", "x.html", "a/b.jsonl"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A node cannot choose where its file is written."""
    with pytest.raises(RecordError):
        Inbox(tmp_path / "m").put(Home(name=name, offset_bytes=0, content=b"x"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_run_of_another_machine_is_refused_and_stays_a_draft(tmp_path: Path) -> None:
    """A file that says it was measured on another machine does not get a name among this one's results."""
    inbox = Inbox(tmp_path / "mine")
    inbox.put(Home(name="r1.jsonl", offset_bytes=0, content=run_file(JOB, "r1", "theirs")))
    with pytest.raises(RecordError, match="theirs"):
        inbox.accept()
    assert not (tmp_path / "mine" / "r1.jsonl").exists()
    forget_drafts(tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    """The same run sent twice leaves the bytes of the first."""
    content = run_file(JOB, "r1", "mine")
    for sent in (content, content + b"\n"):
        inbox = Inbox(tmp_path / "mine")
        inbox.put(Home(name="r1.jsonl", offset_bytes=0, content=content))
        inbox.accept()
        assert (tmp_path / "mine" / "r1.jsonl").read_bytes() == content, sent


def test_a_file_rewritten_at_its_end_replaces_what_had_come_of_it(tmp_path: Path) -> None:
    """Superseded editions were sent first; the whole file then takes their place, also where it is shorter."""
    content = run_file(JOB, "r1", "mine")
    inbox = Inbox(tmp_path / "mine")
    inbox.put(Home(name="r1.jsonl", offset_bytes=0, content=content + content))
    inbox.put(Home(name="r1.jsonl", offset_bytes=0, content=content))
    (loaded,) = inbox.accept()
    assert len(loaded.records) == 1

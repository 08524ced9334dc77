"""A process of one's own: its log tells how it ended, and nothing of it is left behind."""

import io
import os
import sys
from pathlib import Path

import pytest

from rtxbench import processes
from rtxbench.processes import ChildProcess, how_it_ended
from tests.waiting import HANG_S


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (7, "boom\n", "exit status 7: boom"),
        (-11, "", "SIGSEGV: it printed nothing"),
        (-9, "", "killed, most likely for lack of memory: it printed nothing"),
        (-6, "terminate called\n  what():  std::bad_alloc\n", "SIGABRT: what():  std::bad_alloc"),
    ],
)
def test_an_ending_names_its_signal_and_the_words_since_it_was_asked(status: int, said: str, expected: str) -> None:
    """What a framework printed while it started explains no later death."""
    before = b"no CUDA here\n"
    assert how_it_ended(status, io.BytesIO(before + said.encode()), len(before)) == expected


def test_a_process_leaves_no_temporary_file_behind() -> None:
    """What it wrote to its temporary folder is gone once it is ended, by force or not, and ending twice is no error."""
    code = "import tempfile; f = tempfile.mkstemp()[1]; print(f, flush=True); input()"
    child = ChildProcess([sys.executable, "-c", code], os.environ)
    path = Path(os.read(child.stdout, 1000).decode().strip())
    assert path.is_file()
    child.end()
    child.end()
    assert not path.exists() and not path.parent.exists()


def test_a_process_without_pipes_keeps_what_it_printed() -> None:
    """Its last line explains its death, whichever stream it went to."""
    child = ChildProcess([sys.executable, "-c", "print('gone wrong'); raise SystemExit(3)"], os.environ, piped=False)
    try:
        assert child.wait(HANG_S)
        assert (child.status(), child.ending()) == (3, "exit status 3: gone wrong")
    finally:
        child.end()


def test_folders_of_killed_owners_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    """A coordinator that was killed outright cannot remove its workers' folders: the next one does."""
    dead, living, strange = (tmp_path / f"rtxbench-worker-{name}" for name in ("dead", "living", "strange"))
    for folder in (dead, living, strange):
        folder.mkdir()
    os.close(processes._taken(dead))  # as the system does at the owner's end
    mark = processes._taken(living)
    processes._sweep(str(tmp_path))
    assert [folder.exists() for folder in (dead, living, strange)] == [False, True, True]
    os.close(mark)

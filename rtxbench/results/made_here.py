"""Tell the runs that were measured here from files that merely carry this machine's name.

A machine's name is made of its hardware, so an equal machine has the same one, and anybody can write it into a file.
What is measured is therefore noted, when its results file is begun, in a small file of the user's own. A run that bears
a noted machine's name, began after the notes did, and is not in them, was measured elsewhere. Of an older one, and
where there are no notes, nobody can know: it counts as the machine's own.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from rtxbench.records import Run

__all__ = ["ELSEWHERE", "as_noted", "note_run", "notes_path"]

ELSEWHERE: Final = "-elsewhere"
"""End of the name under which a file counts that carries this machine's name and was measured elsewhere."""
_LONGEST_NAME: Final = 120  # `rtxbench.fields.Slug`


def notes_path() -> Path:
    """Return ``$XDG_STATE_HOME/rtxbench/runs``; under ``~/.local/state`` where that is not set."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "rtxbench" / "runs"


def note_run(run: Run) -> None:
    """Note that a run begins here. Without a home that can be written to, nothing is noted, and nothing told apart."""
    with suppress(OSError, RuntimeError):  # Python's word for a user without a home
        path = notes_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(" ".join(_note(run)) + "\n")


def as_noted(runs: Iterable[Run]) -> list[Run]:
    """Give each run that bears this machine's name and was measured elsewhere another machine's name."""
    notes = _notes()
    since_ns = {machine: 2**63 for machine, _, _ in notes}
    for machine, _, realtime_ns in notes:
        since_ns[machine] = min(since_ns[machine], int(realtime_ns))
    return [
        _renamed(run)
        if _note(run) not in notes and run.realtime_ns > since_ns.get(run.environment.machine, run.realtime_ns)
        else run
        for run in runs
    ]


def _renamed(run: Run) -> Run:
    name = run.environment.machine[: _LONGEST_NAME - len(ELSEWHERE)] + ELSEWHERE
    return replace(run, environment=replace(run.environment, machine=name))


def _note(run: Run) -> tuple[str, str, str]:
    """Write what a file that was made elsewhere cannot say by chance: the run's id and the instant it began."""
    return run.environment.machine, run.run_id, str(run.realtime_ns)


def _notes() -> frozenset[tuple[str, str, str]]:
    """Read the notes; a line that a full disk cut short says nothing."""
    try:
        lines = notes_path().read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, RuntimeError):
        return frozenset()
    rows = (line.split(" ") for line in lines)
    return frozenset((row[0], row[1], row[2]) for row in rows if len(row) == 3 and row[2].isdecimal())

"""Bring the files of a job home: written beside their place as they grow, under their name when they are whole."""

import contextlib
import os
from pathlib import Path

from rtxbench.errors import RecordError
from rtxbench.fleet.jobs import Home
from rtxbench.results.store import LoadedRun, disk_errors, load_run

__all__ = ["Inbox", "forget_drafts"]

_DRAFT_PREFIX = ".fleet-"


class Inbox:
    """The files of one attempt at a job.

    Args:
        folder: ``results/<machine>``; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drafts: dict[str, Path] = {}
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, part: Home) -> None:
        """Write a piece of a file at its place.

        Raises:
            RecordError: the name is no results file's.
            MeasurementError: the folder cannot be written.
        """
        if Path(part.name).name != part.name or not part.name.endswith(".jsonl") or part.name.startswith("."):
            raise RecordError(f"a node sent a file named {part.name!r}.", next_step="Look at what runs on that node.")
        draft = self._drafts.setdefault(part.name, self._folder / f"{_DRAFT_PREFIX}{part.name}.part")
        with disk_errors(draft):
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.ftruncate(descriptor, part.offset_bytes)
                os.pwrite(descriptor, part.content, part.offset_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def accept(self) -> tuple[LoadedRun, ...]:
        """Check every file and give it its name; nothing is overwritten.

        Returns:
            The runs among them.

        Raises:
            RecordError: a file is not what a node of this name would send; all stay drafts.
        """
        runs = {name: load_run(path) for name, path in self._drafts.items() if not name.endswith(".trace.jsonl")}
        for name, loaded in runs.items():
            machine = loaded.run.environment.machine
            if (machine, f"{loaded.run.run_id}.jsonl") != (self._folder.name, name):
                raise RecordError(
                    f"{name} says it is run {loaded.run.run_id} of {machine}, not of {self._folder.name}.",
                    next_step="Did the node's hardware change since the sweep began? `rtxbench fleet doctor` tells.",
                )
        for name, draft in self._drafts.items():
            with disk_errors(draft), contextlib.suppress(FileExistsError):  # it came home before
                os.link(draft, self._folder / name)
        self.forget()
        return tuple(runs.values())

    def forget(self) -> None:
        """Remove what is still a draft."""
        for draft in self._drafts.values():
            draft.unlink(missing_ok=True)
        self._drafts.clear()


def forget_drafts(results_dir: Path) -> None:
    """Remove the drafts of a sweep that was killed; their jobs are measured again."""
    for draft in results_dir.glob(f"*/{_DRAFT_PREFIX}*.part"):
        draft.unlink(missing_ok=True)

"""Remember which jobs of a sweep came home, so that a sweep that was stopped goes on where it was."""

import os
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from rtxbench.errors import RecordError
from rtxbench.fleet.jobs import Job, Sweep
from rtxbench.results.store import disk_errors

__all__ = ["Entry", "Ledger", "ledger_counts"]

_FOLDER: Final = ".fleet"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job that came to an end."""

    machine: str
    job: str
    runs: tuple[str, ...]
    """Files under ``results/<machine>/``; empty where the job failed without a record."""
    complaint: str = ""


class Ledger:
    """Append-only file of the jobs of one sweep.

    An entry is written when its files have their names. If the sweep is killed between the two, the job is measured
    again and both runs are kept: two honest measurements, never one lost.

    Args:
        results_dir: the ledger is ``.fleet/<digest of the request>.ledger`` in it.
        sweep: the request.
        resume: keep what an earlier sweep of the same request did; else begin anew.

    Raises:
        RecordError: the ledger cannot be read.
        MeasurementError: it cannot be written.
    """

    def __init__(self, results_dir: Path, sweep: Sweep, *, resume: bool) -> None:
        self.path = results_dir / _FOLDER / f"{sweep.digest}.ledger"
        self.entries: list[Entry] = []
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if resume and self.path.exists():
                self.entries = self._read(results_dir)
            else:
                self.path.unlink(missing_ok=True)

    def done(self) -> set[tuple[str, str]]:
        """Return (machine, job) of every job that came home with a record."""
        return {(entry.machine, entry.job) for entry in self.entries if entry.runs}

    def add(self, machine: str, job: Job, runs: tuple[str, ...], complaint: str = "") -> None:
        """Append an entry and sync it to disk."""
        entry = Entry(machine=machine, job=job.name, runs=runs, complaint=complaint)
        self.entries.append(entry)
        with disk_errors(self.path), self.path.open("ab") as stream:
            stream.write(msgspec.json.encode(entry) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, results_dir: Path) -> list[Entry]:
        """Read the entries whose files are still there; an unfinished last line is what a killed sweep leaves."""
        entries = _entries(self.path)
        with self.path.open("wb") as stream:
            stream.writelines(msgspec.json.encode(entry) + b"\n" for entry in entries)
        return [entry for entry in entries if all((results_dir / entry.machine / run).exists() for run in entry.runs)]


def ledger_counts(results_dir: Path) -> dict[str, dict[str, int]]:
    """Count the jobs that came home: sweep → machine → jobs.

    Raises:
        RecordError: a ledger cannot be read.
    """
    ledgers = sorted((results_dir / _FOLDER).glob("*.ledger"))
    return {path.stem: dict(Counter(e.machine for e in _entries(path) if e.runs)) for path in ledgers}


def _entries(path: Path) -> list[Entry]:
    try:
        return [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().split(b"\n")[:-1]]
    except msgspec.MsgspecError as error:
        raise RecordError(
            f"{path} cannot be read: {error}.", next_step="Delete it, or run without --resume."
        ) from error

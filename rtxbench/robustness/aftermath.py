"""Traces of a killed command: records lost, processes, stray files, a changed repository, a spoilt terminal."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from rtxbench.errors import RecordError
from rtxbench.processes import run_git
from rtxbench.records import Record
from rtxbench.results.editions import holds
from rtxbench.results.store import find_result_files, load_run
from rtxbench.robustness.scenarios import INPUT, TEMPORARY

__all__ = [
    "TOKEN",
    "Snapshot",
    "family",
    "files_left",
    "git_problems",
    "living",
    "lost",
    "orphans",
    "snapshot",
    "unreadable",
]

TOKEN: Final = "RTXBENCH_KILL_TRIAL"
"""Variable that all processes of a trial inherit, so that orphans are found wherever they were re-parented."""
_ORPHAN_S: Final = 30.0
"""A child may take this long to notice that its parent is gone."""


class Snapshot(NamedTuple):
    """State of the disk at a moment."""

    records: Mapping[Path, Mapping[str, Record]]
    """Results file → record id → its last edition."""
    samples: Mapping[Path, tuple[bytes, ...]]
    """Hardware trace → its complete lines."""

    @property
    def total(self) -> int:
        """Records and samples together."""
        return sum(map(len, self.records.values())) + sum(map(len, self.samples.values()))


def snapshot(folder: Path) -> Snapshot:
    """Read what a trial has written so far; a file whose header is unfinished holds nothing yet."""
    records: dict[Path, dict[str, Record]] = {}
    for path in _written(folder):
        with suppress(RecordError):
            records[path] = {record.record_id: record for record in load_run(path).records}
    traces = (path for path in folder.rglob("*.trace.jsonl") if INPUT not in path.parts)
    return Snapshot(records, {path: tuple(path.read_bytes().split(b"\n")[:-1]) for path in traces})


def lost(before: Snapshot, after: Snapshot) -> list[str]:
    """Name what was on disk before and is no longer there, nor a later edition of it."""
    problems = []
    for path, records in before.records.items():
        gone = [one for one in records.values() if not holds(after.records.get(path, {}), one)]
        problems += [f"lost {type(record).__name__} {record.record_id} of {path.name}" for record in gone]
    for path, lines in before.samples.items():
        taken_away = path not in after.samples  # a run without a record takes its trace away
        if not taken_away and after.samples[path][: len(lines)] != lines:
            problems.append(f"lost samples of {path.name}")
    return problems


def unreadable(folder: Path) -> list[str]:
    """Name results files that do not load though their header is whole."""
    problems = []
    for path in _written(folder):
        if path.read_bytes().count(b"\n"):
            try:
                load_run(path)
            except RecordError as error:
                problems.append(f"does not load: {error}")
    return problems


def family(token: str) -> list[psutil.Process]:
    """Find the living processes of a trial."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def orphans(token: str, patience_s: float = _ORPHAN_S) -> list[str]:
    """Name whoever is still there a while after the coordinator ended; they are ended here."""
    deadline = time.monotonic() + patience_s
    while (left := family(token)) and time.monotonic() < deadline:
        time.sleep(0.1)
    named = []
    for process in left:
        with suppress(psutil.Error):
            named.append(f"orphan: {' '.join(process.cmdline())[:120]}")
            process.kill()
    return named


def living(token: str) -> str:
    """Say what the processes of a trial are at: one that waits and one that is slow differ in processor time."""
    said = []
    for process in family(token):
        with suppress(psutil.Error):
            used_s = sum(process.cpu_times()[:2])
            said.append(
                f"{' '.join(process.cmdline()[-3:])[:60]} ({process.status()}, {used_s:.1f} s of processor time)"
            )
    return "; ".join(said) or "nobody"


def files_left(folder: Path, *, outright: bool = False) -> list[str]:
    """Name what lies in the temporary folder, and half-written files anywhere.

    Args:
        folder: of the trial.
        outright: a command was killed by SIGKILL earlier, which may have left a half-written file beside a whole one.
    """
    strays = [path.name for path in (folder.parent / TEMPORARY).iterdir()]
    parts = [path.name for path in folder.rglob("*.part")]
    return [f"left {name}" for name in strays + ([] if outright else parts)]


def git_problems(folder: Path) -> list[str]:
    """Name work trees and changes that a gate left in its repository; none where there is no repository."""
    if not (folder / ".git").exists():
        return []

    trees = len(run_git(folder, "worktree", "list").stdout.splitlines())
    problems = [f"{trees} git work trees left"] if trees > 1 else []
    changed = run_git(folder, "--no-optional-locks", "status", "--porcelain").stdout.strip()
    locks = [os.fspath(path.relative_to(folder)) for path in (folder / ".git").rglob("*.lock")]
    return problems + ([f"the repository was changed: {changed}"] if changed else []) + [f"left {one}" for one in locks]


def _written(folder: Path) -> list[Path]:
    return [path for path in find_result_files([folder]) if INPUT not in path.relative_to(folder).parts]

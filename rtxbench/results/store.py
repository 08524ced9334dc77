"""Append finished records to ``results/<machine>/<run>.jsonl`` and load them back.

One JSON line per record, flushed and synced as it is appended: a crash, Ctrl-C or a power cut loses at most the
record in flight. A record that grows while it is measured is appended again under the same id: the last edition
counts, and the earlier ones are dropped when the file is closed. Loading is strict (unknown fields, wrong types,
newer schemas are errors), because results may come from strangers; the one fault forgiven is an unfinished last line,
which is what a killed run leaves behind.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

import msgspec

from rtxbench.errors import MeasurementError, RecordError
from rtxbench.records import (
    SCHEMA_VERSION,
    CaseRecord,
    Line,
    Observation,
    Purpose,
    RatioRecord,
    Record,
    Run,
)
from rtxbench.results.editions import holds, last_editions
from rtxbench.results.foreign import ForeignLine, decoded, decoded_lines, malformed
from rtxbench.results.made_here import as_noted, note_run
from rtxbench.results.plausible import record_problem

__all__ = [
    "PLANTED_SLOWDOWN_RATIO",
    "LoadedRun",
    "RunWriter",
    "disk_errors",
    "find_result_files",
    "load_readable",
    "load_results",
    "load_run",
    "new_record_id",
    "now",
    "one_file_per_run",
    "read_header",
    "run_of_lines",
    "set_apart",
]

PLANTED_SLOWDOWN_RATIO: Final = 0.05
"""Slow-down planted in the candidate of the harness's group ``planted``."""

_MAX_LINE_BYTES = 16 * 2**20
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_AnyRecord = TypeVar("_AnyRecord", CaseRecord, RatioRecord, Observation)


def new_record_id() -> str:
    """Return a random id, unique across machines."""
    return uuid4().hex[:16]


def now() -> str:
    """Return this instant, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class LoadedRun(NamedTuple):
    """One results file: its header, its records in file order, and where it was read from."""

    run: Run
    records: tuple[Record, ...]
    path: Path
    truncated: bool
    """True when the last line was unfinished and left out (the run was killed while writing it)."""

    def of_kind(self, kind: type[_AnyRecord]) -> tuple[_AnyRecord, ...]:
        """Select the run's results of one kind, in file order: no checks of the instrument, no rival's figures."""
        return tuple(record for record in self.records if isinstance(record, kind) and record.purpose == "result")

    def meant_for(self, purpose: Purpose) -> tuple[Record, ...]:
        """Select the records of one purpose, in file order."""
        return tuple(record for record in self.records if record.purpose == purpose)


class RunWriter:
    """Owns one results file. Creates the folder and the header line at construction; appends from then on.

    Raises:
        MeasurementError: the disk is full or the folder cannot be written.
    """

    def __init__(self, results_dir: Path, run: Run) -> None:
        self.run = run
        self.path = results_dir / run.environment.machine / f"{run.run_id}.jsonl"
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            note_run(run)  # before its file: a run that is killed between the two has neither
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._ids: set[str] = set()
        self._superseded = False
        try:
            self._append(run)
        except MeasurementError:  # a full disk: half a header is no results file
            os.close(self._descriptor)
            self.path.unlink(missing_ok=True)
            raise

    @classmethod
    def resume(cls, path: Path) -> "RunWriter":
        """Go on appending to a file that an earlier process wrote; an unfinished last line is cut off first.

        Raises:
            RecordError: it is not a results file.
            MeasurementError: the disk is full or the file cannot be written.
        """
        writer = cls.__new__(cls)
        loaded = load_run(path)
        writer.run, writer.path = loaded.run, path
        writer._ids, writer._superseded = {record.record_id for record in loaded.records}, False
        with disk_errors(path):
            data = path.read_bytes()
            if loaded.truncated:
                os.truncate(path, data.rfind(b"\n") + 1)
            writer._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            if not loaded.truncated and not data.endswith(b"\n"):
                os.write(writer._descriptor, b"\n")  # the last record is whole; only its line end is missing
        return writer

    def append(self, record: Record) -> None:
        """Write one record as one line and sync it to disk; under a known id it supersedes the earlier edition."""
        self._superseded |= record.record_id in self._ids
        self._ids.add(record.record_id)
        self._append(record)

    def close(self) -> None:
        """Close the file and drop superseded editions; the records already appended are safe without it."""
        os.close(self._descriptor)
        if self._superseded:
            loaded, whole = load_run(self.path), self.path.with_suffix(".jsonl.part")
            try:
                with disk_errors(self.path), whole.open("wb") as stream:
                    stream.writelines(_encoder.encode(line) + b"\n" for line in (loaded.run, *loaded.records))
                    stream.flush()
                    os.fsync(stream.fileno())
                with disk_errors(self.path):
                    whole.replace(self.path)
            finally:
                whole.unlink(missing_ok=True)  # a full disk or a signal: the longer file holds all of it

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _append(self, line: Line) -> None:
        data = _encoder.encode(line) + b"\n"
        with disk_errors(self.path):
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Translate the operating system's errors once, naming the file and the cure."""
    try:
        yield
    except OSError as error:
        raise MeasurementError(
            f"cannot write {path}: {error.strerror}.",
            next_step="Free some disk space or choose another folder with --results; "
            "records already written are intact.",
        ) from error


def find_result_files(paths: Iterable[Path]) -> list[Path]:
    """Expand files and folders to the results files in them, sorted, without duplicates.

    Raises:
        RecordError: a named path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(sorted(_results_in(path))))
        elif path.exists():
            found[path] = None
        else:
            raise RecordError(f"no such results file or folder: {path}.", next_step="Check the path.")
    return list(found)


def _results_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.jsonl"):
        if not path.name.endswith(".trace.jsonl") and path.is_file():
            yield path


def load_results(paths: Iterable[Path]) -> list[LoadedRun]:
    """Load every results file under ``paths`` (folders are searched); copies of one run count once.

    Raises:
        RecordError: a file is malformed or newer than this program, or two files contradict each other.
    """
    runs, problems = load_readable(paths)
    if problems:
        raise problems[0]
    return runs


def load_readable(paths: Iterable[Path]) -> tuple[list[LoadedRun], list[RecordError]]:
    """Load what can be loaded, and say what is wrong with the rest: one bad file does not hide the good ones.

    Raises:
        RecordError: a named path does not exist.
    """
    runs: list[LoadedRun] = []
    problems: list[RecordError] = []
    for path in find_result_files(paths):
        try:
            runs.append(load_run(path))
        except RecordError as error:
            problems.append(error)
    kept, _, contradictions = one_file_per_run(runs)
    return kept, problems + contradictions


def set_apart(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """Count as another machine's what bears this one's name and was measured elsewhere (see `made_here`)."""
    headers = as_noted(loaded.run for loaded in runs)
    return [loaded._replace(run=header) for loaded, header in zip(runs, headers, strict=True)]


def one_file_per_run(runs: Iterable[LoadedRun]) -> tuple[list[LoadedRun], list[Path], list[RecordError]]:
    """Keep the fullest copy of each run: a file that was copied must not count twice.

    Returns:
        The runs kept, in order of first appearance; the paths of the superfluous copies; and an error for each file
        that contradicts an earlier one (another copy that differs, or a record id of another run), which is left out.
    """
    kept: dict[str, LoadedRun] = {}
    owners: dict[str, LoadedRun] = {}
    copies: list[Path] = []
    problems: list[RecordError] = []
    for loaded in runs:
        other = kept.get(loaded.run.run_id)
        try:
            if other is None:
                _check_owners(owners, loaded)
                kept[loaded.run.run_id] = loaded
            else:
                longer, shorter = _fuller_first(loaded, other)
                kept[loaded.run.run_id] = longer
                copies.append(shorter.path)
        except RecordError as error:
            problems.append(error)
            continue
        owners.update(dict.fromkeys((record.record_id for record in loaded.records), loaded))
    return list(kept.values()), copies, problems


def _fuller_first(one: LoadedRun, other: LoadedRun) -> tuple[LoadedRun, LoadedRun]:
    """Order the copies of one run: all that the second holds is in the first, or a later edition of it is."""
    for longer, shorter in ((other, one), (one, other)):
        held = {record.record_id: record for record in longer.records}
        if longer.run == shorter.run and all(holds(held, record) for record in shorter.records):
            return longer, shorter
    raise RecordError(
        f"{other.path} and {one.path} are both run {one.run.run_id} and differ.",
        next_step="Keep the one you trust; a copy that was edited is no longer evidence.",
    )


def _check_owners(owners: dict[str, LoadedRun], loaded: LoadedRun) -> None:
    """Raise where the same record id is in two runs: one was copied out of the other."""
    for record in loaded.records:
        other = owners.get(record.record_id)
        if other is not None:
            raise RecordError(
                f"record {record.record_id} is in {other.path} and in {loaded.path}, which are different runs.",
                next_step="Leave out the file it was copied into; it would be counted twice.",
            )


def load_run(path: Path) -> LoadedRun:
    """Load one results file.

    Raises:
        RecordError: the file is empty, not a results file, malformed before its last line, of a newer schema, or says
            something that cannot be (`rtxbench.results.plausible`).
    """
    return _run_of(path, decoded_lines(path, lambda raw: _decode(path, raw), _MAX_LINE_BYTES))


def run_of_lines(path: Path, lines: Sequence[str]) -> LoadedRun:
    """Read a run from lines held elsewhere than in a file, with the same checks; ``path`` stands in messages.

    Raises:
        RecordError: as `load_run`.
    """
    data = (line.encode() + b"\n" for line in lines)
    return _run_of(path, decoded(path, data, lambda raw: _decode(path, raw)))


def _run_of(path: Path, lines: Iterable[tuple[ForeignLine, Line | None]]) -> LoadedRun:
    records: list[Record] = []
    header: Run | None = None
    truncated = False
    for line, value in lines:
        if header is None:
            header = _header(path, value)
        elif value is None:
            truncated = True
        elif isinstance(value, Run):
            raise RecordError(
                f"{path} holds two runs ({header.run_id} and {value.run_id}).",
                next_step="Keep one run per file: split it at the second run header.",
            )
        else:
            problem = record_problem(value, header)
            if problem is not None:
                raise malformed(path, line.number, problem)
            records.append(_with_purpose(value))
    header = _header(path, header)
    return LoadedRun(header, last_editions(path, records), path, truncated)


def read_header(path: Path) -> Run:
    """Read the header of a results file, and nothing more of it.

    Raises:
        RecordError: it has none.
    """
    lines = decoded_lines(path, lambda raw: _decode(path, raw), _MAX_LINE_BYTES)
    return _header(path, next((value for _, value in lines), None))


def _header(path: Path, line: Line | None) -> Run:
    if not isinstance(line, Run):
        raise RecordError(
            f"{path} does not start with a run header.",
            next_step="Pass files written by rtxbench (results/<machine>/<run>.jsonl).",
        )
    return line


_PURPOSES_BY_GROUP: Final[tuple[tuple[str, Purpose], ...]] = (("harness/", "harness"), ("fused-norm/legacy/", "rival"))
_HARNESS_TOPIC: Final = "overhead"


def _with_purpose(record: Record) -> Record:
    """Give a record of before 2026-11-21 its purpose, which was told by its group's name, or by its topic."""
    if record.purpose != "result":
        return record
    if isinstance(record, Observation):
        return msgspec.structs.replace(record, purpose="harness") if record.topic == _HARNESS_TOPIC else record
    for prefix, purpose in _PURPOSES_BY_GROUP:
        if record.group.startswith(prefix):
            return msgspec.structs.replace(record, group=record.group.removeprefix(prefix), purpose=purpose)
    return record


class _SchemaOnly(msgspec.Struct):
    schema_version: int = 0


def _decode(path: Path, raw: bytes) -> Line:
    try:
        line = _decoder.decode(raw)
    except msgspec.ValidationError:
        _check_schema(path, msgspec.json.decode(raw, type=_SchemaOnly, strict=False).schema_version)
        raise
    if isinstance(line, Run):
        _check_schema(path, line.schema_version)
    return line


def _check_schema(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {version}; this rtxbench reads up to {SCHEMA_VERSION}.",
            next_step=f"Update your checkout (`git pull`) and install it again (`{sys.executable} -m pip install .`).",
        )

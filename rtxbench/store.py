"""Append finished records to ``results/<machine>/<run>.jsonl`` and load them back.

One JSON line per finished record, flushed and synced as it is appended: a crash, Ctrl-C or a power cut loses at
most the record in flight. Loading is strict (unknown fields, wrong types, newer schemas are errors), because
results may come from strangers; the one fault forgiven is an unfinished last line, which is what a killed run
leaves behind.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

import msgspec

from rtxbench.errors import MeasurementError, RecordError
from rtxbench.records import SCHEMA_VERSION, CaseRecord, Line, Observation, RatioRecord, Record, Run

__all__ = [
    "HARNESS_GROUPS",
    "LEGACY_GROUPS",
    "PLANTED_SLOWDOWN_RATIO",
    "LoadedRun",
    "RunWriter",
    "disk_errors",
    "find_result_files",
    "is_harness",
    "is_result",
    "load_results",
    "load_run",
    "new_record_id",
    "now",
]

HARNESS_GROUPS: Final = "harness/"
"""Groups so named hold rtxbench against itself (bench/bench_harness.py): checks of the instrument, no results."""
LEGACY_GROUPS: Final = "fused-norm/legacy/"
"""Groups so named hold Keras 3 against legacy Keras (bench/bench_fused_norm.py): a rival, no case of rtxbench."""
PLANTED_SLOWDOWN_RATIO: Final = 0.05
"""Slow-down planted in the candidate of the group ``harness/planted``."""

_MAX_LINE_BYTES = 16 * 2**20
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_AnyRecord = TypeVar("_AnyRecord", CaseRecord, RatioRecord, Observation)


def new_record_id() -> str:
    """A random id, unique across machines."""
    return uuid4().hex[:16]


def now() -> str:
    """This instant, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class LoadedRun(NamedTuple):
    """One results file: its header, its records in file order, and where it was read from."""

    run: Run
    records: tuple[Record, ...]
    path: Path
    truncated: bool
    """True when the last line was unfinished and left out (the run was killed while writing it)."""

    def of_kind(self, kind: type[_AnyRecord]) -> tuple[_AnyRecord, ...]:
        """The run's results of one kind, in file order: neither checks of the instrument nor a rival's figures."""
        return tuple(record for record in self.records if isinstance(record, kind) and is_result(record))

    @property
    def harness(self) -> tuple[Record, ...]:
        """The records that check the instrument, in file order; only the report's section on trust reads them."""
        return tuple(record for record in self.records if is_harness(record))

    @property
    def legacy(self) -> tuple[Record, ...]:
        """The records of the bench against legacy Keras, in file order; the section on engines reads them."""
        return tuple(record for record in self.records if _is_of(record, LEGACY_GROUPS))


def is_result(record: Record) -> bool:
    """Whether a record is of what rtxbench measured: neither a check of the instrument nor against a rival."""
    return not _is_of(record, (HARNESS_GROUPS, LEGACY_GROUPS))


def is_harness(record: Record) -> bool:
    """Whether a record is a check of the instrument: a planted slow-down is nobody's training speed."""
    return _is_of(record, HARNESS_GROUPS)


def _is_of(record: Record, groups: str | tuple[str, ...]) -> bool:
    return not isinstance(record, Observation) and record.group.startswith(groups)


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
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._append(run)

    @classmethod
    def resume(cls, path: Path) -> "RunWriter":
        """Go on appending to a file that an earlier process wrote; an unfinished last line is cut off first.

        Raises:
            RecordError: it is not a results file.
            MeasurementError: the disk is full or the file cannot be written.
        """
        writer = cls.__new__(cls)
        writer.run, writer.path = load_run(path).run, path
        with disk_errors(path):
            data = path.read_bytes()
            if not data.endswith(b"\n"):
                os.truncate(path, data.rfind(b"\n") + 1)
            writer._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        return writer

    def append(self, record: Record) -> None:
        """Write one record as one line and sync it to disk."""
        self._append(record)

    def close(self) -> None:
        """Close the file; the records already appended are safe without it."""
        os.close(self._descriptor)

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


class disk_errors:  # noqa: N801 (reads as a statement: `with disk_errors(path):`)
    """Translate the operating system's errors once, naming the file and the cure."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError):
            raise MeasurementError(
                f"cannot write {self._path}: {error.strerror}.",
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
            found.update(dict.fromkeys(sorted(p for p in path.rglob("*.jsonl") if not p.name.endswith(".trace.jsonl"))))
        elif path.exists():
            found[path] = None
        else:
            raise RecordError(f"no such results file or folder: {path}.", next_step="Check the path.")
    return list(found)


def load_results(paths: Iterable[Path]) -> list[LoadedRun]:
    """Load every results file under ``paths`` (folders are searched).

    Raises:
        RecordError: a file is malformed or newer than this program, or two files hold the same record id.
    """
    return [load_run(path) for path in find_result_files(paths)]


def load_run(path: Path) -> LoadedRun:
    """Load one results file.

    Raises:
        RecordError: the file is empty, not a results file, malformed before its last line, or of a newer schema.
    """
    lines = list(_decoded_lines(path))
    truncated = lines[-1] is None if lines else False
    complete = [line for line in lines if line is not None]
    if not complete or not isinstance(complete[0], Run):
        raise RecordError(
            f"{path} does not start with a run header.",
            next_step="Pass files written by rtxbench (results/<machine>/<run>.jsonl).",
        )
    header, records = complete[0], complete[1:]
    extra = next((line for line in records if isinstance(line, Run)), None)
    if extra is not None:
        raise RecordError(
            f"{path} holds two runs ({header.run_id} and {extra.run_id}).",
            next_step="Keep one run per file: split it at the second run header.",
        )
    return LoadedRun(header, tuple(r for r in records if not isinstance(r, Run)), path, truncated)


def _decoded_lines(path: Path) -> Iterator[Line | None]:
    """Yield each line decoded, and ``None`` for an unfinished last line."""
    try:
        with path.open("rb") as stream:
            number = 0
            while raw := stream.readline(_MAX_LINE_BYTES):
                number += 1
                complete = raw.endswith(b"\n")
                if not complete and len(raw) == _MAX_LINE_BYTES:
                    raise _malformed(path, number, f"longer than {_MAX_LINE_BYTES} bytes")
                try:
                    yield _decode(path, raw)
                except msgspec.MsgspecError as error:
                    if complete:
                        raise _malformed(path, number, str(error)) from error
                    yield None
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}.", next_step="Check its permissions.") from error


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
            next_step=f"Upgrade rtxbench ({sys.executable} -m pip install --upgrade rtxbench).",
        )


def _malformed(path: Path, number: int, why: str) -> RecordError:
    return RecordError(
        f"{path}, line {number}: {why}.",
        next_step="Restore the file from where it came from, or move it out of the folder to report without it.",
    )

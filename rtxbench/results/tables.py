"""Results as partitioned Parquet: three tables of flat columns, one folder a machine, beside each row its whole record.

``cases/``, ``ratios/`` and ``observations/`` hold the columns of `rtxbench.results.frames` and two more: ``purpose``,
and ``record``, the record as its line of JSON; ``runs/`` holds the header of every run. A table's file states its
schema: name, type, unit and meaning of each column. Results stay JSON lines where they are written; these tables are
made from them, through the same strict boundary, machine by machine, so that memory stays bounded.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from rtxbench.errors import RecordError, UsageError
from rtxbench.records import CaseRecord, Observation, RatioRecord
from rtxbench.results.frames import CASE_COLUMNS, OBSERVATION_COLUMNS, RATIO_COLUMNS, FrameColumn
from rtxbench.results.store import LoadedRun, find_result_files, load_run, one_file_per_run, read_header

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TABLES", "Exported", "export", "is_tables", "library_or_refuse", "table_columns"]

_MANIFEST: Final = "exported.json"
_ROWS_AT_ONCE: Final = 20_000
"""Rows held before they are written: about 100 MB."""
_ARROW_TYPES: Final = {"string": "string", "Float64": "float64", "Int64": "int64", "boolean": "bool_"}


def _json(_run: LoadedRun, record: Any) -> str:
    return msgspec.json.encode(record).decode()


_RECORD_COLUMNS: Final = (
    FrameColumn("purpose", "string", "", "result, harness or rival", lambda _run, record: record.purpose),
    FrameColumn("record", "string", "", "The whole record, a line of JSON", _json),
)
_RUN_COLUMNS: Final = (
    FrameColumn("machine", "string", "", "Hardware fingerprint", lambda run, _: run.run.environment.machine),
    FrameColumn("run_id", "string", "", "The run", lambda run, _: run.run.run_id),
    FrameColumn("started_at", "string", "", "ISO 8601 with zone", lambda run, _: run.run.started_at),
    FrameColumn("profile", "string", "", "How long it measured", lambda run, _: run.run.profile),
    FrameColumn("rtxbench_version", "string", "", "Of the program", lambda run, _: run.run.rtxbench_version),
    FrameColumn("records", "Int64", "", "How many it holds", lambda run, _: len(run.records)),
    FrameColumn("record", "string", "", "The whole header, a line of JSON", lambda run, _: _json(run, run.run)),
)


class _Table(NamedTuple):
    columns: tuple[FrameColumn, ...]
    rows: Callable[[LoadedRun], Iterable[object]]


TABLES: Final[Mapping[str, _Table]] = {
    "cases": _Table(
        (*CASE_COLUMNS, *_RECORD_COLUMNS),
        lambda run: (record for record in run.records if isinstance(record, CaseRecord)),
    ),
    "ratios": _Table(
        (
            *RATIO_COLUMNS,
            FrameColumn("baseline_record", "string", "", "Record of the baseline", lambda _, r: r.baseline_record),
            FrameColumn("candidate_record", "string", "", "Record of the candidate", lambda _, r: r.candidate_record),
            *_RECORD_COLUMNS,
        ),
        lambda run: (record for record in run.records if isinstance(record, RatioRecord)),
    ),
    "observations": _Table(
        (*OBSERVATION_COLUMNS, *_RECORD_COLUMNS),
        lambda run: (record for record in run.records if isinstance(record, Observation)),
    ),
    "runs": _Table(_RUN_COLUMNS, lambda run: (run.run,)),
}
"""Table → its columns, and a run's rows in it."""


def table_columns(name: str) -> tuple[FrameColumn, ...]:
    """Return the stated schema of a table."""
    return TABLES[name].columns


class Exported(NamedTuple):
    """Counts of one export, and the files it left out."""

    records: int
    """Records in the tables that were written anew."""
    machines_written: int
    machines_unchanged: int
    """Machines whose files were as they were at the last export."""
    unreadable: tuple[RecordError, ...]
    """Files that were left out, each with its reason."""


def library_or_refuse(name: str) -> Any:
    """Import a library of the extra ``query``.

    Raises:
        UsageError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this needs {name}, which is not installed.",
            next_step="Install it: `pip install '.[query]'` in your checkout (duckdb and pyarrow).",
        ) from error


def is_tables(path: Path) -> bool:
    """Return whether a folder holds exported tables."""
    return (path / _MANIFEST).is_file()


def export(
    paths: Sequence[Path], out: Path, progress: Callable[[int], None] | None = None, *, strict: bool = False
) -> Exported:
    """Write every record under ``paths`` to the tables in ``out``; machines whose files have not changed are kept.

    Args:
        paths: results files and folders; copies of one run count once.
        out: folder of the tables, made here or by an earlier export.
        progress: called with the number of files done since the last call.
        strict: raise at the first file that cannot be read, rather than leave it out.

    Raises:
        UsageError: pyarrow is missing, or ``out`` is a folder with other things in it.
        RecordError: a path does not exist, or, if ``strict``, a file cannot be read.
    """
    library_or_refuse("pyarrow")
    known = _manifest(out)
    by_machine, unreadable = _files_by_machine(find_result_files(paths))
    manifest = {machine: _stamps(files) for machine, files in by_machine.items()}
    records = written = 0
    for machine, files in by_machine.items():
        if manifest[machine] != known.get(machine):
            added, problems = _export_machine(machine, files, out)
            records, written, unreadable = records + added, written + 1, unreadable + problems
        if progress is not None:
            progress(len(files))
    for gone in known.keys() - manifest.keys():
        for table in TABLES:
            shutil.rmtree(_folder(out, table, gone), ignore_errors=True)
    if strict and unreadable:
        raise unreadable[0]
    (out / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return Exported(records, written, len(by_machine) - written, tuple(unreadable))


def _manifest(out: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Read what the last export read; empty for a new folder."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / _MANIFEST
    if not path.exists():
        if any(out.iterdir()):
            raise UsageError(f"{out} holds other things.", next_step="Name a new folder with --out.")
        path.write_text("{}")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, tuple[int, int]]])
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{path} is not what an export writes.", next_step="Remove the folder and export anew."
        ) from error


def _stamps(files: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """File → size and time of its last change."""
    found = {str(path.resolve()): path.stat() for path in files}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


def _files_by_machine(files: Iterable[Path]) -> tuple[dict[str, list[Path]], list[RecordError]]:
    """Group files by the machine their header names; a file without a header is an error."""
    found: dict[str, list[Path]] = {}
    unreadable: list[RecordError] = []
    for path in files:
        try:
            found.setdefault(_machine_of(path), []).append(path)
        except RecordError as error:
            unreadable.append(error)
    return found, unreadable


def _machine_of(path: Path) -> str:
    return read_header(path).environment.machine


def _export_machine(machine: str, files: Sequence[Path], out: Path) -> tuple[int, list[RecordError]]:
    """Write one machine's tables anew; they replace the old ones when they are whole."""
    problems: list[RecordError] = []
    records = 0
    with _Writers(out, machine) as writers:
        for run in _runs_once(files, problems):
            writers.add(run)
            records += len(run.records)
    return records, problems


def _runs_once(files: Sequence[Path], problems: list[RecordError]) -> Iterator[LoadedRun]:
    """Load one file after another; of files that are copies of one run only the fullest."""
    by_run: dict[str, list[Path]] = {}
    for path in files:
        by_run.setdefault(read_header(path).run_id, []).append(path)
    for copies in by_run.values():
        loaded = []
        for path in copies:
            try:
                loaded.append(load_run(path))
            except RecordError as error:
                problems.append(error)
        kept, _, contradictions = one_file_per_run(loaded)
        problems += contradictions
        yield from kept


def _folder(out: Path, table: str, machine: str) -> Path:
    return out / table / f"machine={re.sub(r'[^A-Za-z0-9_.-]', '-', machine)}"


class _Writers:
    """One machine's Parquet files under way; whole ones take the place of the old when it ends without an error."""

    def __init__(self, out: Path, machine: str) -> None:
        self._paths = {name: _folder(out, name, machine) / "part.parquet" for name in TABLES}
        self._rows: dict[str, list[tuple[LoadedRun, object]]] = {name: [] for name in TABLES}
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> _Writers:
        return self

    def add(self, run: LoadedRun) -> None:
        """Take a run's rows; write when enough have come together."""
        for name, table in TABLES.items():
            self._rows[name] += [(run, record) for record in table.rows(run)]
            if len(self._rows[name]) >= _ROWS_AT_ONCE:
                self._write(name)

    def __exit__(self, kind: object, *_rest: object) -> None:
        for name in TABLES if kind is None else ():
            self._write(name)
        for writer in self._writers.values():
            writer.close()
        for path in self._paths.values():
            part = path.with_suffix(".part")
            if kind is None and part.exists():
                part.replace(path)
            else:
                part.unlink(missing_ok=True)

    def _write(self, name: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, self._rows[name] = self._rows[name], []
        schema, columns = _schema(name), TABLES[name].columns
        if name not in self._writers:
            self._paths[name].parent.mkdir(parents=True, exist_ok=True)
            self._writers[name] = pq.ParquetWriter(self._paths[name].with_suffix(".part"), schema, compression="zstd")
        data = {column.name: [column.extract(run, record) for run, record in rows] for column in columns}
        self._writers[name].write_table(pa.table(data, schema=schema))


def _schema(name: str) -> pa.Schema:
    """Describe a table's columns by unit and meaning, which a reader of the file finds in each field's metadata."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(
                column.name,
                getattr(pa, _ARROW_TYPES[column.type])(),
                metadata={"unit": column.unit, "description": column.description},
            )
            for column in TABLES[name].columns
        ]
    )

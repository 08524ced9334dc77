"""Results as Parquet tables: nothing is lost, nothing counts twice, and only what changed is written again."""

import shutil
from pathlib import Path

import msgspec
import pytest

from rtxbench.errors import RecordError, UsageError
from rtxbench.results.store import load_results
from rtxbench.results.tables import TABLES, export, is_tables, table_columns
from tests.synthetic import CPU_ONLY, LAPTOP, write_results

pq = pytest.importorskip("pyarrow.parquet")


def _rows(out: Path, table: str) -> list[dict[str, object]]:
    files = sorted((out / table).glob("*/*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]


def test_each_record_stands_in_a_table_as_it_was_written(tmp_path: Path) -> None:
    """The column ``record`` holds the whole line: the tables lose nothing that the files hold."""
    results = write_results(tmp_path / "results", (CPU_ONLY, LAPTOP), traces=False)
    done = export([results], tmp_path / "tables")
    stored = {msgspec.json.encode(record).decode() for run in load_results([results]) for record in run.records}
    tables = ("cases", "ratios", "observations")
    exported = {row["record"] for table in tables for row in _rows(tmp_path / "tables", table)}
    assert exported == stored
    assert done.records == len(stored)
    assert is_tables(tmp_path / "tables")


def test_the_schema_is_stated_in_the_file(tmp_path: Path) -> None:
    """Every column has the name, the unit and the meaning of its row in `rtxbench.results.frames`."""
    out = tmp_path / "tables"
    export([write_results(tmp_path / "results", (CPU_ONLY,), traces=False)], out)
    for table in TABLES:
        schema = pq.read_schema(next((out / table).glob("*/*.parquet")))
        columns = table_columns(table)
        assert schema.names == [column.name for column in columns]
        assert schema.field(0).metadata[b"description"].decode() == columns[0].description


def test_only_machines_with_new_files_are_written_again(tmp_path: Path) -> None:
    """A second export keeps what has not changed; a machine that is gone leaves the tables."""
    results, out = write_results(tmp_path / "results", (CPU_ONLY, LAPTOP), traces=False), tmp_path / "tables"
    export([results], out)
    again = export([results], out)
    assert (again.machines_written, again.machines_unchanged) == (0, 2)
    shutil.rmtree(results / LAPTOP.machine)
    export([results], out)
    assert {row["machine"] for row in _rows(out, "runs")} == {CPU_ONLY.machine}


def test_a_copied_file_counts_once_and_a_bad_one_is_named(tmp_path: Path) -> None:
    """Copies of one run are one run; a file that cannot be read is left out with its reason."""
    results, out = write_results(tmp_path / "results", (CPU_ONLY,), traces=False), tmp_path / "tables"
    (path,) = results.rglob("*.jsonl")
    shutil.copy(path, path.with_name("copy.jsonl"))
    path.with_name("bad.jsonl").write_text(path.read_text().splitlines()[0] + '\n{"kind": "case"}\n')
    done = export([results], out)
    assert len(_rows(out, "runs")) == 1
    assert done.records == len(load_results([path])[0].records)
    assert ["bad.jsonl" in str(error) for error in done.unreadable] == [True]
    with pytest.raises(RecordError, match="bad"):
        export([results], tmp_path / "strict", strict=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    """An export never writes among files that are not its own."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="other things"):
        export([write_results(tmp_path / "results", (LAPTOP,), traces=False)], tmp_path)

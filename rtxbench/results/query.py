"""SQL over results by DuckDB: JSON lines and exported tables alike, read only, and nothing but the results.

JSON lines are exported to a temporary folder first, through the boundary for foreign files; so both kinds are the same
four views (``cases``, ``ratios``, ``observations``, ``runs``) with the same columns, and memory is bounded. Only one
``SELECT`` is accepted; DuckDB may open no file outside the tables, loads no extension, and its settings are locked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rtxbench.errors import RecordError, UsageError
from rtxbench.results.tables import TABLES, export, is_tables, library_or_refuse, table_columns

if TYPE_CHECKING:
    import duckdb

__all__ = ["MOST_MEMORY", "QueryAnswer", "ask", "database_errors", "opened"]

MOST_MEMORY: Final = "1GiB"
"""DuckDB's share; beyond it, it spills to a temporary folder."""


class QueryAnswer(NamedTuple):
    """Rows of a query, and the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: bool
    """Rows were left out beyond the asked-for number."""


def ask(sql: str, paths: Sequence[Path], most_rows: int | None = None) -> QueryAnswer:
    """Answer one ``SELECT`` over the results under ``paths``.

    Args:
        sql: over the views ``cases``, ``ratios``, ``observations`` and ``runs``.
        paths: results files or folders, or one folder of exported tables.
        most_rows: return no more; all where ``None``.

    Raises:
        UsageError: no ``SELECT``, or one that DuckDB refuses.
        RecordError: a results file cannot be read.
    """
    with opened(paths) as connection:
        _check_select(connection, sql)
        database = library_or_refuse("duckdb")
        try:
            cursor = connection.execute(sql)
            rows = cursor.fetchall() if most_rows is None else cursor.fetchmany(most_rows + 1)
        except database.Error as error:
            raise UsageError(
                f"the query failed: {_first_line(error)}.",
                next_step='`rtxbench query "describe cases"` lists a table\'s columns; docs/columns.md explains them.',
            ) from error
        names = tuple(str(column[0]) for column in cursor.description or ())
    more = most_rows is not None and len(rows) > most_rows
    return QueryAnswer(names, rows[:most_rows] if more else rows, more)


@contextmanager
def opened(paths: Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the results as views of a database in memory that can reach nothing else.

    Raises:
        UsageError: duckdb or pyarrow is missing, or tables and other results are named together.
        RecordError: a results file cannot be read.
    """
    library_or_refuse("duckdb")
    tables = [path for path in paths if is_tables(path)]
    if tables and len(paths) > 1:
        raise UsageError("exported tables are asked alone.", next_step="Export all results to one folder first.")
    with tempfile.TemporaryDirectory(prefix="rtxbench-query-") as scratch:
        folder = tables[0] if tables else Path(scratch) / "tables"
        if not tables:
            export(paths, folder, strict=True)
        connection = _connection(folder.resolve(), Path(scratch) / "spill")
        try:
            yield connection
        finally:
            connection.close()


def _connection(folder: Path, spill: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    settings = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(":memory:", config={**settings, "memory_limit": MOST_MEMORY})
    connection.execute(f"set temp_directory = {_quoted(str(spill))}")
    for name in TABLES:
        files = [str(path) for path in sorted((folder / name).glob("*/*.parquet")) if path.is_file()]
        with database_errors(folder):
            connection.execute(f"create view {name} as {_source(name, files)}")
    connection.execute(f"set allowed_directories = [{_quoted(str(folder) + '/')}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


@contextmanager
def database_errors(folder: Path) -> Iterator[None]:
    """Translate DuckDB's errors about the tables of ``folder``: they are damaged, or not what an export wrote."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise RecordError(
            f"the tables in {folder} cannot be read: {_first_line(error)}.", next_step="Export them again."
        ) from error


_SQL_TYPES: Final = {"string": "varchar", "Float64": "double", "Int64": "bigint", "boolean": "boolean"}


def _source(name: str, files: Sequence[str]) -> str:
    """Return the rows of a table's files; of none, its columns without rows."""
    if files:
        listed = ", ".join(map(_quoted, files))
        return f"select * from read_parquet([{listed}], hive_partitioning = false)"
    columns = ", ".join(f'null::{_SQL_TYPES[column.type]} as "{column.name}"' for column in table_columns(name))
    return f"select {columns} where false"


def _check_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"that is not SQL: {_first_line(error)}.", next_step="Ask one SELECT.") from error
    kinds = [statement.type for statement in statements]
    if kinds not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.EXPLAIN]):
        raise UsageError(
            "a query is one SELECT; results are never changed by it.",
            next_step='For example: rtxbench query "select workload, max(throughput_per_s) from cases group by all".',
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"

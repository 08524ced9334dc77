"""SQL over results: JSON lines and Parquet answer alike, and a query reaches nothing but the results."""

from pathlib import Path

import pytest

from rtxbench.errors import UsageError
from rtxbench.results.query import ask
from rtxbench.results.query_text import as_csv_text, as_json_text, as_table_text
from rtxbench.results.store import load_results
from rtxbench.results.tables import export
from tests.synthetic import CPU_ONLY, LAPTOP, write_results

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("q") / "results", (CPU_ONLY, LAPTOP), traces=False)


@pytest.fixture(scope="module")
def tables(results: Path) -> Path:
    out = results.parent / "it's tables"  # a quote in a folder's name is no SQL
    export([results], out)
    return out


def test_json_lines_and_parquet_answer_alike(results: Path, tables: Path) -> None:
    """One question, the same answer, whichever form the results have."""
    sql = "select machine, status, count(*) as n, median(throughput_per_s) from cases group by all order by all"
    assert ask(sql, [results]) == ask(sql, [tables])


def test_counts_are_those_of_the_records(results: Path, tables: Path) -> None:
    """The three tables together hold every record of every run."""
    sql = "select (select count(*) from cases) + (select count(*) from ratios) + (select count(*) from observations)"
    assert ask(sql, [tables]).rows == [(sum(len(run.records) for run in load_results([results])),)]


@pytest.mark.parametrize(
    "sql",
    [
        "copy cases to 'stolen.csv'",
        "drop view cases",
        "select 1; drop view cases",
        "attach 'other.db'",
        "install httpfs",
        "set memory_limit = '100GB'",
        "pragma database_list",
        "export database 'here'",
        "create table t as select 1",
        "select",
        "",
    ],
)
def test_anything_but_one_select_is_refused(tables: Path, sql: str) -> None:
    """Statements that write, load or change settings never run."""
    with pytest.raises(UsageError, match=r"SELECT|SQL|failed"):
        ask(sql, [tables])


@pytest.mark.parametrize(
    "function", ["read_text('/etc/passwd')", "read_csv('../secret.csv')", "glob('/etc/*')", "'/etc/passwd'",
                 "read_parquet('https://example.org/x.parquet')", "sniff_csv('/etc/passwd')"],
)  # fmt: skip
def test_a_query_opens_no_file_outside_the_results(tables: Path, tmp_path: Path, function: str) -> None:
    """Table functions that read files reach the tables' folder alone, and no network."""
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    with pytest.raises(UsageError, match="failed"):
        ask(f"select * from {function}", [tables])


def test_an_answer_is_printed_as_table_csv_and_json(tables: Path) -> None:
    """The terminal's table says where rows are left out; a text that is a formula is none in CSV."""
    answer = ask("select '=1+1' as a, 2.5 as b union all select 'x\x1b[31m', null order by a", [tables], 1)
    assert as_table_text(answer).splitlines()[-1].startswith("more rows than 1")
    every = ask("select '=1+1' as a, 2.5 as b union all select 'x\x1b[31m', null order by a", [tables])
    assert as_csv_text(every).splitlines()[:2] == ["a,b", "'=1+1,2.5"]
    assert as_json_text(every).startswith('[{"a":"=1+1"')
    assert "\x1b" not in as_table_text(every)


def test_results_without_a_kind_of_record_still_have_its_table(tmp_path: Path) -> None:
    """A table without rows has its columns, so that a query on it answers with none."""
    folder = tmp_path / "tables"
    export([write_results(tmp_path / "r", (LAPTOP,), traces=False)], folder)
    for path in (folder / "ratios").rglob("*.parquet"):
        path.unlink()
    assert ask("select ratio, comparison from ratios", [folder]).rows == []

"""A report from exported tables: the same answers as from the files, and of many records those that a page needs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rtxbench.errors import RecordError
from rtxbench.records import Verdict
from rtxbench.results import selection
from rtxbench.results.selection import select_runs
from rtxbench.results.store import load_results
from rtxbench.results.tables import export
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.judge import judge
from tests.synthetic import BIG_GPU, CPU_ONLY, LAPTOP, write_results

pytest.importorskip("duckdb")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("s") / "results", (BIG_GPU, CPU_ONLY, LAPTOP), runs=2, traces=False)


@pytest.fixture(scope="module")
def tables(results: Path) -> Path:
    export([results], results.parent / "tables")
    return results.parent / "tables"


def test_the_reader_s_machine_is_judged_as_from_its_files(results: Path, tables: Path) -> None:
    """All records of the machine come from the tables, so that every verdict on it is the same."""
    chosen = select_runs(tables, CPU_ONLY.machine)
    assert chosen.focus == CPU_ONLY.machine
    own = [run for run in chosen.runs if run.run.environment.machine == CPU_ONLY.machine]
    from_tables, from_files = (judge(runs, load_claims()) for runs in (own, load_results([results / CPU_ONLY.machine])))
    assert _said(from_tables) == _said(from_files)


def _said(verdicts: Sequence[Verdict]) -> dict[tuple[str, str], tuple[str, object]]:
    return {(verdict.claim, verdict.subject): (verdict.state, verdict.estimate) for verdict in verdicts}


def test_of_other_machines_the_latest_of_each_comparison_is_read(results: Path, tables: Path) -> None:
    """Two runs of one comparison become one, with both of its cases; the sentence counts what was left out."""
    chosen = select_runs(tables, CPU_ONLY.machine)
    whole = load_results([results])
    others = [run for run in chosen.runs if run.run.environment.machine == LAPTOP.machine]
    records = {record.record_id for run in others for record in run.records}
    assert 0 < len(records) < sum(len(run.records) for run in whole if run.run.environment.machine == LAPTOP.machine)
    pairs = [record for run in others for record in run.records if hasattr(record, "baseline_record")]
    assert pairs
    assert all({pair.baseline_record, pair.candidate_record} <= records for pair in pairs)
    assert f"of {sum(len(run.records) for run in whole):,} records" in chosen.sentence


def test_own_records_beyond_the_limit_are_left_out(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a machine has, memory is bounded by the limit."""
    monkeypatch.setattr(selection, "MOST_OWN_RECORDS", 10)
    chosen = select_runs(tables, CPU_ONLY.machine)
    assert sum(len(run.records) for run in chosen.runs if run.run.environment.machine == CPU_ONLY.machine) == 10


def test_a_table_whose_record_was_changed_is_refused(tables: Path, tmp_path: Path) -> None:
    """What a table holds passes the boundary of a file: a record that cannot be is an error, not a page."""
    import shutil

    import pyarrow as pa

    copy = Path(shutil.copytree(tables, tmp_path / "tables"))
    path = next((copy / "cases").glob(f"*{CPU_ONLY.machine}*/*.parquet"))
    table = pq.ParquetFile(path).read()
    changed = [
        text.replace('"throughput_per_s":{"value":', '"throughput_per_s":{"value":9')
        for text in table["record"].to_pylist()
    ]
    column = table.schema.get_field_index("record")
    pq.write_table(table.set_column(column, "record", pa.array(changed)), path)
    with pytest.raises(RecordError):
        select_runs(copy, CPU_ONLY.machine)


def test_damaged_tables_are_said_to_be_damaged(tables: Path, tmp_path: Path) -> None:
    """A file that is no Parquet ends in one sentence with what to do."""
    import shutil

    copy = Path(shutil.copytree(tables, tmp_path / "tables"))
    next((copy / "ratios").glob("*/*.parquet")).write_bytes(b"no parquet at all")
    with pytest.raises(RecordError, match="Export them again"):
        select_runs(copy)

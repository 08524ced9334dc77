"""Made-up results for the load curve: they load, are judged like real ones, and cost little to write."""

from pathlib import Path

import pytest

from rtxbench.results.store import load_results
from rtxbench.robustness import load
from rtxbench.robustness.load import RECORDS_PER_RUN, load_curve, write_made_up
from rtxbench.verdicts.claims import load_claims
from rtxbench.verdicts.judge import judge


def test_made_up_results_load_and_are_judged(tmp_path: Path) -> None:
    """They pass the boundary that strangers' files pass, and bfloat16 at 0.82× of float32 refutes its claim."""
    count = write_made_up(tmp_path, 100, machines=2)
    runs = load_results([tmp_path])
    assert sum(len(run.records) for run in runs) == count == len(runs) * RECORDS_PER_RUN
    verdicts = judge(runs, load_claims())
    assert any(verdict.state == "refuted" for verdict in verdicts)


def test_each_point_of_the_curve_is_measured(tmp_path: Path) -> None:
    """Processor time, memory and input are of the command itself: more than nothing."""
    (point,) = load_curve([40], ["claims"], tmp_path, machines=1)
    assert point.records == 64
    assert point.cpu_s > 0.1
    assert point.peak_bytes > 20 * 2**20
    assert point.input_bytes > 10_000
    assert point.page_bytes is None


def test_tables_hold_the_base_as_often_as_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are other machines with ids of their own, and a report can be made of any of them."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    from rtxbench.results.query import ask
    from rtxbench.results.selection import select_runs

    monkeypatch.setattr(load, "_BASE_RECORDS", 100)
    count = load.write_made_up_tables(tmp_path, 250, machines=2)
    sql = "select count(distinct machine), sum(records), count(distinct run_id) from runs"
    (row,) = ask(sql, [tmp_path]).rows
    assert row == (4, count, count // RECORDS_PER_RUN)
    assert select_runs(tmp_path, "made-up-1-00001").focus == "made-up-1-00001"

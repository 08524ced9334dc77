"""A machine counts once, whatever it sent, and the figures are those of the records."""

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtxbench.records import CaseRecord
from rtxbench.results.store import load_results

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

from rtxbench.results.query import opened
from rtxbench.results.tables import export
from rtxbench.robustness.load import RECORDS_PER_RUN, made_up_runs, write_made_up
from rtxbench.site import aggregates
from rtxbench.site.machines import machines_of
from rtxbench.site.rows import Figures
from rtxbench.stats import student_t
from rtxbench.verdicts.statistics.pooling import LogRatio
from rtxbench.verdicts.statistics.spread import spread_of
from tests.site.fleets import CARDS, write_fleet

CASE = ("GeForce RTX 3090", "resnet50", "float32")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fleet(tmp_path_factory.mktemp("fleet") / "results")


def prepared(results: Path, scratch: Path) -> Iterator[Any]:
    export([results], scratch / "tables")
    with opened([scratch / "tables"]) as connection:
        aggregates.prepare(connection, list(machines_of(connection, scratch / "tables")))
        yield connection


def figure_of(results: Path, scratch: Path) -> Figures:
    for connection in prepared(results, scratch):
        rows = aggregates.figures(connection)
    (found,) = (row for row in rows if (row.device, row.workload, row.precision) == CASE)
    return found


def speeds(results: Path) -> list[float]:
    """One throughput a machine with an RTX 3090, of the case above."""
    return sorted(
        record.measurement.throughput_per_s.value
        for run in load_results([results])
        if run.run.environment.gpus[0].name == f"NVIDIA {CASE[0]}"
        for record in run.of_kind(CaseRecord)
        if (record.case.workload, record.case.precision) == CASE[1:] and record.measurement is not None
    )


def test_a_card_s_figure_is_the_median_of_its_machines(results: Path, tmp_path: Path) -> None:
    """Median and extremes follow from the records, read by the ordinary loader."""
    own, found = speeds(results), figure_of(results, tmp_path)
    assert found.machines == len(own) == 4
    assert found.speed.median == pytest.approx(statistics.median(own), rel=1e-5)
    assert (found.speed.least, found.speed.greatest) == pytest.approx((own[0], own[-1]), rel=1e-5)


def test_a_machine_that_sends_much_moves_no_more_than_one_that_sends_little(tmp_path: Path) -> None:
    """Twenty more runs of one machine leave the number of machines and the range as they were."""
    results = write_fleet(tmp_path / "results")
    before = figure_of(results, tmp_path / "before")
    for slug, run_id, text in made_up_runs(1, 20, CARDS):
        (results / slug / f"{run_id}.jsonl").write_text(text)
    after = figure_of(results, tmp_path / "after")
    assert after.machines == before.machines
    assert after.speed == before.speed


def test_the_spread_is_that_of_the_report(results: Path, tmp_path: Path) -> None:
    """Between and within machines are parted by the statistics that the report's own section uses."""
    for connection in prepared(results, tmp_path):
        rows = list(aggregates.spreads(connection))
    (found,) = (row for row in rows if (row.case.device, row.case.workload, row.case.precision) == CASE)
    logs = []
    for run in load_results([results]):
        if run.run.environment.gpus[0].name != f"NVIDIA {CASE[0]}":
            continue
        for record in run.of_kind(CaseRecord):
            if (record.case.workload, record.case.precision) == CASE[1:] and record.measurement is not None:
                estimate = record.measurement.throughput_per_s
                assert estimate.low is not None
                assert estimate.high is not None
                half = math.log(estimate.high / estimate.low) / 2
                error = half / student_t(0.975, estimate.n - 1.0)
                logs.append(LogRatio(math.log(estimate.value), error, estimate.n - 1.0, estimate.n))
    expected = spread_of(logs)
    assert (found.between, found.within) == pytest.approx((expected.between, expected.within), rel=1e-4)


def test_a_return_in_another_month_is_compared_with_the_machine_itself(tmp_path: Path) -> None:
    """Twenty-nine runs reach the second month; each machine is there compared with its own first month."""
    count = write_made_up(tmp_path / "results", 29 * 3 * RECORDS_PER_RUN, 3, CARDS)
    assert count == 87 * RECORDS_PER_RUN
    for connection in prepared(tmp_path / "results", tmp_path):
        first, second = aggregates.months(connection)
    assert (first.month, first.ratio, first.returning) == ("2026-01", None, 0)
    assert second.returning == 3
    assert second.ratio is not None
    assert second.ratio.median == pytest.approx(1.0)  # a made-up machine measures the same every day


def test_versions_are_compared_on_the_same_machine_only(results: Path, tmp_path: Path) -> None:
    """Machines with one version each give no comparison of versions, though they differ in version."""
    for connection in prepared(results, tmp_path):
        assert len({row.version for row in aggregates.version_figures(connection)}) > 1
        assert aggregates.successors(connection) == []

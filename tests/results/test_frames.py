"""Records become frames: right values, missing kept missing, columns documented."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec import structs

from rtxbench.records import Case, CaseRecord, RatioRecord
from rtxbench.results import frames
from rtxbench.results.store import LoadedRun, load_results
from tests.synthetic import BIG_GPU, CPU_ONLY, write_results

COLUMNS_PAGE = Path(__file__).parents[2] / "docs" / "columns.md"


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as a mapping from column to plain Python value, ``None`` where there is none."""
    plain = frame.astype(object).where(frame.notna(), None)
    return plain.to_dict("records")  # type: ignore[return-value]  # column names are strings here


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[LoadedRun]:
    folder = tmp_path_factory.mktemp("results")
    return load_results([write_results(folder, (BIG_GPU, CPU_ONLY), traces=False)])


def test_every_case_record_is_one_row_with_its_own_figures(runs: list[LoadedRun]) -> None:
    """No record is lost or merged, and a row holds exactly its record's figures."""
    records = {record.record_id: record for run in runs for record in run.of_kind(CaseRecord)}
    table = list(rows_of(frames.cases_frame(runs)))
    assert len(table) == len(records)
    for row in table:
        record = records[row["record_id"]]
        assert row["status"] == record.status
        if record.measurement:
            assert row["throughput_per_s"] == record.measurement.throughput_per_s.value
            assert row["throughput_low_per_s"] == record.measurement.throughput_per_s.low
            assert row["batch_size"] == record.case.batch_size


def test_missing_is_none_and_never_zero_or_nan(runs: list[LoadedRun]) -> None:
    """A skipped case has no figure at all, and its reason."""
    skipped = [row for row in rows_of(frames.cases_frame(runs)) if row["status"] == "skipped"]
    assert skipped
    for row in skipped:
        assert row["reason"]
        assert row["throughput_per_s"] is None
        assert row["peak_memory_bytes"] is None
        assert row["warmup_ok"] is None


def test_a_machine_without_gpu_has_no_gpu_figure(runs: list[LoadedRun]) -> None:
    """GPU columns are empty where no GPU was recorded, host columns are not."""
    rows = [row for row in rows_of(frames.cases_frame(runs)) if row["machine"] == CPU_ONLY.machine]
    measured = [row for row in rows if row["status"] == "measured"]
    assert measured
    assert all(row["gpu"] is None and row["gpu_power_w"] is None for row in measured)
    assert all(row["gpu_energy_per_example_j"] is None for row in measured)
    assert all(row["cpu_utilization_ratio"] == 0.97 for row in measured)


def test_derived_columns_follow_from_the_measured_ones(runs: list[LoadedRun]) -> None:
    """Tokens/s, FLOP/s and energy are products and quotients of stored figures, with the right units."""
    rows = [row for row in rows_of(frames.cases_frame(runs)) if row["workload"] == "bert-base"]
    row = next(row for row in rows if row["status"] == "measured" and row["gpu_power_w"])
    assert row["tokens_per_s"] == pytest.approx(128 * row["throughput_per_s"])
    assert row["flop_per_s"] == pytest.approx(row["flops_per_step"] / row["step_time_s"])
    assert row["gpu_energy_per_example_j"] == pytest.approx(row["gpu_power_w"] / row["sustained_throughput_per_s"])


def test_without_a_stretch_alone_there_is_no_figure_of_one_arms_power(runs: list[LoadedRun]) -> None:
    """Sensors of interleaved blocks show a mixture of the arms: no watts, joules, clocks or utilisation of them."""
    run = runs[0]
    record = next(r for r in run.of_kind(CaseRecord) if r.measurement and r.measurement.sustained)
    assert record.measurement is not None
    interleaved = structs.replace(record, measurement=structs.replace(record.measurement, sustained=None))
    alone, mixed = rows_of(frames.cases_frame([run._replace(records=(record, interleaved))]))
    for column in ("gpu_power_w", "gpu_energy_per_example_j", "sm_clock_hz", "gpu_utilization_ratio"):
        assert alone[column] is not None
        assert mixed[column] is None


def test_a_refused_power_figure_says_why(runs: list[LoadedRun]) -> None:
    """The reason stands in the row's missing column."""
    run = runs[0]
    record = next(r for r in run.of_kind(CaseRecord) if r.measurement and r.measurement.sustained)
    assert record.measurement is not None
    refused = structs.replace(
        record.measurement.sustained,
        power_w=None,
        energy_per_example_j=None,
        missing={"power_w": "no instant power"},
    )
    record = structs.replace(record, measurement=structs.replace(record.measurement, sustained=refused))
    (row,) = rows_of(frames.cases_frame([run._replace(records=(record,))]))
    assert row["gpu_power_w"] is None
    assert "no instant power" in row["missing"]


def test_ratio_rows_name_what_differs(runs: list[LoadedRun]) -> None:
    """A comparison is named by the fields in which its two cases differ, and only by those."""
    run = runs[0]
    record = run.of_kind(RatioRecord)[0]
    row = rows_of(frames.ratios_frame([run]))[0]
    assert row["ratio"] == record.ratio.value
    assert row["replicates"] == 5
    assert frames.comparison(record.candidate, record.baseline).endswith("÷ float32")
    plain = Case(workload="mlp", batch_size=8)
    assert frames.comparison(structs.replace(plain, compiler="xla"), plain) == "xla ÷ no compiler"
    assert frames.comparison(plain, plain) == "the same case twice"


def test_observations_keep_every_value(runs: list[LoadedRun]) -> None:
    """An observation's values are all there, readable back as floats."""
    rows = list(rows_of(frames.observations_frame(runs)))
    assert len(rows) == 4
    assert all(len([float(value) for value in row["values"].split()]) == row["replicates"] == 5 for row in rows)


def test_no_records_give_empty_frames_with_all_columns() -> None:
    """The frames of nothing have the same columns as the frames of something."""
    assert list(frames.cases_frame([]).columns) == [column.name for column in frames.CASE_COLUMNS]
    assert len(frames.ratios_frame([])) == 0


def test_column_names_are_unique_and_end_in_their_unit() -> None:
    """A quantity's name ends in its unit."""
    endings = {"s": "_s", "B": "_bytes", "W": "_w", "Hz": "_hz", "°C": "_c", "ratio": "ratio", "J": "_j"}
    for columns in (frames.CASE_COLUMNS, frames.RATIO_COLUMNS, frames.OBSERVATION_COLUMNS):
        names = [column.name for column in columns]
        assert len(names) == len(set(names))
        for column in columns:
            if not column.name.startswith("ratio_"):
                assert column.name.endswith(endings.get(column.unit, "")), column.name


def test_the_columns_page_is_generated_from_the_tables() -> None:
    """docs/columns.md says what the code does; RTXBENCH_UPDATE_GOLDEN=1 writes it anew."""
    if os.environ.get("RTXBENCH_UPDATE_GOLDEN"):
        COLUMNS_PAGE.parent.mkdir(exist_ok=True)
        COLUMNS_PAGE.write_text(frames.columns_markdown(), encoding="utf-8")
    assert COLUMNS_PAGE.read_text(encoding="utf-8") == frames.columns_markdown()


def test_rows_without_pandas_are_those_of_the_frame(runs: list[LoadedRun]) -> None:
    """A page, which needs no frame, reads the very values that the CSV holds."""
    assert list(frames.case_rows(runs)) == list(rows_of(frames.cases_frame(runs)))

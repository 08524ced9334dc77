"""Samples of a recording as CSV."""

import csv
from pathlib import Path

import pytest

from rtxbench.errors import UsageError
from rtxbench.tracing.table import write_csv
from tests.tracing.recordings import SECOND, recorded


def test_every_sample_of_the_command_is_a_row(tmp_path: Path) -> None:
    """Seconds since it started, device, metric and value; what was recorded before it is left out."""
    trace = recorded(tmp_path / "t.trace.jsonl", [0.0] * 5 + [2.5] * 5)
    write_csv(trace, (SECOND + 1, 2 * SECOND), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cores = [row for row in rows if row["metric"] == "watched_cpu_cores"]
    assert [row["value"] for row in cores] == ["2.5"] * 5
    assert cores[0] == {"time_s": "0.200", "device": "host", "metric": "watched_cpu_cores", "value": "2.5"}
    assert len(rows) == 10


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """In a sentence."""
    with pytest.raises(UsageError, match="cannot be written"):
        write_csv(recorded(tmp_path / "t.trace.jsonl", [1.0]), (0, SECOND), tmp_path / "no" / "t.csv")

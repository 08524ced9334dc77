"""How long a report takes from 1,000 records: the whole command, as a user waits for it. Target: at most 5 s."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rtxbench.results.store import load_results
from tests.synthetic import BIG_GPU, CPU_ONLY, LAPTOP, write_results

pytestmark = pytest.mark.harness

ROOT = Path(__file__).parents[1]
RUNS_PER_MACHINE = 9
"""Nine runs of three machines: more than 1,000 records."""


def test_report_from_1000_records(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """``python -m rtxbench.report`` on 1,000 records of three machines with their traces, process start included."""
    write_results(tmp_path / "results", (BIG_GPU, CPU_ONLY, LAPTOP), runs=RUNS_PER_MACHINE)
    records = sum(len(run.records) for run in load_results([tmp_path / "results"]))
    assert records >= 1_000
    command = [sys.executable, "-m", "rtxbench.report", "results", "--out", "report"]

    def report() -> None:
        subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    benchmark.extra_info.update(records=records, target_s=5.0)
    benchmark.pedantic(report, rounds=3, iterations=1)

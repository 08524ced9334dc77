"""The main job through its real front: pytest-benchmark, real workers, real files."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rtxbench.records import CaseRecord, RatioRecord
from rtxbench.results.store import load_results
from tests.waiting import HANG_S, wait_until

pytest.importorskip("tensorflow", reason="the bench suite's default engine is TensorFlow")

ROOT = Path(__file__).parents[2]
SMOKE = ["--profile", "smoke", "--workload", "mlp"]


def environment() -> dict[str, str]:
    """The same plan on every machine (a GPU would add its cases), and a pytest of its own, no worker of this one."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**own, "CUDA_VISIBLE_DEVICES": "-1"}


def bench(
    results: Path, *options: str, claim: str = "cpu-matrix-unit", scope: Sequence[str] = SMOKE
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "bench/bench_claims.py", "--claim", claim]
    command += ["--benchmark-only", "--results", str(results), *scope, *options]
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=HANG_S
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder that one smoke run has filled."""
    folder = tmp_path_factory.mktemp("results")
    finished = bench(folder, "--benchmark-json", str(folder / "table.json"))
    (folder / "output.txt").write_text(finished.stdout + finished.stderr)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder


def test_the_native_table_shows_the_measured_step_times(results: Path) -> None:
    """pytest-benchmark's median equals the median of the record's own blocks: the replay is exact."""
    (run,) = load_results([results])
    stored = json.loads((results / "table.json").read_text())
    for row in stored["benchmarks"]:
        record = next(r for r in run.of_kind(CaseRecord) if r.record_id == row["extra_info"]["record_id"])
        launches = record.measurement.launches
        steps = [(end - start) / 1e9 / launch.steps_per_block for launch in launches for start, end in launch.blocks_ns]
        assert row["stats"]["median"] == pytest.approx(statistics.median(steps), rel=1e-6)
        assert row["stats"]["total"] == pytest.approx(sum(steps), rel=1e-6)
        assert row["extra_info"]["throughput_per_s"] == pytest.approx(record.measurement.throughput_per_s.value)


def test_the_run_stores_every_case_and_its_ratio(results: Path) -> None:
    """The measured cases, their ratio with its launches, the environment, the trace."""
    (run,) = load_results([results])
    cases = run.of_kind(CaseRecord)
    assert {case.status for case in cases} == {"measured"}
    assert all(case.hardware is not None for case in cases)
    *_, ratio = run.of_kind(RatioRecord)  # where the machine was disturbed, an earlier attempt is stored too
    assert len(ratio.log_ratios) == 2
    assert run.run.environment.packages["tensorflow"]
    assert run.path.with_suffix(".trace.jsonl").exists()


def test_the_terminal_says_throughput_ratio_verdict_and_the_next_step(results: Path) -> None:
    """The person who ran it reads the outcome without opening a file."""
    output = (results / "output.txt").read_text()
    assert re.search(r"cpu-matrix-unit: mlp/mixed_bfloat16/cpu/b128 .*× \[", output)
    assert re.search(r"cpu-matrix-unit +(not-measured|inconclusive|supported|refuted|mixed)", output)
    assert "next:    rtxbench report --open" in output
    assert "dlss" not in output  # nobody asked


def test_two_runs_compare_natively(results: Path, tmp_path: Path) -> None:
    """``--benchmark-compare`` reads what an earlier run saved; ``-k`` measures the chosen case with its baseline."""
    both = shutil.copytree(results, tmp_path / "both")
    finished = bench(both, "--benchmark-compare", "-k", "mixed_bfloat16 and cpu")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "(0001_" in finished.stdout
    assert "(NOW)" in finished.stdout
    assert "1 passed" in finished.stdout


def test_language_models_on_a_card_are_skipped_where_there_is_none(tmp_path: Path) -> None:
    """The claim on cards in its smallest profile: a machine without a GPU stores the case with what to do."""
    finished = bench(tmp_path, claim="rtx-30-40", scope=("--profile", "smoke"))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (run,) = load_results([tmp_path])
    cases = run.of_kind(CaseRecord)
    assert {(record.case.placement, record.status) for record in cases} == {("cpu", "skipped"), ("gpu", "skipped")}
    assert all("run the same command on one that has it" in (record.reason or "") for record in cases)
    assert re.search(r"rtx-30-40 +not-measured", finished.stdout)
    assert "2 cases skipped" in finished.stdout


def test_an_unknown_workload_is_a_usage_error_with_the_nearest_name(tmp_path: Path) -> None:
    """A typing error costs a sentence, not a traceback."""
    finished = bench(tmp_path, "--workload", "resnet5")
    assert finished.returncode in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    assert "Did you mean resnet50" in finished.stdout + finished.stderr


def test_ctrl_c_keeps_the_records_of_finished_groups(tmp_path: Path) -> None:
    """An interrupt during the run leaves a results file that loads, and says that records are kept."""
    command = [sys.executable, "-m", "rtxbench", "run", "--claim", "cpu-matrix-unit", "--results", str(tmp_path)]
    command += ["--profile", "smoke", "--workload", "mlp", "--workload", "mlp-wide"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: process.poll() is not None or _measured(tmp_path), "a measured case")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, errors
    assert "kept" in errors
    (run,) = load_results([tmp_path])
    assert any(case.status == "measured" for case in run.of_kind(CaseRecord))


def _measured(folder: Path) -> bool:
    runs = [path for path in folder.rglob("*.jsonl") if not path.name.endswith(".trace.jsonl")]
    return any('"status":"measured"' in path.read_text() for path in runs)


@pytest.mark.parametrize("arguments", [["rtxbench", "--help"], ["rtxbench.report", "--help"], ["rtxbench", "cards"]])
def test_the_fronts_import_no_engine(arguments: list[str]) -> None:
    """Help, report and catalogue start without TensorFlow, Keras, JAX or PyTorch."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = {arguments!r}\n"
        "try:\n    runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'keras', 'keras_hub', 'jax', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr

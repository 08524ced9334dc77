"""The self-test and the history from the command line, on real workers and very short blocks."""

import json
import os
import subprocess
import sys
from pathlib import Path

from rtxbench.gate.launching import GATE_PROFILES
from rtxbench.gate.records import NOTHING
from rtxbench.gate.selftest import SelftestRequest, run_selftest
from rtxbench.records import Observation
from rtxbench.results.store import load_results
from tests.integration.test_gate import PROJECT, SLEEPING


def rtxbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from rtxbench.cli import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )


def selftest(folder: Path, gates: int) -> tuple[int, int]:
    """Run a self-test of a sleeping step; (rows' gates, launches on record)."""
    (folder / "sleeping.py").write_text(SLEEPING.format(step_s=0.001))
    request = SelftestRequest(
        plan={NOTHING: gates},
        case="sleeping:case",
        root=folder,
        results_dir=folder / "results",
        profile=GATE_PROFILES["smoke"],
        replayed=50,
    )
    (row,), path = run_selftest(request, lambda _line: None)
    records = [record for run in load_results([path]) for record in run.of_kind(Observation)]
    return row.gates, sum(record.metric == "step_time_s" for record in records)


def test_selftest_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """One gate, then one more in a second run: the first is not measured again, both are in the sum."""
    gates, launches = selftest(tmp_path, 1)
    assert gates == 1
    again = selftest(tmp_path, 1)
    assert again == (1, launches)
    gates, more = selftest(tmp_path, 2)
    assert gates == 2
    assert more > launches


def test_replay_from_the_command_line(tmp_path: Path) -> None:
    """``--replay --json --figure`` measures nothing, prints the rows and draws them."""
    selftest(tmp_path, 1)
    picture = tmp_path / "rates.png"
    result = rtxbench("selftest", "gate", "--replay", str(tmp_path / "results"), "--json", "--figure", str(picture))
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)
    assert row["gates"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_history_without_gates_is_a_usage_error(tmp_path: Path) -> None:
    """An empty folder has no history, and the message says how to begin one."""
    result = rtxbench("history", str(tmp_path))
    assert result.returncode == 2
    assert "--history" in result.stderr

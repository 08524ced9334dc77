"""One job over two processes on the loopback, as a launcher starts it: it trains like one process, and is recorded."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rtxbench.engines.nodes.group import BUILD_SILENCE_LIMIT_S, SILENCE_LIMIT_S
from rtxbench.records import CaseRecord, RatioRecord
from rtxbench.results.store import load_results
from tests.fake_ranks import TOKEN, free_port

ROOT = Path(__file__).parents[2]
PLACEMENTS = {
    "tensorflow": "multi-worker-cpu",
    "torch": "ddp-nodes-cpu",
    "jax": "data-parallel-nodes-cpu",
}
LEAD = """
import json, os, sys
from rtxbench.engines import load_engine
from rtxbench.engines.refusals import default_compiler
from rtxbench.nodes.hub import gathered
from rtxbench.nodes.launcher import Seat
from rtxbench.records import Case
engine_name, placement, port, token = sys.argv[1:]
engine = load_engine(engine_name)
case = dict(workload="mlp", batch_size=32, engine=engine_name, compiler=default_compiler(engine_name))
def losses(step):
    step.activate()
    found = []
    for _ in range(5):
        step.run(1)
        found.append(step.loss())
    return found
one = engine.build(Case(**case), 0)
with gathered(Seat(0, 2, "127.0.0.1", int(port)), token, "m0", 120):
    both = engine.build(Case(**case, placement=placement, device_count=2), 0)
    print(json.dumps({
        "one": losses(one), "both": losses(both), "flops": [one.flops().value, both.flops().value],
        "gradient_bytes": both.gradient_bytes().value, "ranks": [node.rank for node in both.nodes()],
        "all_reduce_s": list(both.all_reduce_s(65536, 3)),
    }))
"""
LEND = """
import sys
from rtxbench.nodes.agent import serve_ranks
from rtxbench.nodes.launcher import Seat
serve_ranks(Seat(1, 2, "127.0.0.1", int(sys.argv[1])), sys.argv[2], "m1", 120)
"""


@contextmanager
def node(*command: str, folder: Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RTXBENCH_NODES_TOKEN": TOKEN, **variables}
    log = (folder / f"log{variables.get('NODE', '')}").open("w")
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        log.close()


@pytest.mark.parametrize("engine", PLACEMENTS)
def test_two_ranks_train_as_one_process_does(engine: str, tmp_path: Path) -> None:
    """Same seed and global batch: every loss agrees within rounding, FLOPs are those of the whole step."""
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    port = str(free_port())
    lead = ("-c", LEAD, engine, PLACEMENTS[engine], port, TOKEN)
    with (
        node("-c", LEND, port, TOKEN, folder=tmp_path, NODE="1") as other,
        node(*lead, folder=tmp_path, NODE="0", KERAS_BACKEND=engine) as first,
    ):
        said = first.communicate()[0]
        assert first.returncode == 0, (tmp_path / "log0").read_text()[-2000:]
        assert other.wait() == 0
    found: Mapping[str, Any] = json.loads(said.splitlines()[-1])
    assert found["both"] == pytest.approx(found["one"], rel=1e-5)
    assert found["one"][-1] < 0.9 * found["one"][0]
    assert found["flops"][1] == pytest.approx(found["flops"][0], rel=0.01)
    assert found["gradient_bytes"] == 4 * (784 * 512 + 512 + 512 * 10 + 10)
    assert found["ranks"] == [0, 1] and len(found["all_reduce_s"]) == 3 and min(found["all_reduce_s"]) > 0


def tf_config(port: int, index: int) -> str:
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}", "127.0.0.1:1"]}, "task": task})


def run(folder: Path, port: int, index: int, wait_s: int) -> Any:
    """`rtxbench run --nodes launcher` as TF_CONFIG's worker of that index."""
    words = ["--workload", "mlp", "--profile", "smoke", "--nodes-wait", str(wait_s), "--results", "results"]
    return node(
        *("-P", "-m", "rtxbench", "run", "--nodes", "launcher", *words),
        folder=folder,
        NODE=str(index),
        TF_CONFIG=tf_config(port, index),
        RTXBENCH_NODES_PORT=str(port),
    )


def test_a_run_over_two_nodes_stores_scaling_and_every_ranks_node(tmp_path: Path) -> None:
    """Adopted from TF_CONFIG: strong and weak scaling against one node, and where each rank was."""
    port = free_port()
    with run(tmp_path, port, 1, 300) as other, run(tmp_path, port, 0, 300) as first:
        first.communicate()
        assert first.returncode == 0, (tmp_path / "log0").read_text()[-2000:]
        assert other.wait() == 0
    (loaded,) = load_results([tmp_path / "results"])
    ratios = loaded.of_kind(RatioRecord)
    assert [(ratio.baseline.device_count, ratio.candidate.placement) for ratio in ratios] == [
        (1, PLACEMENTS["tensorflow"])
    ] * 2
    assert [ratio.candidate.batch_size // ratio.baseline.batch_size for ratio in ratios] == [1, 2]
    for record in loaded.of_kind(CaseRecord):
        assert record.status == "measured" and record.measurement is not None, record.reason
        ranks = record.measurement.nodes
        assert [one.rank for one in ranks] == list(range(record.case.device_count if ranks else 0))
        assert bool(ranks) == (record.case.device_count > 1)
        assert all(one.machine == loaded.run.environment.machine for one in ranks)


def test_a_rank_that_never_came_is_a_stored_failure(tmp_path: Path) -> None:
    """Both cases over two nodes fail with the missing rank's number; the one-node case is measured."""
    with run(tmp_path, free_port(), 0, 1) as first:
        first.communicate()
    (loaded,) = load_results([tmp_path / "results"])
    records = loaded.of_kind(CaseRecord)
    assert sorted((record.case.device_count, record.status) for record in records) == [
        (1, "measured"), (2, "failed"), (2, "failed")
    ]  # fmt: skip
    assert all("rank 1 did not come within 1 s" in (record.reason or "") for record in records if record.reason)


def test_a_lost_rank_is_noticed_within_half_a_minute() -> None:
    """The limits that decide it: a rank at work that says nothing for 15 s is lost; one that imports has longer."""
    assert SILENCE_LIMIT_S <= 25 < BUILD_SILENCE_LIMIT_S

"""The whole GPU self-test without a GPU: the driver is the stand-in, the engine computes on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtxbench.cli import app
from rtxbench.gpu_selftest.bundle import load_bundle
from rtxbench.gpu_selftest.checks import check_bundle
from tests.integration.test_selftest import rtxbench
from tests.nvml_stub import GPU0, build, compiler
from tests.waiting import HANG_S

RUN = """
import sys
from pathlib import Path
from rtxbench.cli.shared_file import anonymous_json
from rtxbench.gpu_selftest.request import Pace, GpuSelftestRequest
from rtxbench.gpu_selftest.session import run_gpu_selftest

request = GpuSelftestRequest(
    kind="cpu", engines=("tensorflow", "jax"), only=("float32",), workload="mlp", batch_size=64,
    limit_s=float(sys.argv[2]), pace=Pace(idle_s=0.2, busy_s=0.3, alone_s=0.6, turn_s=0.3, turns=3),
)
ask = lambda engine: 1 if engine == "tensorflow" else "jax sees no GPU in its process."
Path(sys.argv[1]).write_bytes(anonymous_json(run_gpu_selftest(request, print, ask)))
"""


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="no C compiler to build the NVML stand-in with")
def test_every_part_runs_and_what_cannot_says_why(tmp_path: Path) -> None:
    """One file holds the driver's probe, the ramp, the turns and the proof; kernels of a CPU have a reason instead."""
    pytest.importorskip("tensorflow")
    (tmp_path / "driver").mkdir()
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(build(tmp_path / "driver")),
        "NVML_STUB": "gpus=1 power_w=300 util=97 clock_mhz=2520 tensor=42",
        "CUDA_VISIBLE_DEVICES": GPU0,
    }
    path = tmp_path / "bundle.json"
    command = [sys.executable, "-c", RUN, str(path), "600"]
    subprocess.run(command, env=environment, check=True, timeout=5 * HANG_S, stdout=subprocess.DEVNULL)
    bundle = load_bundle(path)
    assert {part.name: part.status for part in bundle.parts} == {
        "engines": "done",
        "clock ramp": "done",
        "clock ramp and turns": "done",
        "precisions": "done",
    }
    assert bundle.ramp is not None
    assert {sample.sm_clock_hz for sample in bundle.ramp.samples} == {2.52e9}
    assert [arm.case.precision for arm in bundle.turns] == ["float32", "mixed_bfloat16"]
    (proof,) = bundle.proofs
    assert 0 < (proof.matmul_relative_error or 0) < 2e-6
    assert "GPU alone" in (bundle.kernels[0].reason or "")
    found = {check.name: check for check in check_bundle(bundle)}
    assert found["sensors"].state == found["precisions"].state == "holds"
    assert "42 % alone, 42 % in turns" in found["Tensor activity"].sentence.replace("\u202f", " ")
    assert GPU0 not in path.read_text()


def test_a_machine_without_a_gpu_gets_a_bundle_that_says_so(tmp_path: Path) -> None:
    """Exit code 3, and a file with the driver's own words, which is what a user with a broken driver sends."""
    path = tmp_path / "bundle.json"
    done = rtxbench("selftest", "gpu", "--bundle", "--out", str(path))
    if load_bundle(path).environment.gpus:
        pytest.skip("this machine has a GPU")
    assert done.returncode == 3, done.stderr
    assert "NVML" in done.stdout
    assert CliRunner().invoke(app, ["selftest", "gpu", "--read", str(path)]).stdout == done.stdout

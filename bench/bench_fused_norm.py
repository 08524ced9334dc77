"""Is Keras 3 with the fused normalisation as fast as the best a TensorFlow user could pick instead?

The rival is legacy Keras in an environment of its own: ``RTXBENCH_PYTHON_LEGACY`` names a Python with TensorFlow and
``tf_keras`` (its rtxbench is this one). On a quiet machine, ``--workload resnet50-64px`` for the small one::

    pytest bench/bench_fused_norm.py --benchmark-only --harness --profile standard
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from legacy_steps import LEGACY_STEPS

from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.session import Session
from rtxbench.records import Case
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import WorkerSpec

pytestmark = pytest.mark.harness

BATCH_SIZE = 8
BENCH = Path(__file__).parent


def legacy() -> WorkerSpec:
    """Name the Python and the search path that legacy Keras is started with; skip with the cure where there is none."""
    python = os.environ.get("RTXBENCH_PYTHON_LEGACY", sys.executable)
    found = subprocess.run([python, "-c", "import tf_keras"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("legacy Keras is not installed: name a Python that has tf_keras in RTXBENCH_PYTHON_LEGACY")
    paths = [str(BENCH.parent), str(BENCH), os.environ.get("PYTHONPATH", "")]
    return WorkerSpec(engine="python", python=python, environment={"PYTHONPATH": os.pathsep.join(filter(None, paths))})


def test_fused_normalisation_against_legacy_keras(
    request: pytest.FixtureRequest, bench_session: Session, benchmark
) -> None:
    """Keras 3 in float32 with the fused kernel ÷ legacy Keras ≥ 1.0, and what the plain form gives beside it."""
    (workload,) = request.config.getoption("--workload") or ["resnet50"]
    name = workload.replace("-", "_")
    rival = Case(workload=f"legacy_steps:{name}", batch_size=BATCH_SIZE * LEGACY_STEPS, engine="python")
    plain = Case(workload=workload, batch_size=BATCH_SIZE)
    ours = worker_spec("tensorflow")
    arms = [
        Arm(rival, legacy()),
        Arm(Case(workload=workload, batch_size=BATCH_SIZE, variant="fused-norm"), ours),
        Arm(plain, ours),
    ]
    group = f"fused-norm/{workload}"
    outcome = bench_session.measure_arms({group: arms}, purpose="rival")[group]
    benchmark.pedantic(lambda: None, rounds=1)
    assert not [record.reason for record in outcome.cases.values() if record.status == "failed"]
    fused, _ = outcome.ratios
    assert fused.ratio.high is not None
    assert fused.ratio.high >= 1.0

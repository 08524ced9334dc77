"""Ceilings that need several devices, on logical CPU devices: a functional check of the path, no figure of speed."""

import json
import subprocess
import sys

import pytest

from tests.waiting import HANG_S

pytestmark = pytest.mark.slow

TENSORFLOW = """
import json, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from rtxbench.engines import load_engine
load_engine("tensorflow")
"""
JAX = """
import json, os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["KERAS_BACKEND"] = "jax"
"""
MEASURE = """
from rtxbench.engines import load_engine
from rtxbench.engines.controls import device_controls
from rtxbench.diagnosis.ceilings import ProductFormat, measure_ceilings
engine = load_engine(%r)
found = measure_ceilings([ProductFormat("float32", "float32", False)], 1.0, device_controls(engine, "cpu"))
print(json.dumps({c.metric: [len(c.values), c.reason] for c in found}))
"""


@pytest.mark.parametrize(("engine", "start"), [("tensorflow", TENSORFLOW), ("jax", JAX)])
def test_two_devices_can_all_reduce(engine, start):
    """With two devices the all-reduce ceiling is a figure, and every other ceiling is one or has its reason."""
    pytest.importorskip(engine)
    code = start + MEASURE % engine
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["all_reduce_bytes_per_s"][0] >= 1
    assert found["gemm_flop_per_s"][0] >= 1
    assert all(values or reason for values, reason in found.values())

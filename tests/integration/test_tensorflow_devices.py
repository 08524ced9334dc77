"""TensorFlow computes on the device that a case names."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="the TensorFlow engine needs TensorFlow")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-m", "tests.tensorflow_devices"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_cases_products_run_on_its_own_device(found: dict[str, Any]) -> None:
    """Fault 1: with a GPU in the process, the CPU arm's convolutions and products still run on the CPU."""
    assert len(found["operations"]) >= 3
    assert {device for devices in found["operations"].values() for device in devices} == {"CPU:1"}


def test_each_replicas_share_lies_on_its_own_device(found: dict[str, Any]) -> None:
    """Fault 12: under MirroredStrategy no share of the batch has to cross from the first device in every step."""
    assert found["shares"] == [["CPU:0", "CPU:1"], ["CPU:0", "CPU:1"]]
    assert found["values"] == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]

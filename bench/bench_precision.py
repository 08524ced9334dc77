"""Does reduced precision train faster? The same model in float32, TF32, mixed_float16 and mixed_bfloat16."""

import pytest

from rtxbench.pytest_plugin import Arm, Measured


@pytest.mark.claim("tensor-cores")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)

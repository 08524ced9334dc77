"""Do several GPUs train faster than one? MirroredStrategy at the same and at N times the global batch."""

import pytest

from rtxbench.pytest_plugin import Arm, Measured


@pytest.mark.claim("data-parallel")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)

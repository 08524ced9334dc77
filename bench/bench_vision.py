"""Do image models train faster on the GPU than on the CPU, and faster still in mixed precision?"""

import pytest

from rtxbench.pytest_plugin import Arm, Measured


@pytest.mark.claim("vision")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)

"""Does a cheaper architecture train faster? Half the layers of BERT, and a separable against a full convolution."""

import pytest

from rtxbench.pytest_plugin import Arm, Measured


@pytest.mark.claim("architecture")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)

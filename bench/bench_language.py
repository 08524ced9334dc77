"""How much faster than the CPU beside it does the card train language models?"""

import pytest

from rtxbench.pytest_plugin import Arm, Measured


@pytest.mark.claim("rtx-30-40")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)

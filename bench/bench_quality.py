"""Is the faster run as good? Final accuracy and time to a fixed accuracy, reduced precision against float32."""

import pytest

from rtxbench.pytest_plugin import VIRTUAL_CLOCK, Trials


@pytest.mark.benchmark(group="equal-quality", timer=VIRTUAL_CLOCK)
def test_training_to_quality(trials: Trials) -> None:
    trials.run("equal-quality", shown="training_s")

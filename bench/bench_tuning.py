"""What do batch size, learning rate and EarlyStopping give?"""

import pytest

from rtxbench.pytest_plugin import VIRTUAL_CLOCK, Arm, Measured, Trials


@pytest.mark.claim("tuning")
def test_batch_sizes(arm: Arm, measured: Measured) -> None:
    measured.run(arm)


@pytest.mark.benchmark(group="tuning", timer=VIRTUAL_CLOCK)
def test_largest_batch_learning_rate_and_early_stopping(trials: Trials) -> None:
    trials.run("tuning", shown="training_s")

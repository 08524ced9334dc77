"""Do several GPUs train faster than one? MirroredStrategy at the same and N times the batch, and a split model."""

import pytest

from rtxbench.pytest_plugin import VIRTUAL_CLOCK, Arm, Measured, Trials


@pytest.mark.claim("data-parallel")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)


@pytest.mark.claim("model-parallel")
def test_split_model_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)


@pytest.mark.benchmark(group="model-parallel", timer=VIRTUAL_CLOCK)
def test_split_model_trains_the_same(trials: Trials) -> None:
    trials.run("model-parallel")

"""Do normalisation and augmentation improve accuracy and robustness, and does the input pipeline hold training up?"""

import pytest

from rtxbench.pytest_plugin import VIRTUAL_CLOCK, Trials


@pytest.mark.benchmark(group="augmentation", timer=VIRTUAL_CLOCK)
def test_accuracy_and_input_pipeline(trials: Trials) -> None:
    trials.run("augmentation")

"""Does a model survive saving and loading unchanged, and how fast does it answer?"""

import pytest

from rtxbench.pytest_plugin import VIRTUAL_CLOCK, Trials


@pytest.mark.benchmark(group="deployment", timer=VIRTUAL_CLOCK)
def test_round_trips_and_latency(trials: Trials) -> None:
    trials.run("deployment", shown="latency_p50_s")

"""Every claim and survey of ``claims.toml``, measured: throughput by the paired protocol, then what only a trial shows.

``--claim`` (repeatable) chooses some. Engines may live in environments of their own: ``.tox/jax`` and ``.tox/torch``
are found, ``RTXBENCH_PYTHON_JAX`` and ``RTXBENCH_PYTHON_TORCH`` name others; one that is nowhere is skipped with the
reason.
"""

import pytest

from rtxbench.pytest_plugin import Measured, PlannedCase, Trials


@pytest.mark.claim
def test_training_throughput(arm: PlannedCase, measured: Measured) -> None:
    measured.run(arm)


def test_trial(trial: tuple[str, str], trials: Trials) -> None:
    claim, shown = trial
    trials.run(claim, shown or None)

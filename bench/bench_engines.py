"""Is it the hardware or the framework? The same model and batch on TensorFlow, JAX and PyTorch, side by side.

An engine may live in an environment of its own: ``.tox/jax`` and ``.tox/torch`` are found, ``RTXBENCH_PYTHON_JAX``
and ``RTXBENCH_PYTHON_TORCH`` name others. Engines that are nowhere are skipped with the reason.
"""

import pytest

from rtxbench.pytest_plugin import Arm, Measured


@pytest.mark.claim("engines")
def test_training_throughput(arm: Arm, measured: Measured) -> None:
    measured.run(arm)

"""A step that returns before its device is done is found out."""

import time

import pytest

from rtxbench.engines.waiting import refuse_unfinished
from rtxbench.errors import MeasurementError


class Device:
    """Does its work beside whoever asked for it: it is busy until a certain time."""

    def __init__(self, *, step_waits: bool, busy_s: float = 0.1) -> None:
        self._until = 0.0
        self._busy_s = busy_s
        self._step_waits = step_waits

    def run(self, steps: int) -> None:
        self._until = time.monotonic() + steps * self._busy_s
        if self._step_waits:
            self.wait()

    def wait(self) -> None:
        while time.monotonic() < self._until:
            time.sleep(0.001)


def test_a_step_that_does_not_wait_is_refused() -> None:
    """The message says how long the device works on, and how to wait."""
    device = Device(step_waits=False)
    with pytest.raises(MeasurementError, match="while its device works on") as caught:
        refuse_unfinished(device.run, "model:train.build", device.wait)
    assert "block_until_ready" in caught.value.next_step


def test_a_step_that_waits_passes() -> None:
    """However long it takes."""
    device = Device(step_waits=True)
    refuse_unfinished(device.run, "model:train.build", device.wait)


def test_work_left_behind_once_is_no_proof() -> None:
    """A busy machine can make one wait look long; only a step that leaves work behind every time is refused."""
    device = Device(step_waits=False)

    def run(steps: int) -> None:
        device.run(steps)
        device._step_waits = True

    refuse_unfinished(run, "model:train.build", device.wait)


def test_an_asynchronous_jax_step_is_refused() -> None:
    """JAX hands back arrays that are still being computed, also on a CPU."""
    jax = pytest.importorskip("jax")
    matrix = jax.numpy.ones((1500, 1500))
    product = jax.jit(lambda a: (a @ a @ a @ a @ a).sum())
    held = []

    def run(steps: int) -> None:
        held.append(product(matrix))

    run(1)
    with pytest.raises(MeasurementError, match="while its device works on"):
        refuse_unfinished(run, "a jitted product")
    refuse_unfinished(lambda steps: jax.block_until_ready(product(matrix)), "a product that is waited for")

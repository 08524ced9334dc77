"""Losses and memory of the first steps, and the rule that finds a leak in them."""

import os
import random

from rtxbench.own.first_steps import LEAK_BYTES, first_steps, leak_bytes_per_step
from rtxbench.records import Case
from rtxbench.workers.protocol import Block, Build, Built, Describe, Described, Timed


def test_steady_growth_is_a_leak() -> None:
    """What every step adds is found under the noise of an allocator."""
    noise = random.Random(0)
    memory = [1e9 + 4e6 * number + noise.uniform(-1e6, 1e6) for number in range(20)]
    found = leak_bytes_per_step(memory)
    assert found is not None
    assert abs(found / 4e6 - 1) < 0.1


def test_an_allocator_that_settles_is_no_leak() -> None:
    """Growth in the first steps, or a jump now and then, is not every step's."""
    settling = [1e9 * (1 - 2.0**-number) for number in range(20)]
    assert leak_bytes_per_step(settling) is None
    jumping = [1e9 + 5e7 * (number // 5) for number in range(20)]
    assert leak_bytes_per_step(jumping) is None
    assert leak_bytes_per_step([1e9 + LEAK_BYTES / 9 * number for number in range(20)]) is None
    assert leak_bytes_per_step([1e9]) is None


class _Worker:
    """Stands in for a worker process whose loss falls by a tenth a step, and is not finite from the sixth on."""

    pid = os.getpid()

    def __init__(self) -> None:
        self.steps = 0

    def ask(self, request: object, expected: type, limit_s: float) -> object:
        match request:
            case Build():
                self.steps = 1
                return Built(build_s=0.0, first_step_s=0.0)
            case Block():
                self.steps += request.steps
                return Timed(start_ns=0, end_ns=1)
            case Describe():
                loss = 0.9**self.steps if self.steps < 6 else None
                return Described(loss=loss, peak_memory_bytes=None)
        raise AssertionError(request)

    def close(self) -> None:
        pass


def test_losses_are_those_of_consecutive_steps_until_one_is_not_finite() -> None:
    """The first is that of the first step; nothing is compared beyond a loss that is gone."""
    seen = first_steps(Case(workload="mlp", batch_size=1), start=_Worker)  # type: ignore[arg-type]
    assert seen.losses == tuple(0.9**number for number in range(1, 6))
    assert len(seen.memory_bytes) == len(seen.losses)

"""Check that a step has really ended when it returns: one that does not wait for its device cannot be timed."""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

from rtxbench.errors import MeasurementError
from rtxbench.units import format_duration

__all__ = ["refuse_unfinished", "wait_for_devices"]

_TRIES: Final = 3
"""A step is refused only if each of so many left work behind: a busy machine can make one wait look long."""
_SHARE: Final = 0.2
"""Of a step's time, that its device may go on after it has returned."""
_LEAST_S: Final = 0.001


def wait_for_devices() -> None:
    """Return when every device that an imported framework uses has nothing left to do."""
    torch, jax, tensorflow = (sys.modules.get(name) for name in ("torch", "jax", "tensorflow"))
    if torch is not None and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)
    if jax is not None:
        jax.block_until_ready([array for array in jax.live_arrays() if not array.is_deleted()])
    if tensorflow is not None:
        tensorflow.test.experimental.sync_devices()


def refuse_unfinished(run: Callable[[int], Any], name: str, wait: Callable[[], None] = wait_for_devices) -> None:
    """Run steps and see whether a device goes on after they have returned.

    Args:
        run: runs so many steps.
        name: of what is run, for the message.
        wait: returns when all devices have nothing left to do.

    Raises:
        MeasurementError: it does, every time.
    """
    found = []
    for _ in range(_TRIES):
        wait()
        began = time.monotonic()
        run(1)
        returned = time.monotonic()
        wait()
        waited = time.monotonic()
        wait()  # with nothing left to do: what the asking itself takes
        unfinished_s = (waited - returned) - (time.monotonic() - waited)
        if unfinished_s <= max(_LEAST_S, _SHARE * (waited - began)):
            return
        found.append((returned - began, unfinished_s))
    took_s, unfinished_s = min(found, key=lambda pair: pair[1])
    raise MeasurementError(
        f"a step of {name} returns after {format_duration(took_s)} while its device works on for "
        f"{format_duration(unfinished_s)}: its time would be that of starting the work, not of doing it.",
        next_step="Wait at the end of the step: torch.cuda.synchronize(), jax.block_until_ready(…), or read the loss.",
    )

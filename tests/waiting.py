"""Waiting for a fact instead of for a time: how long a busy machine takes for it is not what a test is about."""

import time
from collections.abc import Callable

import psutil

HANG_S = 600.0
"""Where a wait ends as a failure: a hang, not a slow machine."""


def wait_until(fact: Callable[[], object], what: str, pause_s: float = 0.02) -> None:
    """Return as soon as the fact holds."""
    deadline = time.monotonic() + HANG_S
    while not fact():
        assert time.monotonic() < deadline, f"still waiting for {what} after {HANG_S:g} s"
        time.sleep(pause_s)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has reaped yet has ended too."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True

"""Tie a child process to its parent's life, so that none is left behind however the parent ends."""

import signal
import sys
from typing import Final

__all__ = ["end_with_parent"]

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def end_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent dies, by SIGKILL too. Linux only; elsewhere a no-op.

    Call it in the child: as a pool's initializer, or as ``preexec_fn``. The request survives ``exec``.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)

"""One measurement at a time on a machine: a benchmark beside a benchmark measures neither.

The lock is a file that the system lets go of when its process ends, however it ends. ``RTXBENCH_LOCK`` names another
file, for machines whose users share no temporary folder, or for containers that share one.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rtxbench.errors import UnavailableError

__all__ = ["lock_path", "measuring_alone"]


def lock_path() -> Path:
    """Return the file whose lock means that somebody measures on this machine."""
    return Path(os.environ.get("RTXBENCH_LOCK") or Path(tempfile.gettempdir()) / "rtxbench-measuring.lock")


@contextmanager
def measuring_alone(say: Callable[[str], object], *, wait: bool = True) -> Iterator[None]:
    """Hold the machine while measuring; wait for whoever holds it.

    Args:
        say: told once, in a sentence, that another measurement is waited for.
        wait: raise at once instead of waiting.

    Raises:
        UnavailableError: another process measures on this machine and ``wait`` is false.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_path(), mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise UnavailableError(
                "another rtxbench measures on this machine; two at once would measure neither.",
                next_step="Run it again when that one has ended, or leave out --no-wait to wait for it.",
            ) from None
        say("another rtxbench measures on this machine; waiting for it to end (Ctrl-C to give up)")
        lock.acquire()
    except OSError:  # a foreign user's file, no temporary folder: better measured unguarded than not at all
        yield
        return
    try:
        yield
    finally:
        lock.release()

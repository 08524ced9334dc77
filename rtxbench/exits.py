"""End a command by one message and an exit code, never by a traceback that a CI runner takes for a regression."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.printable import printable

__all__ = ["FAULT", "end_in_order", "exit_codes", "undisturbed"]

FAULT: Final = 70
"""Exit code of a fault of rtxbench's own (EX_SOFTWARE of sysexits.h): Python's 1 would mean a regression."""

_INTERRUPTED: Final = 128 + signal.SIGINT
_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, CI's cancellation, a closed terminal."""
_BURST_S: Final = 3.0
"""A second signal that comes so soon does not disturb the tidying up that the first one began."""
_ONCE_MORE_S: Final = 0.05


@contextmanager
def end_in_order(ending: Callable[[int], BaseException]) -> Iterator[None]:
    """Let signals that end a program raise instead, so that its processes end and its temporary files go.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored.

    Args:
        ending: signal number → what to raise.
    """
    raised_at, raised = -_BURST_S, 0
    said_usually = sys.unraisablehook

    def interrupt(number: int, _frame: FrameType | None) -> None:
        """Raise the ending of a signal, once for signals that come in a burst."""
        nonlocal raised_at, raised
        if time.monotonic() - raised_at < _BURST_S:
            return
        raised_at, raised = time.monotonic(), number
        raise ending(number)

    def lost(unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise an ending again that Python dropped; report anything else as usual."""
        nonlocal raised_at
        if raised and isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit):
            # Raised where Python lets nothing through, as in a finalizer: once more, when that is over.
            raised_at = -_BURST_S
            signal.signal(signal.SIGALRM, lambda _number, frame: interrupt(raised, frame))
            signal.setitimer(signal.ITIMER_REAL, _ONCE_MORE_S)
        else:
            said_usually(unraisable)

    if threading.current_thread() is not threading.main_thread():  # Python tells signals to the main thread alone
        yield
        return
    taken = [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in taken}
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = said_usually
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back signals that end a program until the body is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_python_does(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn whatever is raised inside into one message on stderr and its exit code.

    ``RTXBENCH_TRACEBACK=1`` lets faults through, with their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal loses an accent, not the verdict
    try:
        with end_in_order(_as_python_does):
            try:
                yield
            finally:
                _print_what_is_left()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except RtxbenchError as error:
        _leave(str(error), error.exit_code)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _leave(
            f"the system refused: {error.strerror or error}{where}. "
            "Free some disk space, or run it in a folder that exists and can be written to.",
            MeasurementError.exit_code,
        )
    except MemoryError:
        _leave(
            "the machine has no memory left. Close other programs, or name fewer results; finished records are kept.",
            MeasurementError.exit_code,
        )
    except Exception as error:
        if os.environ.get("RTXBENCH_TRACEBACK"):
            raise
        _leave(
            f"stopped by a fault of its own: {type(error).__name__}: {error}. "
            "Run it again with RTXBENCH_TRACEBACK=1 and report what it prints; finished records are kept.",
            FAULT,
        )


def _print_what_is_left() -> None:
    """Flush what a command printed while its failure can still be told; Python's own end would say 120.

    A reader that left early, as ``head`` does, is no failure.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        if not isinstance(error, BrokenPipeError):
            raise


def _leave(message: str, code: int) -> None:
    try:
        sys.stderr.write(f"rtxbench: {printable(message)}\n")
        sys.stderr.flush()
    finally:
        sys.exit(code)

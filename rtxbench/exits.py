"""End a command by one message and an exit code, never by a traceback that a CI runner takes for a regression."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.printable import printable

__all__ = ["FAULT", "exit_codes"]

FAULT: Final = 70
"""Exit code of a fault of rtxbench's own (EX_SOFTWARE of sysexits.h): Python's 1 would mean a regression."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn whatever is raised inside into one message on stderr and its exit code.

    ``RTXBENCH_TRACEBACK=1`` lets faults through, with their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal loses an accent, not the verdict
    try:
        yield
    except RtxbenchError as error:
        _leave(str(error), error.exit_code)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _leave(
            f"the system refused: {error.strerror or error}{where}. "
            "Free some disk space, or run it in a folder that exists and can be written to.",
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


def _leave(message: str, code: int) -> None:
    try:
        sys.stderr.write(f"rtxbench: {printable(message)}\n")
        sys.stderr.flush()
    finally:
        sys.exit(code)

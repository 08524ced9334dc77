"""Every error rtxbench raises on purpose, and the exit code each becomes.

::

    RtxbenchError
    ├── UsageError        2  the request makes no sense (unknown workload, bad option)
    ├── UnavailableError  3  no such device, sensor, engine or library on this machine
    ├── MeasurementError  4  the measurement failed or its environment was invalid
    │   ├── OutOfMemoryError  the device, or the process, had no memory left
    │   └── WorkerLostError   the worker process died or hung
    └── RecordError       5  a results file is malformed, hostile, or from a newer version

A regression (exit 1) and an inconclusive gate (exit 6) are verdicts, not errors. Foreign exceptions are
translated once, where the foreign library is called, with ``raise … from``. Every message ends with what
to do next.
"""

from typing import ClassVar

from rtxbench.printable import printable

__all__ = [
    "MeasurementError",
    "OutOfMemoryError",
    "RecordError",
    "RtxbenchError",
    "UnavailableError",
    "UsageError",
    "WorkerLostError",
]


class RtxbenchError(Exception):
    """Base of all deliberate errors. ``next_step`` is one sentence: what the user can do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message)
        self.message = printable(message)  # it may quote a file or a program of somebody else's
        self.next_step = printable(next_step)

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"


class UsageError(RtxbenchError):
    """The request makes no sense: unknown workload, contradictory options."""

    exit_code = 2


class UnavailableError(RtxbenchError):
    """A device, sensor, engine or library is not on this machine."""

    exit_code = 3


class MeasurementError(RtxbenchError):
    """A measurement failed, or its environment made it invalid."""

    exit_code = 4


class OutOfMemoryError(MeasurementError):
    """A step did not fit; ``complaint`` is the line in which the framework said so."""

    def __init__(self, complaint: str) -> None:
        super().__init__("out of device memory.", next_step="Lower the batch size, or choose a smaller workload.")
        self.complaint = complaint


class WorkerLostError(MeasurementError):
    """A worker process died or was silent too long; it answers no further request."""


class RecordError(RtxbenchError):
    """A results file cannot be trusted: truncated in the middle, hostile, or newer than this program."""

    exit_code = 5

"""Translate a framework's exceptions into rtxbench's own, alike for every engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rtxbench.errors import MeasurementError, OutOfMemoryError

__all__ = ["memory_complaint", "translated"]

_OUT_OF_MEMORY_WORDS: Final = (
    "MemoryError",
    "OutOfMemory",
    "OOM",
    "RESOURCE_EXHAUSTED",
    "ResourceExhausted",
    "out of memory",
    "bad_alloc",
    "can't allocate memory",
    "Unable to allocate",
    "Status: 1, message: could not create",  # oneDNN's dnnl_out_of_memory, which TensorFlow passes on as "aborted"
)


def memory_complaint(text: str) -> str | None:
    """Find the line that says memory ran out; ``None`` where the text complains of something else."""
    return next((line for line in text.splitlines() if any(word in line for word in _OUT_OF_MEMORY_WORDS)), None)


@contextmanager
def translated(library: str, *kinds: type[Exception]) -> Iterator[None]:
    """Raise rtxbench's errors in place of a library's.

    Args:
        library: its name in the message.
        kinds: what it raises when running fails; Python's ``MemoryError`` is always among them.

    Raises:
        OutOfMemoryError: the message says that memory ran out.
        MeasurementError: any other error of these kinds.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (MemoryError, *kinds)):
            raise
        complaint = memory_complaint(f"{type(error).__name__}: {error}")
        if complaint is not None:
            raise OutOfMemoryError(complaint) from error
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise MeasurementError(
            f"{library} failed: {first}.", next_step="Run `rtxbench doctor`; if the GPU was lost, see the system log."
        ) from error

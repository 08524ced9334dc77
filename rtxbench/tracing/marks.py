"""Lines that a traced program writes, one a phase, into a pipe that an environment variable names.

::

    echo "epoch 2" > "$RTXBENCH_MARKS"                                                  # any shell
    print("epoch 2", file=open(os.environ.get("RTXBENCH_MARKS", os.devnull), "a"))      # Python, also when not traced

The program depends on nothing of rtxbench. A named pipe, so that what it starts may write, too; it is held open here,
so that nobody who writes ever waits for a reader.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["MARKS_VARIABLE", "PHASE", "hearing_marks"]

MARKS_VARIABLE: Final = "RTXBENCH_MARKS"
"""Names the pipe to a traced program."""
PHASE: Final = "phase "
"""Begins the label of a mark that the program made."""
_LONGEST: Final = 80
_MOST: Final = 1000
"""Marks that are kept: a program that marks every step would fill the trace."""


@contextmanager
def hearing_marks(mark: Callable[[str], object]) -> Iterator[dict[str, str]]:
    """Pass each line of the pipe on as it comes; yields what the environment of the program must hold.

    Args:
        mark: told the line, of 80 characters at most.
    """
    with tempfile.TemporaryDirectory(prefix="rtxbench-") as folder:
        path = Path(folder) / "marks"
        try:
            os.mkfifo(path)
            pipe = os.open(path, os.O_RDWR)
        except OSError:  # a system or a folder without named pipes: traced all the same, without marks
            yield {}
            return
        hearing = threading.Thread(target=_hear, args=(pipe, mark), daemon=True)
        hearing.start()
        try:
            yield {MARKS_VARIABLE: str(path)}
        finally:
            os.write(pipe, b"\0\n")
            hearing.join()
            os.close(pipe)


def _hear(pipe: int, mark: Callable[[str], object]) -> None:
    """Read lines until one is our own."""
    heard = 0
    with os.fdopen(os.dup(pipe), encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line == "\0\n":
                return
            label = " ".join(line.split())[:_LONGEST]
            if label and heard < _MOST:
                heard += 1
                mark(f"{PHASE}{label}")

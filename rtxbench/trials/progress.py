"""Show a trial's progress: a line that is rewritten on a terminal, one line at the end elsewhere."""

import time
from typing import TextIO

from rtxbench.units import format_duration

__all__ = ["TrialProgress"]


class TrialProgress:
    """Context manager around one trial; ``stream`` ``None`` shows nothing."""

    def __init__(self, title: str, stream: TextIO | None) -> None:
        self._title = title
        self._stream = stream
        self._began = time.monotonic()
        self._part = ""
        self._part_began = self._began

    def __enter__(self) -> "TrialProgress":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._stream is not None and kind is None:
            self._clear()
            self._stream.write(f"{self._title}: done ({format_duration(time.monotonic() - self._began)})\n")
            self._stream.flush()

    def step(self, what: str, done: int, count: int) -> None:
        """Show that ``done`` of ``count`` steps of this part are finished and ``what`` comes next.

        A trial has several parts that count for themselves; ``what`` begins with the part's name up to a colon.
        """
        part = what.partition(":")[0]
        if part != self._part or done == 0:
            self._part, self._part_began = part, time.monotonic()
        if self._stream is None or not self._stream.isatty():
            return
        left = ""
        if done:
            remaining_s = (time.monotonic() - self._part_began) / done * (count - done)
            left = f", about {format_duration(remaining_s)} left"
        self._clear()
        self._stream.write(f"[{done}/{count}] {what}{left}")
        self._stream.flush()

    def _clear(self) -> None:
        if self._stream is not None and self._stream.isatty():
            self._stream.write("\r\x1b[2K")

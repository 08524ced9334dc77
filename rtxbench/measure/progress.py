"""What a waiting person sees: a bar with the time left on a terminal, one line per group elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, TextIO

from rtxbench.measure.paired_result import Pairing
from rtxbench.units import format_duration, format_percent, format_ratio

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["GroupProgress", "Waiting"]


class GroupProgress:
    """Context manager around the measuring of one group.

    Args:
        title: what is being measured.
        launches: how many launches at most.
        number: position of this group among ``groups``, from 1.
        groups: how many groups the run has.
        stream: where to write, standard error by default.
    """

    def __init__(self, title: str, launches: int, number: int, groups: int, stream: TextIO | None = None) -> None:
        self._title = f"[{number}/{groups}] {title}"
        self._launches = launches
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last = ""

    def __enter__(self) -> "GroupProgress":
        if self._stream.isatty():
            self._start_bar()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            took = format_duration(time.monotonic() - self._began)
            self._stream.write(f"{self._title}: {self._last or 'done'} ({took})\n")
            self._stream.flush()

    def launch_done(self, number: int, pairing: Pairing) -> None:
        """Show the state after launch ``number``."""
        self._last = _state(pairing)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=number, state=self._last)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("launches"),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            TextColumn("{task.fields[state]}"),
            console=Console(file=self._stream),
            refresh_per_second=2,  # the bar shares the machine with what is measured
            transient=True,
        )
        self._task = self._bar.add_task(self._title, total=self._launches, state="starting a worker")
        self._bar.start()


def _state(pairing: Pairing) -> str:
    """``2.13× ± 0.8 % (5 launches)`` of the first candidate, or how many launches there are."""
    from math import exp

    from rtxbench.measure.paired import half_width

    values = next((values for values in pairing.log_ratios.values() if values), None)
    if not values:
        return f"{pairing.launches} launches"
    width = half_width(values, adaptive=False)
    ratio = format_ratio(exp(-sum(values) / len(values)))
    spread = f" ± {format_percent(width)}" if len(values) > 1 else ""
    return f"{ratio}{spread} after {pairing.launches} launches"


class Waiting:
    """Context manager that says what is being waited for and, when it is over, how long it took."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._began = time.monotonic()

    def __enter__(self) -> "Waiting":
        self._stream.write(f"{self._what} … ")
        self._stream.flush()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        took = format_duration(time.monotonic() - self._began)
        self._stream.write(f"{took}\n" if kind is None else "stopped\n")
        self._stream.flush()

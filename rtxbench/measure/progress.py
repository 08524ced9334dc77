"""Show a waiting person which questions are decided and which are open, with the time left."""

import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from rtxbench.measure.paired.loop import GroupRun, half_width
from rtxbench.measure.paired.result import PairedResult
from rtxbench.measure.session import Standing
from rtxbench.units import format_duration, format_percent, format_ratio

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress, TaskID
    from rich.table import Table

__all__ = ["Board", "Countdown", "TrialProgress", "Waiting"]

_NAMED: Final = 3
"""Open groups named in a line."""


class _GroupRow:
    """The line of one group."""

    def __init__(self) -> None:
        self.launches = 0
        self.figure = ""
        self.standing = "waiting"
        self.decided = False


class Board:
    """Context manager that shows, while a session runs, what is decided, what is open, and the time left.

    A table that is kept up to date on a terminal; elsewhere a line per launch.

    Args:
        groups: names of the groups, in the order of their turns.
        stream: where to write, standard error by default.
    """

    def __init__(self, groups: Sequence[str], stream: TextIO | None = None) -> None:
        self._rows = {name: _GroupRow() for name in groups}
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._left_s: float | None = None
        self._live: Live | None = None

    def __enter__(self) -> "Board":
        if self._stream.isatty() and self._rows:
            self._start_table()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
        if kind is None and self._rows:
            took = format_duration(time.monotonic() - self._began)
            count = f"{len(self._rows)} group{'s' if len(self._rows) > 1 else ''}"
            self._write(f"{count}: {self._summary()} ({took})")

    def launch_done(self, run: GroupRun, standing: Standing, left_s: float) -> None:
        """Show the state after a launch of that group, with so many seconds left to the session."""
        row = self._rows[run.name]
        row.launches, row.figure, row.decided = run.launches, _figure(run.pairing), standing.decided
        row.standing = standing.text or ("precise enough" if standing.decided else "open")
        self._left_s = left_s if math.isfinite(left_s) else None
        if self._live is not None:
            self._live.update(self._table())
        else:
            self._write(f"{run.name}: launch {run.launches}, {row.figure}, {row.standing} · {self._summary()}")

    def _summary(self) -> str:
        """Say ``4 of 10 decided, at most 7 min left; open: …``."""
        still_open = [name for name, row in self._rows.items() if not row.decided]
        parts = [f"{len(self._rows) - len(still_open)} of {len(self._rows)} decided"]
        if self._left_s is not None and still_open:
            parts[0] += f", at most {format_duration(self._left_s)} left"
        if still_open:
            more = f" and {len(still_open) - _NAMED} more" if len(still_open) > _NAMED else ""
            parts.append(f"open: {', '.join(still_open[:_NAMED])}{more}")
        return "; ".join(parts)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _start_table(self) -> None:
        from rich.console import Console
        from rich.live import Live

        # Twice a second at most: the table shares the machine with what is measured.
        self._live = Live(self._table(), console=Console(file=self._stream), refresh_per_second=2)
        self._live.start()

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table(box=None, caption=self._summary(), caption_justify="left")
        for title in ("group", "launches", "candidate ÷ baseline", "question"):
            table.add_column(title)
        for name, row in self._rows.items():
            style = "green" if row.decided else "dim" if not row.launches else ""
            table.add_row(name, str(row.launches), row.figure, row.standing, style=style)
        return table


def _figure(pairing: PairedResult) -> str:
    """Write ``2.13× ± 0.8 %`` of each candidate."""
    figures = []
    for result in pairing.results[1:]:
        values = pairing.log_ratios[result.arm.key]
        size = result.arm.case.batch_size / pairing.results[0].arm.case.batch_size
        if values:
            spread = f" ± {format_percent(half_width(values, adaptive=False))}" if len(values) > 1 else ""
            figures.append(f"{format_ratio(size * math.exp(-sum(values) / len(values)))}{spread}")
    failed = sum(result.failure is not None for result in pairing.results)
    return ", ".join([*figures, *([f"{failed} failed"] if failed else [])]) or "no comparison"


class TrialProgress:
    """Context manager around one trial: a bar with the time left on a terminal, one line at the end elsewhere.

    Args:
        title: of the trial.
        stream: where to write; ``None`` shows nothing.
    """

    def __init__(self, title: str, stream: TextIO | None) -> None:
        self._title = title
        self._stream = stream
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._part: tuple[str, TaskID] | None = None

    def __enter__(self) -> "TrialProgress":
        if self._stream is not None and self._stream.isatty():
            self._start_bar()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._stream is not None and kind is None:
            self._stream.write(f"{self._title}: done ({format_duration(time.monotonic() - self._began)})\n")
            self._stream.flush()

    def step(self, what: str, done: int, count: int) -> None:
        """Show that ``done`` of ``count`` steps of this part are finished and ``what`` comes next.

        A trial has several parts that count for themselves; ``what`` begins with the part's name up to a colon.
        """
        if self._bar is None:
            return
        name = what.partition(":")[0]
        if self._part is None or self._part[0] != name or done == 0:
            if self._part is not None:
                self._bar.remove_task(self._part[1])
            self._part = name, self._bar.add_task(what, total=count)
        self._bar.update(self._part[1], description=what, completed=done, total=count)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        # Twice a second at most, as the board's table.
        columns = (MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(file=self._stream), transient=True, refresh_per_second=2)
        self._bar.start()


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


class Countdown:
    """Lines that say what is being done, how much of it is done, and how long the rest will take at this pace.

    Args:
        name: begins each line.
        stream: where to write, standard error by default.
        clock: seconds.
    """

    def __init__(self, name: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._stream = stream or sys.stderr
        self._clock = clock
        self._what = ""
        self._began = (0.0, 0)

    def told(self, what: str, made: int, to_come: int) -> None:
        """Write a line before each part of what is being done."""
        if what != self._what:
            self._what, self._began = what, (self._clock(), made)
        done = made - self._began[1]
        left = ""
        if done:
            left = f", about {format_duration((self._clock() - self._began[0]) / done * to_come)} left"
        self._stream.write(f"{self._name}: {what}, {made + 1} of {made + to_come}{left}\n")
        self._stream.flush()

"""Show a sweep while it runs: what each machine measures, its progress, and the time left."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from rtxbench.fleet.sweep import State
from rtxbench.units import format_duration

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["FleetBoard"]


class FleetBoard:
    """Context manager that keeps a table of machines up to date on a terminal; elsewhere a line per finished job.

    Args:
        stream: where to write, standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._states: Sequence[State] = ()
        self._live: Live | None = None

    def __enter__(self) -> "FleetBoard":
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self._table(), console=Console(file=self._stream), refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.stop()

    def told(self, states: Sequence[State]) -> None:
        """Show the machines as they are now."""
        before, self._states = {state.machine: state for state in self._states}, states
        if self._live is not None:
            self._live.update(self._table())
            return
        for state in states:
            earlier = before.get(state.machine)
            if earlier is None or (earlier.there, earlier.job, earlier.done) != (state.there, state.job, state.done):
                self._stream.write(f"{state.machine}: {_doing(state)}, {state.done} done · {self._summary()}\n")
        self._stream.flush()

    def _summary(self) -> str:
        left_s = max((state.left_s for state in self._states if state.there), default=0.0)
        here = sum(state.there for state in self._states)
        took = format_duration(time.monotonic() - self._began)
        return f"{here} machines, {took} so far, about {format_duration(left_s)} to go (predicted)"

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table(box=None, caption=self._summary(), caption_justify="left")
        for title in ("machine", "done", "measures", ""):
            table.add_column(title, no_wrap=title == "machine")
        for state in self._states:
            table.add_row(state.machine, str(state.done), _doing(state), state.text, style="" if state.there else "red")
        return table


def _doing(state: State) -> str:
    return (state.job or "idle") if state.there else "lost"

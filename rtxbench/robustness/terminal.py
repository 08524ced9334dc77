"""A terminal to run a command in: what it prints is kept, and what it did to the terminal is told."""

import os
import pty
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Terminal", "terminal"]

_HIDE, _SHOW = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """The two ends of a pseudo-terminal; ``slave`` is for the command's streams."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._before = termios.tcgetattr(self.slave)
        self._printed = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def problems(self) -> list[str]:
        """Name settings that were changed and not restored, and a cursor that stays hidden."""
        changed = termios.tcgetattr(self.slave) != self._before
        hidden = self._printed.rfind(_HIDE) > self._printed.rfind(_SHOW)
        return ["the terminal's settings are changed"] * changed + ["the cursor stays hidden"] * hidden

    def printed(self) -> str:
        """Return what was printed so far."""
        return self._printed.decode(errors="replace")

    def close(self) -> None:
        """Give both ends back, after what is still under way was read."""
        os.close(self.slave)  # with the last writer gone the reader meets the end
        self._reader.join(5.0)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:
                return
            if not chunk:
                return
            self._printed += chunk


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Yield a terminal; give it back at the end."""
    one = Terminal()
    try:
        yield one
    finally:
        one.close()

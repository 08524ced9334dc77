"""``python -m rtxbench``: the same as the ``rtxbench`` command."""

import os
import sys

# `python -m` searches the working folder first: a msgspec.py there must not run as rtxbench's own. (os is imported at
# the interpreter's start; pathlib could already be a file of that folder.)
_home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
try:
    _here = os.getcwd()  # noqa: PTH109
except OSError:  # deleted
    _here = ""
if sys.path[0] == _here != _home:
    sys.path.pop(0)

import signal  # noqa: E402

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it; Ctrl-C while it loads ends it without a traceback."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # not where a shell started it in the background, which ignores Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rtxbench.cli import main as run

    signal.signal(signal.SIGINT, usual)
    run()


if __name__ == "__main__":
    main()

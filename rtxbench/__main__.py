"""``python -m rtxbench``: the same as the ``rtxbench`` command."""

from rtxbench import leave_working_folder

leave_working_folder()

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

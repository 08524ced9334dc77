"""rtxbench: is what is said about training on NVIDIA RTX cards true on this machine, and which card to buy.

The package root imports nothing: ``rtxbench --help``, the recorder process and the report must start
without an engine. Import the room you need (``rtxbench.results.store``, ``rtxbench.verdicts`` …).
"""

__version__ = "0.1.0"
__all__ = ["leave_working_folder"]


def leave_working_folder() -> None:
    """Take the working folder off the search path, unless rtxbench itself lies in it.

    `python -m` searches that folder first: a msgspec.py there must not run as rtxbench's own. What is imported here has
    been loaded since the interpreter's start.
    """
    import os
    import sys

    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    try:
        here = os.getcwd()  # noqa: PTH109
    except OSError:  # deleted
        here = ""
    if sys.path[0] == here != home:
        sys.path.pop(0)

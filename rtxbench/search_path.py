"""Keep a file of the working folder from taking a library's place: ``python -m`` searches that folder first.

A ``msgspec.py`` there must not run as rtxbench's own. Nothing is imported here that could already be such a file.
"""

import os
import sys

__all__ = ["leave_working_folder"]


def leave_working_folder() -> None:
    """Take the working folder off the search path, unless rtxbench itself lies in it."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    try:
        here = os.getcwd()  # noqa: PTH109
    except OSError:  # deleted
        here = ""
    if sys.path[0] == here != home:
        sys.path.pop(0)

"""``python -m rtxbench``: the same as the ``rtxbench`` command."""

import os
import sys

import rtxbench

_home = os.path.dirname(os.path.dirname(os.path.abspath(rtxbench.__file__)))  # noqa: PTH120 (before any other import)
if os.path.abspath(sys.path[0] or ".") not in {_home, sys.prefix}:
    sys.path.pop(0)  # python -m searches the working folder first: a msgspec.py there must not run as rtxbench's

from rtxbench.cli import main  # noqa: E402

if __name__ == "__main__":
    main()

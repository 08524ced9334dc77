"""``python -m rtxbench``: the same as the ``rtxbench`` command."""

import os
import sys

# `python -m` searches the working folder first: a msgspec.py there must not run as rtxbench's own. (os is imported at
# the interpreter's start; pathlib could already be a file of that folder.)
_home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if sys.path[0] == os.getcwd() != _home:  # noqa: PTH109
    sys.path.pop(0)

from rtxbench.cli import main  # noqa: E402

if __name__ == "__main__":
    main()

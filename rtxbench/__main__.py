"""``python -m rtxbench``: the same as the ``rtxbench`` command."""

from rtxbench.cli import main

if __name__ == "__main__":
    main()

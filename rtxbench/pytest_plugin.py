"""The pytest-benchmark front: the fixture that ``bench/`` uses."""

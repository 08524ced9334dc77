"""The bench suite runs on rtxbench's own pytest plugin, which ``pyproject.toml`` names."""

import pytest

from rtxbench.pytest_plugin import use_rtxbench_defaults


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    use_rtxbench_defaults(config)

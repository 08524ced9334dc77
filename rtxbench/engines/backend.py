"""Which framework Keras runs on is settled once per process, where Keras is imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rtxbench.errors import UnavailableError

__all__ = ["import_keras"]

_LOOKED_FOR_BY_KERAS: Final = ("matplotlib", "pandas")
"""Keras imports them to know whether they are there: a fifth of its import time, for plots and frames nobody asks of
a worker."""


def import_keras(framework: str) -> None:
    """Import Keras on this framework. Call it before anything else imports Keras.

    Raises:
        UnavailableError: this process's Keras belongs to another framework.
        ImportError: Keras or the framework is not installed.
    """
    settled = os.environ.setdefault("KERAS_BACKEND", framework)
    if settled != framework:
        raise UnavailableError(f"KERAS_BACKEND is {settled!r}.", next_step="Use one worker process per engine.")
    with _as_if_not_installed(_LOOKED_FOR_BY_KERAS):
        import keras  # noqa: F401


@contextmanager
def _as_if_not_installed(names: tuple[str, ...]) -> Iterator[None]:
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is Python's own sign for it
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]

"""Which framework Keras runs on is settled once per process, before Keras is imported."""

import os

from rtxbench.errors import UnavailableError

__all__ = ["settle_keras_backend"]


def settle_keras_backend(name: str) -> None:
    """Put Keras on this framework. Call it before anything imports Keras.

    Raises:
        UnavailableError: this process's Keras belongs to another framework.
    """
    settled = os.environ.setdefault("KERAS_BACKEND", name)
    if settled != name:
        raise UnavailableError(f"KERAS_BACKEND is {settled!r}.", next_step="Use one worker process per engine.")

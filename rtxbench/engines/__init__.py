"""Engines: build a train step, run it, synchronise. One module per framework, imported only when used."""

from importlib import import_module
from typing import Final, cast

from rtxbench.engines.base import Engine
from rtxbench.errors import UnavailableError
from rtxbench.lookup import named

__all__ = ["ENGINES", "load_engine"]

ENGINES: Final[dict[str, str]] = {
    "tensorflow": "rtxbench.engines.tensorflow.engine",
    "jax": "rtxbench.engines.jax.engine",
    "torch": "rtxbench.engines.torch.engine",
    "python": "rtxbench.engines.python",
}
"""Engine name → module with a ``create() -> Engine``."""


def load_engine(name: str) -> Engine:
    """Import one engine. Frameworks behind Keras must be chosen by ``KERAS_BACKEND`` before anything imports Keras.

    Raises:
        UsageError: no engine of that name.
        UnavailableError: its framework is not installed or does not import.
    """
    module = named(ENGINES, name, "engine")
    try:
        return cast(Engine, import_module(module).create())
    except ImportError as error:
        raise UnavailableError(
            f"engine {name} cannot be imported here: {error}.",
            next_step="Run `rtxbench doctor`, which names what to install.",
        ) from error

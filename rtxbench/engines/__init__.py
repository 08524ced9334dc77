"""Engines: build a train step, run it, synchronise. One module per framework, imported only when used.

What is compared, timed or profiled with an engine's step lives in the rooms above.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final, NamedTuple, cast

from rtxbench.engines.contract import Engine
from rtxbench.errors import UnavailableError
from rtxbench.lookup import named

__all__ = ["ENGINES", "FRAMEWORKS", "EngineRow", "load_engine"]


class EngineRow(NamedTuple):
    """One row of `ENGINES`."""

    module: str
    """Has a ``create() -> Engine``."""
    package: str = ""
    """Top-level module its environment must have; empty for a user's own step, which no plan contains."""
    compilers: tuple[str, ...] = ("none",)
    """Compilers it has, first the one its users get without asking."""


ENGINES: Final[Mapping[str, EngineRow]] = {
    "tensorflow": EngineRow("rtxbench.engines.tensorflow.engine", "tensorflow", ("none", "xla")),
    "jax": EngineRow(
        "rtxbench.engines.jax.engine", "jax", ("xla", "none")
    ),  # JAX compiles every step unless told not to
    "torch": EngineRow("rtxbench.engines.torch.engine", "torch", ("none", "inductor")),
    "python": EngineRow("rtxbench.engines.python"),
}

FRAMEWORKS: Final = tuple(name for name, row in ENGINES.items() if row.package)
"""Engines that the suite plans."""


def load_engine(name: str) -> Engine:
    """Import one engine. Frameworks behind Keras must be chosen by ``KERAS_BACKEND`` before anything imports Keras.

    Raises:
        UsageError: no engine of that name.
        UnavailableError: its framework is not installed or does not import.
    """
    module = named(ENGINES, name, "engine").module
    try:
        return cast(Engine, import_module(module).create())
    except ImportError as error:
        raise UnavailableError(
            f"engine {name} cannot be imported here: {error}.",
            next_step="Run `rtxbench doctor`, which names what to install.",
        ) from error

"""Settle once per process which framework Keras runs on, where Keras is imported."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

from rtxbench.errors import UnavailableError

__all__ = ["hide_gpus_from_tensorflow", "import_keras"]

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
    if framework != "tensorflow":
        hide_gpus_from_tensorflow()
    with _as_if_not_installed(_LOOKED_FOR_BY_KERAS):
        import keras  # noqa: F401


def hide_gpus_from_tensorflow() -> None:
    """Have TensorFlow see no GPU whenever this process imports it.

    In another engine's process it serves for ``tf.data`` and keras-hub alone, but at its first operation it would take
    nearly all memory of every GPU, and the engine that is measured would find none.
    """
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.set_visible_devices([], "GPU")
    elif not any(isinstance(finder, _TensorFlowFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TensorFlowFinder())


class _TensorFlowFinder:
    """Finds TensorFlow as Python would, and hides the GPUs as soon as its module has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Only the package itself is ours; everything else is found by the usual finders."""
        if name != "tensorflow":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_hide(module: Any) -> None:
                run(module)
                module.config.set_visible_devices([], "GPU")

            spec.loader.exec_module = run_and_hide  # type: ignore[method-assign]
        return spec


@contextmanager
def _as_if_not_installed(names: tuple[str, ...]) -> Iterator[None]:
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is Python's own sign for it
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]

"""Open the CUDA libraries that TensorFlow's own search path misses, before TensorFlow is imported.

``pip install tensorflow[and-cuda]`` 2.21 installs ``libcusolver.so.11`` into ``nvidia/cusolver/lib``, but the RUNPATH
of ``libtensorflow_framework.so.2``, the binary that opens it, does not name that folder. The all-or-nothing gate then
fails and TensorFlow trains on the CPU in silence. The system's loader answers a later open of the same soname from
what is already in the process, so opening the file by its path first is the whole cure.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rtxbench.hardware.cuda_libraries import library_statuses, load_error

__all__ = ["Preloaded", "preload_cuda_libraries"]


class Preloaded(NamedTuple):
    """One library opened on TensorFlow's behalf, or the loader's message where that failed."""

    path: Path
    error: str | None


def preload_cuda_libraries(
    site_packages: Sequence[Path] | None = None, load: Callable[[str], str | None] = load_error
) -> tuple[Preloaded, ...]:
    """Open every installed CUDA library that TensorFlow needs and would not find. Call before importing TensorFlow.

    Does nothing where TensorFlow or NVIDIA's wheels are not installed, and where TensorFlow finds everything itself.

    Args:
        site_packages: folders to look in; by default the folder TensorFlow is installed in.
        load: opens a library by path and returns the loader's message, ``None`` on success.

    Returns:
        What was opened and what could not be, in the order of TensorFlow's gate; empty where nothing was needed.
    """
    folders = _tensorflow_site() if site_packages is None else tuple(site_packages)
    package = next((site / "tensorflow" for site in folders if (site / "tensorflow").is_dir()), None)
    if package is None or not any((site / "nvidia").is_dir() for site in folders) or sys.platform != "linux":
        return ()
    statuses = library_statuses(folders, package, load)
    return tuple(Preloaded(s.path, s.error) for s in statuses if s.place == "wheel" and s.path is not None)


def _tensorflow_site() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("tensorflow")  # finds the package without importing it
    if spec is None or spec.origin is None:
        return ()
    return (Path(spec.origin).parent.parent,)

"""List the CUDA libraries TensorFlow opens at start, where they lie, and why one does not load.

TensorFlow opens them by name, one after another, and if a single one is missing it runs on the CPU without saying
which it was (tensorflow#66987). The names below are those of its gate for CUDA 12 (``GetDsoLoader`` users behind
``ValidateGPUMachineManager``); the wheel that holds each is NVIDIA's own name on PyPI. Nothing here imports an engine.
"""

import ctypes
import mmap
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = [
    "TENSORFLOW_CUDA_LIBRARIES",
    "CudaLibrary",
    "LibraryStatus",
    "library_statuses",
    "load_error",
    "runpath_folders",
]


class CudaLibrary(NamedTuple):
    """One shared library, and the wheel that ships it."""

    file: str
    """The name TensorFlow opens, for example ``libcusolver.so.11``."""
    folder: str
    """Folder of the wheel's file, below site-packages."""
    distribution: str
    """The wheel's name on PyPI."""


TENSORFLOW_CUDA_LIBRARIES: tuple[CudaLibrary, ...] = (
    CudaLibrary("libcudart.so.12", "nvidia/cuda_runtime/lib", "nvidia-cuda-runtime-cu12"),
    CudaLibrary("libcublas.so.12", "nvidia/cublas/lib", "nvidia-cublas-cu12"),
    CudaLibrary("libcublasLt.so.12", "nvidia/cublas/lib", "nvidia-cublas-cu12"),
    CudaLibrary("libcufft.so.11", "nvidia/cufft/lib", "nvidia-cufft-cu12"),
    CudaLibrary("libcusolver.so.11", "nvidia/cusolver/lib", "nvidia-cusolver-cu12"),
    CudaLibrary("libcusparse.so.12", "nvidia/cusparse/lib", "nvidia-cusparse-cu12"),
    CudaLibrary("libcudnn.so.9", "nvidia/cudnn/lib", "nvidia-cudnn-cu12"),
)

Place = Literal["runpath", "system", "wheel", "absent"]


class LibraryStatus(NamedTuple):
    """The place of one library, and whether it opens."""

    library: CudaLibrary
    place: Place
    """runpath: TensorFlow looks there. system: the loader finds it by name. wheel: installed where TensorFlow does not
    look. absent: nowhere."""
    path: Path | None
    error: str | None
    """Loader's message when the file did not open; it names the file that is missing."""


def load_error(name: str) -> str | None:
    """Open a shared library by name or path with the system's loader; return its message, or ``None`` on success."""
    try:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return None


def runpath_folders(binary: Path) -> tuple[Path, ...]:
    """Folders a binary's RUNPATH adds to the library search, absolute; empty where the binary is absent.

    The RUNPATH is one string in the file's string table; every folder that concerns a wheel is relative to
    ``$ORIGIN``, so the string is found by that mark without an ELF parser.
    """
    if not binary.is_file():
        return ()
    # No NUL and no control byte can stand in a path list; the longest match is the RUNPATH.
    with binary.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        runs = re.findall(rb"\$ORIGIN[\x20-\x7e]*", content)
    text = max(runs, key=len, default=b"").decode("ascii")
    folders = (entry.replace("$ORIGIN", str(binary.parent)) for entry in text.split(":") if entry)
    return tuple(dict.fromkeys(Path(folder).resolve() for folder in folders))


def library_statuses(
    site_packages: Sequence[Path],
    tensorflow_folder: Path | None,
    load: Callable[[str], str | None] = load_error,
    libraries: Iterable[CudaLibrary] = TENSORFLOW_CUDA_LIBRARIES,
) -> tuple[LibraryStatus, ...]:
    """Look for each library the way TensorFlow's loader would, then in the installed wheels.

    Args:
        site_packages: folders where wheels are installed.
        tensorflow_folder: the installed ``tensorflow`` package, whose RUNPATH counts; ``None`` where it is absent.
        load: opens a library by name or path and returns the loader's message, ``None`` on success.
        libraries: what to look for.
    """
    binary = tensorflow_folder / "libtensorflow_framework.so.2" if tensorflow_folder else None
    searched = runpath_folders(binary) if binary else ()
    return tuple(_status(library, site_packages, searched, load) for library in libraries)


def _status(
    library: CudaLibrary, site_packages: Sequence[Path], searched: Sequence[Path], load: Callable[[str], str | None]
) -> LibraryStatus:
    in_runpath = next((folder / library.file for folder in searched if (folder / library.file).is_file()), None)
    if in_runpath is not None:
        return LibraryStatus(library, "runpath", in_runpath, load(str(in_runpath)))
    by_name = load(library.file)
    if by_name is None:
        return LibraryStatus(library, "system", None, None)
    in_wheel = next((p for site in site_packages if (p := site / library.folder / library.file).is_file()), None)
    if in_wheel is not None:
        return LibraryStatus(library, "wheel", in_wheel, load(str(in_wheel)))
    return LibraryStatus(library, "absent", None, by_name)

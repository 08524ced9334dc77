"""Choose the Python of an engine's workers: engines may live in environments of their own, and on a GPU they must."""

import os
import sys
import sysconfig
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import rtxbench
from rtxbench.engines import ENGINES, FRAMEWORKS
from rtxbench.workers.process import WorkerSpec

__all__ = ["interpreter_of", "why_engine_missing", "worker_spec"]


def interpreter_of(engine: str, environ: Mapping[str, str] = os.environ, folder: Path = Path()) -> str:
    """Path of the Python that has the engine.

    ``RTXBENCH_PYTHON_JAX`` (``_TORCH``, ``_TENSORFLOW``) where it is set; else this one where the framework is
    installed; else the environment ``.tox/<engine>`` below ``folder``, if tox has built it; else this one.
    """
    named = environ.get(f"RTXBENCH_PYTHON_{engine.upper()}")
    if named:
        return named
    if engine in FRAMEWORKS and not _is_installed(engine):
        built = folder / ".tox" / engine / "bin" / "python"
        if built.is_file():
            return str(built.absolute())
    return sys.executable


def why_engine_missing(engine: str, environ: Mapping[str, str] = os.environ, folder: Path = Path()) -> str | None:
    """Explain why the engine cannot run here, and what to do; ``None`` where its environment was found.

    An environment of its own is taken at its word: what it lacks, the worker that starts in it says.
    """
    python = interpreter_of(engine, environ, folder)
    if python != sys.executable:
        return None if Path(python).is_file() else f"RTXBENCH_PYTHON_{engine.upper()} names {python}, which is no file."
    if _is_installed(engine):
        return None
    return (
        f"{engine} is not installed here; make an environment for it (tox -e {engine} --notest) "
        f"or name one in RTXBENCH_PYTHON_{engine.upper()}."
    )


def _is_installed(engine: str) -> bool:
    package = ENGINES[engine].package
    return not package or find_spec(package) is not None


def worker_spec(engine: str, only_gpu: str | None = None) -> WorkerSpec:
    """Describe how to start the engine's workers.

    They must find this rtxbench: in another environment, so that both ends are one version; and here, too, where it
    runs from a source tree, which workers do not find by their working folder (they ignore it).

    Args:
        engine: row of `rtxbench.engines.ENGINES`.
        only_gpu: UUID of the one GPU they may see, since TensorFlow opens a context on every card that it sees.
    """
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if engine == "jax" else {}
    if only_gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = only_gpu
    python = interpreter_of(engine)
    here = str(Path(rtxbench.__file__).resolve().parent.parent)
    searched = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if python != sys.executable or here not in {*searched, *sysconfig.get_paths().values()}:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, *searched]))
    return WorkerSpec(engine=engine, python=python, environment=environment)

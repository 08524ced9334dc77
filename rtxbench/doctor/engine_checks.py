"""Check what keeps an engine off the card: its CUDA build, libraries, driver, the architectures it is built for.

Every engine is judged by its own needs. `why_engine_cannot` says the same to the plan, before anything is started.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from rtxbench.doctor.finding import Check, Finding
from rtxbench.doctor.installation import Installation, InstalledCard
from rtxbench.hardware.cuda_libraries import LibraryStatus

__all__ = [
    "ENGINE_CHECKS",
    "architecture_problem",
    "driver_problem",
    "why_engine_cannot",
    "why_released_engine_cannot",
]

_TITLES: Final[Mapping[str, str]] = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}

_LEAST_DRIVER: Final[Mapping[int, int]] = {11: 450, 12: 525, 13: 580}
"""CUDA major version → first driver branch that serves it (CUDA Toolkit release notes, table "minor version
compatibility": within a major version any newer driver does)."""

_TORCH_ARCHITECTURES: Final[tuple[tuple[tuple[int, int], tuple[int, int]], ...]] = (
    ((12, 8), (12, 0)),
    ((11, 8), (9, 0)),
    ((0, 0), (8, 6)),
)
"""(least CUDA version of PyTorch's wheel, newest compute capability it holds): RTX 50 came with CUDA 12.8."""


def driver_problem(engine: str, facts: Installation) -> Finding | None:
    """Compare what the engine's CUDA build needs with what the driver serves."""
    needed = facts.cuda_of(engine)
    served = facts.probe.cuda_driver
    if needed is None or not served or int(served.split(".")[0]) >= int(needed.split(".")[0]):
        return None
    least = _LEAST_DRIVER.get(int(needed.split(".")[0]))
    return Finding(
        "fail",
        f"{_TITLES[engine]} driver",
        f"the driver {facts.probe.driver or ''} serves CUDA {served}; this {_TITLES[engine]} is built for "
        f"{needed}".replace("  ", " "),
        "A driver serves its own CUDA major version and older ones, never a newer one.",
        f"Upgrade NVIDIA's driver to {least or 'a newer branch'} or newer" + _OLDER_BUILD.get(engine, "."),
    )


_OLDER_BUILD: Final[Mapping[str, str]] = {
    "torch": ", or install PyTorch for CUDA 12 from PyTorch's own wheel index "
    "(cu126; for the RTX 50 series cu128): see pytorch.org/get-started.",
    "jax": ", or `pip install '.[jax-cuda]'` (CUDA 12) in a fresh environment.",
}


def architecture_problem(engine: str, facts: Installation) -> Finding | None:
    """Compare the architectures that the engine's kernels are built for with the cards'.

    JAX has none built in: it compiles for the card that it finds.
    """
    newest = _newest_architecture(engine, facts)
    cards = [card for card in facts.probe.cards if newest and card.compute_capability and _beyond(card, newest)]
    if newest is None or not cards:
        return None
    return Finding(
        "fail",
        f"{_TITLES[engine]} kernels",
        f"{cards[0].name} is {_architecture(cards[0])}; this {_TITLES[engine]} is built for up to "
        f"sm_{newest[0]}{newest[1]}",
        "Its kernels do not run on the card"
        + (" (RTX 50 series: tensorflow#89272, #101746)." if engine == "tensorflow" else "."),
        _OTHER_ENGINE if engine == "tensorflow" else "Install a build for CUDA 12.8 or newer: `pip install -U torch`.",
    )


_OTHER_ENGINE: Final = (
    "Use another engine there: `pip install '.[jax-cuda]'` or `'.[torch-cuda]'` in an environment of its "
    "own, then `rtxbench run --engine jax` (or `torch`)."
)


def _newest_architecture(engine: str, facts: Installation) -> tuple[int, int] | None:
    if engine == "tensorflow" and facts.tensorflow is not None and facts.tensorflow.compute_capabilities:
        numbers = [int(name.rpartition("_")[2]) for name in facts.tensorflow.compute_capabilities]
        return max(numbers) // 10, max(numbers) % 10
    if engine == "torch" and facts.torch_cuda is not None:
        major, _, minor = facts.torch_cuda.partition(".")
        version = (int(major), int(minor or 0))
        return next(newest for least, newest in _TORCH_ARCHITECTURES if version >= least)
    return None


def _beyond(card: InstalledCard, newest: tuple[int, int]) -> bool:
    """Return whether a card is of a newer major architecture than the newest kernels.

    PTX that is shipped for the newest could be compiled for it, but fails in practice (tensorflow#101746).
    """
    return card.compute_capability is not None and card.compute_capability[0] > newest[0]


def _architecture(card: InstalledCard) -> str:
    major, minor = card.compute_capability or (0, 0)
    return f"sm_{major}{minor}"


def why_engine_cannot(engine: str, facts: Installation) -> str | None:
    """Say in the doctor's words why this engine, as installed here, cannot use the cards that are there.

    ``None`` where nothing is known against it.
    """
    checks = [check for name, check in ENGINE_CHECKS if name == engine]
    found = [finding for check in checks if (finding := check(facts)) is not None and finding.state == "fail"]
    if not found:
        return None
    first = found[0]
    return f"{first.what}. {first.why} {first.next_step}"


def _tensorflow_without_cuda(facts: Installation) -> Finding | None:
    version = facts.version("tensorflow") or facts.version("tensorflow-cpu")
    if version is None or not facts.has_card or facts.platform != "linux":
        return None
    cure = "`pip install '.[cuda]'` in a fresh environment."
    if facts.tensorflow is not None and facts.tensorflow.cuda is None:
        why = "This build of TensorFlow has no CUDA in it, so it trains on the CPU beside the card."
        return Finding("fail", "TensorFlow", f"TensorFlow {version}, a CPU-only build", why, cure)
    if facts.cuda_libraries and all(status.place == "absent" for status in facts.cuda_libraries):
        why = "The CUDA libraries it opens at start are not installed, so it trains on the CPU beside the card."
        return Finding("fail", "TensorFlow", f"TensorFlow {version} without its CUDA libraries", why, cure)
    return None


def _tensorflow_libraries(facts: Installation) -> Finding | None:
    if not facts.cuda_libraries or all(status.place == "absent" for status in facts.cuda_libraries):
        return None
    broken = [status for status in facts.cuda_libraries if status.error is not None]
    if broken:
        return _broken_libraries(broken)
    unseen = [status for status in facts.cuda_libraries if status.place == "wheel"]
    if unseen:
        return _unseen_libraries(unseen, facts.version("tensorflow"))
    return Finding("ok", "CUDA libraries", f"all {len(facts.cuda_libraries)} that TensorFlow opens are there")


def _broken_libraries(broken: Sequence[LibraryStatus]) -> Finding:
    details = "; ".join(str(status.error) for status in broken)
    wheels = " ".join(dict.fromkeys(f"'{status.library.distribution}'" for status in broken))
    return Finding(
        "fail",
        "CUDA libraries",
        "TensorFlow cannot open " + ", ".join(status.library.file for status in broken),
        f"It runs on the CPU if a single one is missing, and names none. The loader says: {details}.",
        f"`pip install --force-reinstall {wheels}`, or `pip install '.[cuda]'` in a fresh environment.",
    )


def _unseen_libraries(unseen: Sequence[LibraryStatus], version: str | None) -> Finding:
    files = ", ".join(status.library.file for status in unseen)
    folders = ":".join(dict.fromkeys(str(status.path.parent) for status in unseen if status.path))
    return Finding(
        "warn",
        "CUDA libraries",
        f"{files} is installed where TensorFlow {version or ''} does not look".replace("  ", " "),
        "The folder is missing from its binary's RUNPATH; a plain `import tensorflow` then finds no GPU. rtxbench "
        "opens the file first, so its own measurements run on the card.",
        f"For your own programs: `export LD_LIBRARY_PATH={folders}`.",
    )


def _jax_without_cuda(facts: Installation) -> Finding | None:
    version = facts.version("jax")
    if version is None or facts.cuda_of("jax") is not None or not facts.has_card:
        return None
    return Finding(
        "fail",
        "JAX",
        f"JAX {version} without a CUDA plugin",
        "It trains on the CPU beside the card.",
        "`pip install '.[jax-cuda]'` in an environment of its own.",
    )


def _torch_without_cuda(facts: Installation) -> Finding | None:
    version = facts.version("torch")
    if version is None or facts.torch_cuda is not None or not facts.has_card:
        return None
    return Finding(
        "fail",
        "PyTorch",
        f"PyTorch {version}, a CPU build",
        "It trains on the CPU beside the card.",
        "`pip install --force-reinstall torch` from PyPI (Linux wheels there carry CUDA).",
    )


def _inductor_toolchain(facts: Installation) -> Finding | None:
    """Warn where Inductor, which compiles a launcher in C for every kernel it makes, would fail at the first."""
    lacking = [] if facts.c_compiler else ["no C compiler"]
    lacking += [] if facts.python_headers else ["no Python.h"]
    if not lacking or facts.torch_cuda is None or not facts.has_card:
        return None
    return Finding(
        "warn",
        "PyTorch's compiler",
        f"{' and '.join(lacking)} for torch.compile",
        "Cases with compiler inductor fail; those without run.",
        f"`sudo apt install gcc python{facts.python[0]}.{facts.python[1]}-dev`, or your system's like of it.",
    )


def why_released_engine_cannot(engine: str, compute_capability: str | None) -> str | None:
    """Say why an engine's current wheels do not run on a card that is not here; ``None`` where they do."""
    newest = _RELEASED.get(engine)
    if newest is None or compute_capability is None or float(compute_capability) // 1 <= newest:
        return None
    return f"{_TITLES[engine]}'s wheels are built for up to sm_{newest}x and do not run on this card. {_OTHER_ENGINE}"


_RELEASED: Final[Mapping[str, int]] = {"tensorflow": 9}
"""Engine → newest major architecture of its wheels on PyPI (TensorFlow 2.21's build_info: sm_60 to compute_90)."""

ENGINE_CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("tensorflow", _tensorflow_without_cuda),
    ("tensorflow", _tensorflow_libraries),
    ("tensorflow", lambda facts: driver_problem("tensorflow", facts)),
    ("tensorflow", lambda facts: architecture_problem("tensorflow", facts)),
    ("jax", _jax_without_cuda),
    ("jax", lambda facts: driver_problem("jax", facts)),
    ("torch", _torch_without_cuda),
    ("torch", lambda facts: driver_problem("torch", facts)),
    ("torch", lambda facts: architecture_problem("torch", facts)),
    ("torch", _inductor_toolchain),
)
"""(engine, check of it), in the order they are shown."""

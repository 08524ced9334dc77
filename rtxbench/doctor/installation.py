"""Collect what is installed on this machine, as plain facts, without importing an engine.

Distributions are read from their metadata, an engine's CUDA build from the text file it ships, shared libraries by
opening them, and the cards from NVML through an injected probe. `rtxbench.doctor.checks` judges the facts.
"""

import ast
import importlib.metadata
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rtxbench.doctor.peer_copy import PeerCopies, probe_peer_copies
from rtxbench.errors import UnavailableError
from rtxbench.hardware.cuda_libraries import LibraryStatus, library_statuses, load_error
from rtxbench.hardware.nvml import GpuDevice, Nvml

__all__ = [
    "CardProbe",
    "Distribution",
    "Installation",
    "InstalledCard",
    "TensorflowBuild",
    "inspect_installation",
    "normalized_name",
    "probe_cards",
]


class InstalledCard(NamedTuple):
    """One NVIDIA card as the driver names it."""

    name: str
    compute_capability: tuple[int, int] | None = None
    pcie_width: int | None = None
    """Lanes in use."""
    pcie_width_most: int | None = None
    """Lanes that card and slot could use together."""
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    display_active: bool | None = None


class CardProbe(NamedTuple):
    """NVML's answer about the cards, or the reason why there is none."""

    cards: tuple[InstalledCard, ...] = ()
    driver: str | None = None
    cuda_driver: str | None = None
    """Highest CUDA version the driver serves, for example ``12.8``."""
    error: str | None = None


class Distribution(NamedTuple):
    """One installed distribution."""

    name: str
    """As its metadata spells it."""
    version: str
    shared_libraries: frozenset[str]
    """Paths of the shared libraries it installed, relative to site-packages."""


class TensorflowBuild(NamedTuple):
    """The CUDA version and architectures the installed TensorFlow was built for, from the text file it ships."""

    cuda: str | None
    """CUDA version, ``None`` for a build without CUDA."""
    compute_capabilities: tuple[str, ...] = ()
    """For example ``sm_60``, ``sm_89``, ``compute_90``."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """Everything the doctor's checks look at."""

    python: tuple[int, int]
    platform: str
    """``sys.platform``: linux, win32, darwin."""
    wsl: bool
    distributions: Mapping[str, Distribution]
    """By normalised name."""
    probe: CardProbe
    pci_cards: int
    """Display controllers with NVIDIA's vendor id on the PCI bus, driver or not."""
    tensorflow: TensorflowBuild | None
    """``None`` where TensorFlow is not installed or ships no build file."""
    torch_cuda: str | None
    """CUDA version the installed PyTorch was built for; ``None`` for a CPU build or where it is absent."""
    cuda_libraries: tuple[LibraryStatus, ...] = ()
    """TensorFlow's gate; empty where TensorFlow is absent or built without CUDA."""
    cpu_features: frozenset[str] = frozenset()
    """Flags of the first processor as Linux lists them."""
    visible_devices: str | None = None
    """``CUDA_VISIBLE_DEVICES``, ``None`` where it is not set."""
    peer_copies: PeerCopies | None = None
    """``None`` with fewer than two cards."""
    c_compiler: str | None = None
    """The C compiler on the path, ``None`` without one."""
    python_headers: bool = True
    """Presence of this interpreter's ``Python.h``, to compile against."""

    def cuda_of(self, engine: str) -> str | None:
        """CUDA version an installed engine is built for (of JAX the major version); ``None`` where it has none."""
        if engine == "tensorflow":
            return self.tensorflow.cuda if self.tensorflow is not None else None
        if engine == "torch":
            return self.torch_cuda
        plugins = (re.fullmatch(r"jax-cuda(\d+)-plugin", name) for name in self.distributions)
        return max((match.group(1) for match in plugins if match is not None), key=int, default=None)

    def version(self, name: str) -> str | None:
        """Installed version of a distribution, ``None`` where it is absent."""
        found = self.distributions.get(normalized_name(name))
        return found.version if found else None

    @property
    def has_card(self) -> bool:
        """An NVIDIA card is in the machine, whether or not its driver answers."""
        return bool(self.probe.cards) or self.pci_cards > 0


def normalized_name(name: str) -> str:
    """Write a distribution's name as indexes compare it (PEP 503): lower case, runs of ``-_.`` as one dash."""
    return re.sub(r"[-_.]+", "-", name).lower()


def probe_cards() -> CardProbe:
    """Ask NVML. A machine without a driver or a card is an answer with its reason, not an error."""
    try:
        nvml = Nvml.open()
    except UnavailableError as error:
        return CardProbe(error=error.message)
    try:
        devices = [device for device in nvml.devices() if device.parent_uuid is None]
    except UnavailableError as error:
        return CardProbe(error=error.message)
    finally:
        nvml.close()
    facts = devices[0].facts
    cards = tuple(_card(device) for device in devices)
    return CardProbe(cards, facts.get("driver"), facts.get("cuda_driver"))


def _card(device: GpuDevice) -> InstalledCard:
    facts = device.facts
    return InstalledCard(
        name=device.name,
        compute_capability=_capability(device),
        pcie_width=facts.get("pcie_width"),
        pcie_width_most=device.limits.get("pcie_width_most"),
        power_limit_w=facts.get("power_limit_w"),
        power_limit_default_w=device.limits.get("power_limit_default_w"),
        display_active=device.limits.get("display_active"),
    )


def _capability(device: GpuDevice) -> tuple[int, int] | None:
    text = device.facts.get("compute_capability")
    if text is None:
        return None
    major, _, minor = str(text).partition(".")
    return int(major), int(minor or 0)


def inspect_installation(
    probe: Callable[[], CardProbe] = probe_cards,
    site_packages: Sequence[Path] | None = None,
    root: Path = Path("/"),
    load: Callable[[str], str | None] = load_error,
    environ: Mapping[str, str] = os.environ,
    copies: Callable[[], PeerCopies] | None = probe_peer_copies,
    which: Callable[[str], str | None] = shutil.which,
    headers: Path | None = None,
) -> Installation:
    """Collect the facts.

    Args:
        probe: asks the driver for its cards.
        site_packages: folders to look for distributions in; by default those of this interpreter.
        root: where ``/proc`` and ``/sys`` are read from.
        load: opens a shared library and returns the loader's message, ``None`` on success.
        environ: the environment variables.
        copies: tries copies between two cards; asked only where there are two. ``None`` tries none.
        which: finds a program on the path.
        headers: where ``Python.h`` should be; by default where this interpreter was built to have it.
    """
    folders = [Path(entry) for entry in sys.path if entry] if site_packages is None else list(site_packages)
    package = _package(folders, "tensorflow")
    build = _tensorflow_build(package)
    cards = probe()
    return Installation(
        python=(sys.version_info.major, sys.version_info.minor),
        platform=sys.platform,
        wsl="microsoft" in _text(root / "proc/version").lower(),
        distributions=_distributions(folders),
        probe=cards,
        pci_cards=_pci_cards(root),
        tensorflow=build,
        torch_cuda=_torch_cuda(_package(folders, "torch")),
        cuda_libraries=library_statuses(folders, package, load) if build and build.cuda else (),
        cpu_features=_cpu_features(root),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"),
        c_compiler=which("gcc") or which("cc") or which("clang"),
        python_headers=(headers or Path(sysconfig.get_paths()["include"]) / "Python.h").is_file(),
        peer_copies=copies() if copies is not None and len(cards.cards) > 1 else None,
    )


def _distributions(folders: Sequence[Path]) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for entry in importlib.metadata.distributions(path=[str(folder) for folder in folders]):
        name = entry.metadata["Name"]
        if name:  # a half-removed distribution has a folder and no metadata
            libraries = frozenset(str(f) for f in entry.files or () if ".so" in f.name) if _is_nvidia(name) else None
            found.setdefault(normalized_name(name), Distribution(name, entry.version, libraries or frozenset()))
    return found


def _is_nvidia(name: str) -> bool:
    return normalized_name(name).startswith("nvidia-")


def _package(folders: Sequence[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name / "__init__.py").is_file()), None)


def _tensorflow_build(package: Path | None) -> TensorflowBuild | None:
    if package is None:
        return None
    match = re.search(r"OrderedDict\((\[.*\])\)", _text(package / "python/platform/build_info.py"))
    if match is None:
        return None
    facts = dict(ast.literal_eval(match.group(1)))
    if not facts.get("is_cuda_build"):
        return TensorflowBuild(None)
    return TensorflowBuild(str(facts.get("cuda_version")), tuple(facts.get("cuda_compute_capabilities", ())))


def _torch_cuda(package: Path | None) -> str | None:
    if package is None:
        return None
    match = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", _text(package / "version.py"), re.MULTILINE)
    return match.group(1) if match else None


def _pci_cards(root: Path) -> int:
    devices = (root / "sys/bus/pci/devices").glob("*")
    return sum(_text(d / "vendor").strip() == "0x10de" and _text(d / "class").startswith("0x03") for d in devices)


def _cpu_features(root: Path) -> frozenset[str]:
    match = re.search(r"^flags\s*:(.*)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return frozenset(match.group(1).split()) if match else frozenset()


def _text(path: Path) -> str:
    """Read a small text file, empty where there is none to read: absent is a fact here, not an error."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

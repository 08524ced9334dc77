"""Describe this machine and its software. Imports no engine; an engine passes its own libraries in.

The machine's slug names the folder under ``results/`` and must not identify a person or a network: it is made of
the processor, the GPUs and a short digest of the hardware's features, never of a host name.
"""

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from rtxbench.errors import UnavailableError
from rtxbench.hardware.cuda_visible_devices import ListedGpu, Visible, cuda_uuids, visible_gpus
from rtxbench.hardware.nvml import GpuDevice, Nvml
from rtxbench.processes import run_git
from rtxbench.records import Cpu, Environment, Gpu

__all__ = ["TRAINING_FEATURES", "cpu", "describe", "gpus"]

TRAINING_FEATURES: Final = (
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "amx_fp16",
    "avx512_fp16",
    "avx512_bf16",
    "avx512_vnni",
    "avx512f",
    "avx_vnni",
    "avx2",
    "fma",
    "f16c",
    "asimd",
    "bf16",
    "sve",
    "sme",
)
"""Instruction sets that decide which matrix kernels a CPU runs, by their name in ``/proc/cpuinfo``."""

_PACKAGES: Final = (
    "tensorflow",
    "keras",
    "keras-hub",
    "jax",
    "jaxlib",
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "flax",
    "optax",
    "numpy",
    "nvidia-ml-py",
    "pytest-benchmark",
    "rtxbench",
)
_VARIABLES: Final = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
"""Switches that change speed; their values are recorded beside the libraries."""


def describe(packages: Mapping[str, str] | None = None, libraries: Mapping[str, str] | None = None) -> Environment:
    """Describe the machine and software as they are now.

    Args:
        packages: versions to add to, or override, those of the installed distributions.
        libraries: what an engine reports of itself (CUDA, cuDNN, oneDNN).
    """
    missing: dict[str, str] = {}
    processor = cpu()
    cards = gpus(missing)
    commit, dirty = _commit(Path.cwd(), missing)
    switches = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return Environment(
        machine=_slug(processor, cards),
        cpu=processor,
        gpus=cards,
        operating_system=_operating_system(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={**_versions(_PACKAGES), **(packages or {})},
        libraries={**switches, **(libraries or {})},
        commit=commit,
        dirty=dirty,
        virtualization=_virtualization(missing),
        missing=missing,
    )


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """Describe the host processor; from the kernel where there is one to ask, from py-cpuinfo (slow) elsewhere."""
    name, flags = _proc_cpuinfo(cpuinfo) if cpuinfo.is_file() else _py_cpuinfo()
    return Cpu(
        name=name or platform.processor() or platform.machine(),
        physical_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        logical_cores=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        features=tuple(feature for feature in TRAINING_FEATURES if feature in flags),
        usable_cores=usable_cores(),
    )


def usable_cores() -> int | None:
    """Logical cores this process may run on; ``None`` where the system binds no process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _proc_cpuinfo(path: Path) -> tuple[str, frozenset[str]]:
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or fields.get("Model") or fields.get("Hardware") or ""
    return " ".join(name.split()), frozenset((fields.get("flags") or fields.get("Features") or "").split())


def _py_cpuinfo() -> tuple[str, frozenset[str]]:
    import cpuinfo  # takes a second and starts processes: only where there is no /proc

    info = cpuinfo.get_cpu_info()
    return str(info.get("brand_raw", "")), frozenset(info.get("flags", ()))


def gpus(missing: dict[str, str]) -> tuple[Gpu, ...]:
    """List the GPUs a CUDA program started now would see, in its order; ``missing`` gets reasons for absence."""
    try:
        nvml = Nvml.open()
    except UnavailableError as error:
        missing["gpus"] = error.message.rstrip(".")
        return ()
    try:
        devices = nvml.devices()
    except UnavailableError as error:
        missing["gpus"] = error.message.rstrip(".")
        return ()
    finally:
        nvml.close()
    if nvml.refused:
        missing["gpus_refused"] = "; ".join(f"{gpu}: {reason}" for gpu, reason in nvml.refused.items())
    listed = [ListedGpu(d.uuid, d.name, d.parent_uuid) for d in devices]
    visible = visible_gpus(listed, os.environ)
    if visible.caution:
        visible = _in_cudas_order(listed, visible)
    if visible.caution:
        missing["gpu_order"] = visible.caution
    if not visible.uuids:
        missing["gpus"] = f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')!r} hides every GPU"
    by_uuid = {d.uuid: d for d in devices}
    return tuple(_gpu(by_uuid[uuid]) for uuid in visible.uuids)


def _in_cudas_order(listed: Sequence[ListedGpu], guessed: Visible) -> Visible:
    """Take CUDA's own word where NVML cannot tell its order; the cautioned guess where CUDA does not answer."""
    said = cuda_uuids()
    known = {gpu.uuid for gpu in listed}
    return Visible(said, None) if said and known.issuperset(said) else guessed


def _gpu(device: GpuDevice) -> Gpu:
    return Gpu(uuid=device.uuid, name=device.name, index=device.index, missing=device.missing, **device.facts)


def _slug(processor: Cpu, cards: Sequence[Gpu]) -> str:
    """Write ``rtx-4090-x2-ryzen-9-7950x-5f1c2a``: readable first, then a digest of what makes it unique."""
    parts = []
    for name in dict.fromkeys(card.name for card in cards):
        count = sum(card.name == name for card in cards)
        parts.append(_words(name) + (f"-x{count}" if count > 1 else ""))
    parts.append(_words(processor.name) or "cpu")
    if processor.bound:
        # A process bound to some cores measures another machine than one that has them all.
        parts.append(f"{processor.usable_cores}-of-{processor.logical_cores}-cores")
    facts = [processor.name, processor.logical_cores, processor.memory_bytes >> 30, *processor.features]
    facts += [card.uuid for card in cards]
    digest = hashlib.sha256("|".join(map(str, facts)).encode()).hexdigest()[:6]
    suffix = _words(os.environ.get("RTXBENCH_MACHINE_SUFFIX", ""))  # one of several equal machines
    return "-".join([*parts, digest, *([suffix] if suffix else [])])


def _words(name: str) -> str:
    """Write a hardware name without vendor noise, as lower-case words joined by hyphens."""
    plain = re.sub(r"\((r|tm|c)\)", " ", name.lower())
    plain = re.sub(r"@.*|\b(nvidia|geforce|intel|amd|cpu|processor|with .*graphics|\d+-core)\b", " ", plain)
    return "-".join(re.findall(r"[a-z0-9.]+", plain))[:40].strip("-.")


def _operating_system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.system()} {platform.release()}"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _versions(names: Sequence[str]) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _commit(folder: Path, missing: dict[str, str]) -> tuple[str | None, bool | None]:
    """Return the commit of the folder worked in, and whether tracked files differ from it."""
    try:
        head = run_git(folder, "rev-parse", "HEAD", timeout_s=10)
        changed = run_git(folder, "status", "--porcelain", "--untracked-files=no", timeout_s=10)
        head.check_returncode()
        changed.check_returncode()
        return head.stdout.strip(), bool(changed.stdout)
    except FileNotFoundError:
        missing["commit"] = "git is not installed"
    except subprocess.SubprocessError:
        missing["commit"] = "the working folder is not in a git repository"
    return None, None


def _virtualization(missing: dict[str, str]) -> str | None:
    """Container or hypervisor, as a short word; ``none`` on bare metal, ``None`` where unknown."""
    if sys.platform != "linux":
        missing["virtualization"] = "only looked for on Linux"
        return None
    if "microsoft" in platform.release().lower():
        return "wsl2"
    container = _container()
    flags = _proc_cpuinfo(Path("/proc/cpuinfo"))[1]
    hypervisor = _read(Path("/sys/class/dmi/id/sys_vendor")) or "virtual machine" if "hypervisor" in flags else None
    return ", ".join(filter(None, (container, hypervisor))) or "none"


def _container() -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

"""Frozen records of the machine that a figure depends on: processor, devices, software."""

import msgspec

from rtxbench.fields import Count, Figure, Slug

__all__ = ["Cpu", "Environment", "Gpu", "Node"]


class _Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strict value: unknown fields are an error, so a stranger's file cannot smuggle anything in."""


class Cpu(_Frozen, frozen=True, kw_only=True):
    """The host processor. ``features`` lists only what matters for training (amx_bf16, avx512_bf16, …)."""

    name: str
    physical_cores: Count
    logical_cores: Count
    memory_bytes: Count
    features: tuple[str, ...] = ()
    usable_cores: Count | None = None
    """Logical cores this process may use (taskset, a container's CPU set); ``None`` where the system does not say."""

    @property
    def bound(self) -> bool:
        """Return whether some cores are out of this process's reach."""
        return self.usable_cores is not None and self.usable_cores < self.logical_cores


class Gpu(_Frozen, frozen=True, kw_only=True):
    """One NVIDIA device as NVML describes it. ``missing`` gives the reason of every ``None``."""

    uuid: str
    name: str
    index: Count
    memory_bytes: Count | None = None
    driver: str | None = None
    cuda_driver: str | None = None
    vbios: str | None = None
    power_limit_w: Figure | None = None
    compute_capability: str | None = None
    pcie_width: Count | None = None
    pcie_generation: Count | None = None
    persistence_mode: bool | None = None
    missing: dict[str, str] = {}


class Node(_Frozen, frozen=True, kw_only=True):
    """One rank of a step that several machines run together. ``missing`` gives the reason of every ``None``."""

    rank: Count
    host: str
    """Name that its system goes by."""
    machine: str = ""
    """Fingerprint of its hardware, as in `Environment`."""
    device: str = ""
    """cpu or gpu, and its number on the node: ``gpu:0``."""
    interface: str | None = None
    """Network interface that it is reached by."""
    link_bit_per_s: Figure | None = None
    """Speed that the interface's driver reports; what the link gives is measured by all-reduces."""
    missing: dict[str, str] = {}


class Environment(_Frozen, frozen=True, kw_only=True):
    """Everything about the machine and software that a figure depends on."""

    machine: Slug
    """Fingerprint slug of the hardware, the folder under ``results/``; holds no host name."""
    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()
    operating_system: str = ""
    python: str = ""
    packages: dict[str, str] = {}
    """Installed versions of what the figures rest on: tensorflow, keras, numpy, …"""
    libraries: dict[str, str] = {}
    """CUDA, cuDNN, oneDNN versions and switches as the engine was built or started with."""
    commit: str | None = None
    dirty: bool | None = None
    virtualization: str | None = None
    missing: dict[str, str] = {}

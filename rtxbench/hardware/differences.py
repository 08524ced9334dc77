"""Compare two environments, and say which of their differences is known to change training speed."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from rtxbench.records import Environment
from rtxbench.units import format_bytes, format_power

__all__ = ["Difference", "differences", "differences_text"]

_WHY: Final[Mapping[str, str]] = {
    "processor": "the host prepares batches and launches every kernel",
    "usable cores": "fewer cores slow the input pipeline, and a CPU's training itself",
    "CPU features": "they decide which matrix kernels a CPU runs",
    "memory": "too little of it swaps",
    "GPUs": "the hardware under test",
    "GPU driver": "drivers change kernels, clocks and power management",
    "GPU power limit": "a lower limit lowers the clock under load",
    "PCIe link": "it limits copies to the card and between cards",
    "virtualization": "other guests take time, and sensors may be hidden",
    "operating system": "scheduler and driver stack",
    "tensorflow": "kernels, fusion and the compiler change between releases",
    "keras": "layers are written out differently between releases",
    "jax": "the compiler comes with it",
    "jaxlib": "the compiler itself",
    "torch": "kernels and the compiler change between releases",
    "numpy": "the input pipeline may use it",
    "cudnn": "convolution algorithms are chosen by it",
    "cuda": "libraries of matrix kernels come with it",
    "onednn": "CPU kernels are its",
    "NVIDIA_TF32_OVERRIDE": "it switches TF32 on or off, up to 8× in products",
    "TF_ENABLE_ONEDNN_OPTS": "it switches the CPU's fast kernels",
    "ONEDNN_MAX_CPU_ISA": "it can hide a CPU's matrix unit",
    "OMP_NUM_THREADS": "threads of CPU kernels",
    "XLA_FLAGS": "options of the compiler",
    "TF_XLA_FLAGS": "options of the compiler",
    "CUDA_VISIBLE_DEVICES": "which cards are used",
    "commit": "the measured code itself",
}
"""Fact → why a difference in it is known to matter. A fact without a row may differ without an effect on speed."""


class Difference(NamedTuple):
    """One fact that is not the same in two environments."""

    name: str
    first: str
    second: str
    why: str
    """Reason why it matters; empty where none is known."""


def differences(first: Environment, second: Environment) -> tuple[Difference, ...]:
    """Compare two environments fact by fact; what is known to matter comes first."""
    one, other = _facts(first), _facts(second)
    found = [
        Difference(name, one.get(name, "not recorded"), other.get(name, "not recorded"), _why(name))
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    ]
    return tuple(sorted(found, key=lambda difference: not difference.why))


def differences_text(found: Iterable[Difference]) -> str:
    """Write the differences as lines for the terminal, the sentence to quote last."""
    rows = list(found)
    lines = [f"{row.name}: {row.first} → {row.second}" + (f"   ({row.why})" if row.why else "") for row in rows]
    known = [row.name for row in rows if row.why]
    if not rows:
        return "The two environments are the same in every recorded fact."
    said = f"known to matter for speed: {', '.join(known)}" if known else "none of them is known to matter for speed"
    return "\n".join([*lines, "", f"{len(rows)} facts differ; {said}."])


def _why(name: str) -> str:
    return _WHY.get(name) or next((why for key, why in _WHY.items() if name.lower().startswith(key.lower())), "")


def _facts(environment: Environment) -> dict[str, str]:
    cpu, gpus = environment.cpu, environment.gpus
    facts = {
        "processor": cpu.name,
        "usable cores": str(cpu.usable_cores or cpu.logical_cores),
        "CPU features": " ".join(cpu.features) or "none listed",
        "memory": format_bytes(cpu.memory_bytes),
        "GPUs": " + ".join(gpu.name for gpu in gpus) or "none",
        "GPU driver": " ".join(dict.fromkeys(gpu.driver for gpu in gpus if gpu.driver)),
        "GPU power limit": ", ".join(format_power(gpu.power_limit_w) for gpu in gpus if gpu.power_limit_w is not None),
        "PCIe link": ", ".join(f"{gpu.pcie_generation}.0 ×{gpu.pcie_width}" for gpu in gpus if gpu.pcie_width),
        "operating system": environment.operating_system,
        "virtualization": environment.virtualization or "none detected",
        "python": environment.python,
        "commit": environment.commit or "",
        **environment.packages,
        **environment.libraries,
    }
    return {name: value for name, value in facts.items() if value}

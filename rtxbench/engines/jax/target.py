"""Describe an NVIDIA card to XLA's compiler, which needs the description and not the card."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from rtxbench.catalog.cards import Card

__all__ = ["target_config"]


class _Architecture(NamedTuple):
    """Facts that a compute capability fixes: NVIDIA's CUDA C++ Programming Guide, table of technical specifications."""

    threads_per_core: int
    shared_memory_per_core: int
    shared_memory_per_block_optin: int
    feature_extension: str = "NONE"


_ARCHITECTURES: Final[Mapping[str, _Architecture]] = {
    "8.0": _Architecture(2048, 167936, 166912),
    "8.6": _Architecture(1536, 102400, 101376),
    "8.9": _Architecture(1536, 102400, 101376),
    "9.0": _Architecture(2048, 233472, 232448, "ACCELERATED_FEATURES"),
    "12.0": _Architecture(1536, 102400, 101376),
}


def target_config(card: Card) -> str:
    """XLA's ``GpuTargetConfigProto`` of a card, as text."""
    capability = card.compute_capability or ""
    architecture = _ARCHITECTURES[capability]
    major, _, minor = capability.partition(".")
    fields = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "shared_memory_per_core": architecture.shared_memory_per_core,
        "threads_per_core_limit": architecture.threads_per_core,
        "core_count": card.sm_count,
        "fpus_per_core": 128,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "memory_bandwidth": int(card.memory_bandwidth_bytes_per_s),
        "l2_cache_size": 36 * 2**20,  # only cost models read it, and nothing is chosen by cost here
        "clock_rate_ghz": (card.boost_clock_hz or 0) / 1e9,
        "device_memory_size": int(card.memory_bytes * 0.98),
        "shared_memory_per_block_optin": architecture.shared_memory_per_block_optin,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "thread_dim_limit_x": 1024,
        "thread_dim_limit_y": 1024,
        "thread_dim_limit_z": 64,
    }
    lines = [f"  {name}: {value}" for name, value in fields.items()]
    extension = architecture.feature_extension
    lines.append(f"  cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {extension} }}")
    lines += [
        '  dnn_version: "9.8.0"',
        '  runtime_version: "12.9.0"',
        '  driver_version: "12.8.0"',
        '  compile_time_toolkit_version: "12.9.0"',
    ]
    body = "\n".join(lines)
    return (
        f"gpu_device_info {{\n{body}\n}}\n"
        'platform_name: "CUDA"\ndnn_version_info { major: 9 minor: 8 patch: 0 }\n'
        f'device_description_str: "NVIDIA {card.name}"\n'
    )

"""Name machines in words, and apart: processors of one maker share most of their names."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from rtxbench.placement import is_functional_check
from rtxbench.records import Environment
from rtxbench.results.made_here import ELSEWHERE
from rtxbench.units import format_bytes

__all__ = ["device_title", "distinctions", "machine_title", "machine_titles"]

_Key = TypeVar("_Key", bound=Hashable)


def machine_title(environment: Environment) -> str:
    """Name a machine in a few words: its GPUs if it has any, else its processor; and what of it could be used."""
    names = [gpu.name for gpu in environment.gpus]
    cpu = environment.cpu
    cores = f"{cpu.usable_cores} of {cpu.logical_cores} cores" if cpu.bound else ""
    if not names:
        return f"{_tidy(cpu.name)} ({', '.join(filter(None, ('CPU only', cores)))})"
    counted = (f"{names.count(name)}× {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names))
    return " + ".join(counted) + (f" ({cores})" if cores else "")


def device_title(environment: Environment, placement: str, device_count: int) -> str:
    """Name what a case really ran on, in short: ``RTX 4090`` for one card of two, ``2× RTX 4090`` for both."""
    if placement == "cpu" or is_functional_check(placement) or not environment.gpus:
        return _without_maker(environment.cpu.name)
    names = list(dict.fromkeys(gpu.name for gpu in environment.gpus[:device_count]))
    counted = f"{device_count}× " if device_count > 1 and len(names) == 1 else ""
    return counted + " + ".join(_without_maker(name) for name in names)


def machine_titles(machines: Mapping[str, Environment]) -> dict[str, str]:
    """Map each machine to its title, with what sets it apart where another's is nearly the same."""
    titles = {machine: machine_title(environment) for machine, environment in machines.items()}
    shorts = {machine: _without_clock(title) for machine, title in titles.items()}
    apart = distinctions(machines, shorts)
    return {machine: f"{title}: {apart[machine]}" if apart[machine] else title for machine, title in titles.items()}


def distinctions(environments: Mapping[_Key, Environment], names: Mapping[_Key, str]) -> dict[_Key, str]:
    """Find the words that set things of the same name apart.

    Args:
        environments: the machine of each.
        names: what each is called, without maker and clock.

    Returns:
        Key → as few facts as tell it from its namesakes, the fingerprint where no fact does; ``""`` for an own name.
    """
    alike: dict[str, list[_Key]] = {}
    for key, name in names.items():
        alike.setdefault(name, []).append(key)
    found = dict.fromkeys(names, "")
    for group in alike.values():
        if len(group) > 1:
            found.update(_apart({key: environments[key] for key in group}))
    return found


def _apart(environments: Mapping[_Key, Environment]) -> dict[_Key, str]:
    facts = {key: _facts(environment) for key, environment in environments.items()}
    return {key: _telling(row, [other for k, other in facts.items() if k != key]) for key, row in facts.items()}


def _telling(row: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> str:
    """Take the facts, the most telling first, by which a row differs from others that those before left alike."""
    said, alike = [], list(others)
    for column, fact in enumerate(row):
        left = [other for other in alike if other[column] == fact]
        if fact and len(left) < len(alike):
            said.append(fact)
            alike = left
    return ", ".join(said)


def _facts(environment: Environment) -> tuple[str, ...]:
    """List what tells machines apart in words, the most telling first."""
    cpu = environment.cpu
    cores = cpu.usable_cores if cpu.bound and cpu.usable_cores else cpu.logical_cores
    return (
        "measured elsewhere" if environment.machine.endswith(ELSEWHERE) else "",
        _without_maker(cpu.name) if environment.gpus else "",
        _matrix_unit(cpu.features),
        f"{cores} logical core{'' if cores == 1 else 's'}",
        f"{format_bytes(cpu.memory_bytes)} of memory",
        environment.operating_system or "",
        environment.machine.rsplit("-", 1)[-1],
    )


def _matrix_unit(features: tuple[str, ...]) -> str:
    if "amx_bf16" in features:
        return "AMX matrix unit"
    if "avx512_bf16" in features:
        return "AVX-512 BF16"
    return "no bfloat16 unit" if features else ""


def _without_maker(name: str) -> str:
    return " ".join(re.sub(r"\((?:R|TM|C)\)|\b(?:NVIDIA|GeForce|Processor|CPU)\b|@.*", "", name).split()) or name


def _tidy(name: str) -> str:
    """Write ``Intel Xeon, 2.50 GHz`` for ``Intel(R) Xeon(R) Processor @ 2.50GHz``; other names as they are."""
    clock = re.search(r"@ *([\d.]+) *([GM]Hz)", name)
    return f"{_without_maker(name)}, {clock[1]}\u00a0{clock[2]}" if clock else _without_maker(name)


def _without_clock(title: str) -> str:
    """Make titles alike that differ in the processor's clock alone: it tells little, and not every name has it."""
    return re.sub(r", [\d.]+\s[GM]Hz", "", title)

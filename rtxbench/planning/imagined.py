"""The plan for a card one does not own: its groups, arms, memory and time."""

import textwrap
from collections.abc import Sequence
from typing import Final

from rtxbench.catalog.cards import Card, match_device
from rtxbench.catalog.cards import load_cards as _load_cards
from rtxbench.doctor.engine_checks import why_released_engine_cannot
from rtxbench.measure.groups import Group
from rtxbench.measure.profiles import Profile
from rtxbench.planning.duration import Machine, group_s, plan_s
from rtxbench.planning.memory import USABLE_SHARE, group_bytes
from rtxbench.records import Case, Cpu, Environment, Gpu
from rtxbench.units import format_bytes, format_duration

__all__ = ["environment_with", "machine_of", "plan_text", "refused_engines"]

_WIDTH: Final = 100
"""Columns of the terminal that a list of cases is folded to."""


def environment_with(card: Card, count: int, cpu: Cpu, memory_bytes: int | None = None) -> Environment:
    """Describe a machine that has so many of a card beside a processor.

    Args:
        card: from the catalogue.
        count: of them.
        cpu: the processor.
        memory_bytes: of each card, where it differs from the catalogue's (a laptop's edition).
    """
    gpus = tuple(
        Gpu(
            uuid=f"GPU-imagined-{index}",
            name=f"NVIDIA {card.name}",
            index=index,
            memory_bytes=memory_bytes or card.memory_bytes,
            compute_capability=card.compute_capability,
        )
        for index in range(count)
    )
    return Environment(machine="imagined", cpu=cpu, gpus=gpus)


def machine_of(environment: Environment) -> Machine:
    """Read what predictions need from a description of a machine; several GPUs count by the smallest."""
    if not environment.gpus:
        return Machine(memory_bytes=None)
    first = environment.gpus[0]
    known = [gpu.memory_bytes for gpu in environment.gpus if gpu.memory_bytes is not None]
    card = match_device(first.name, first.memory_bytes, _load_cards())
    return Machine(
        memory_bytes=min(known, default=None), fp32_flop_per_s=None if card is None else card.fp32_flop_per_s
    )


def refused_engines(environment: Environment) -> dict[str, str]:
    """Engines whose released wheels do not run on the cards, with the reason."""
    capability = environment.gpus[0].compute_capability if environment.gpus else None
    reasons = {name: why_released_engine_cannot(name, capability) for name in ("tensorflow", "jax", "torch")}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def plan_text(groups: list[Group], environment: Environment, profile: Profile) -> str:
    """Print a plan: the time of it all, one line per group, what is set aside by reason. All is predicted."""
    machine = machine_of(environment)
    usable = None if machine.memory_bytes is None else machine.memory_bytes * USABLE_SHARE
    names = " + ".join(gpu.name for gpu in environment.gpus) or environment.cpu.name
    offered = "" if usable is None else f", {format_bytes(usable)} of device memory offered"
    least, most = plan_s(groups, machine, profile)
    open_questions = "" if most <= least else f", at most {format_duration(most)} with launches for open questions"
    lines = [
        f"About {format_duration(least)}{open_questions}: profile {profile.name} on {names}{offered}; memory and time "
        "are predicted.",
        "",
    ]
    lines += [_line(group, machine, profile) for group in groups if group.cases]
    lines += _aside_lines(groups)
    return "\n".join(lines)


def _aside_lines(groups: Sequence[Group]) -> list[str]:
    """Name what is set aside under each reason, the reason that keeps most away first."""
    aside: dict[str, dict[str, None]] = {}
    for group in groups:
        for case, reason in group.skipped:
            aside.setdefault(reason, {})[case.label] = None
    lines = []
    for reason, labels in sorted(aside.items(), key=lambda item: -len(item[1])):
        head = f"set aside ({len(labels)}): {reason}"
        lines += ["", head, *textwrap.wrap(", ".join(labels), _WIDTH, initial_indent="  ", subsequent_indent="  ",
                                           break_long_words=False, break_on_hyphens=False)]  # fmt: skip
    return lines


def _line(group: Group, machine: Machine, profile: Profile) -> str:
    held = group_bytes(group)
    memory = "unknown" if held is None else format_bytes(held) if held else "host only"
    seconds = group_s(group, machine, profile)
    arms = ", ".join(_short(case, group.cases[0]) for case in group.cases)
    turns = " (whole processes in turn)" if group.apart else ""
    return f"  {group.name:<40} {memory:>10} {format_duration(seconds):>12}  {arms}{turns}"


def _short(case: Case, baseline: Case) -> str:
    """Name an arm by what tells it from the baseline; the baseline by all of it."""
    if case is baseline:
        return case.label
    fields = ("workload", "precision", "placement", "engine", "compiler", "device_count", "batch_size", "variant")
    return "/".join(str(getattr(case, name)) for name in fields if getattr(case, name) != getattr(baseline, name))

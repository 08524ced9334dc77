"""Predict how long a group takes, before it runs, from the workload's FLOPs and the protocol's constants.

It is there to refuse what cannot end in time and to tell a user what to expect, not to be right to the second: start-up
and compilation were timed on a two-core server processor, where they are slower than on a desktop.
"""

from dataclasses import dataclass
from typing import Final

from rtxbench.engines.refusals import default_compiler
from rtxbench.measure.groups import Group
from rtxbench.measure.profiles import Profile, ShortWarmUp
from rtxbench.placement import PLACEMENTS
from rtxbench.planning.memory import step_flops
from rtxbench.precision import precision_named
from rtxbench.records import Case
from rtxbench.units import format_duration

__all__ = ["Machine", "group_s", "launch_s", "plan_s", "step_s", "why_unreachable"]

_START_S: Final = 6.0
"""Start of a worker: importing TensorFlow with Keras took 4 to 8 s."""
_BUILD_S: Final = {
    "mlp": 1.5,
    "mlp-wide": 1.5,
    "cnn": 2.0,
    "digits-cnn": 2.0,
    "resnet50": 11.0,
    "resnet50-64px": 11.0,
    "convnext-tiny": 12.0,
    "mobilenetv3": 12.0,
    "bert-base": 12.0,
    "bert-base-half": 7.0,
    "gpt2": 12.0,
    "llama-1b-lora": 16.0,
    "llama-1b-lora-int8": 20.0,
    "llama-3b-lora": 30.0,
    "llama-8b-lora": 45.0,
    "bert-small": 4.5,
}
"""Building, tracing and the first step of a deep workload: bert-base took 22 to 25 s on the server, ResNet-50 23 s,
bert-mini 9 s; half of it on a desktop. The Llamas fill their weights first. Twice as long
with a compiler that users must ask for."""
_SMALL_BUILD_S: Final = 3.0
"""The same for every other one."""
_GPU_SHARE: Final = 0.35
"""Of the card's float32 peak that a training step reaches; a cautious figure."""
_CPU_FLOP_PER_S: Final = 0.5e12
"""Of a desktop processor in training; the two-core server this project measured on reaches 0.2e12."""
_TRIALS_S: Final = {"smoke": 60.0, "quick": 280.0, "standard": 2400.0, "full": 10800.0}
"""Trials and evidence of causes, by profile, as they took on that server; a GPU is faster."""
_LEAST_BLOCKS: Final = 6
"""Blocks of each arm in the fewest rounds of a launch, three of two blocks each."""
_UNKNOWN_STEP_S: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts of a machine that the prediction needs."""

    memory_bytes: float | None
    """Of one GPU; ``None`` without one."""
    fp32_flop_per_s: float | None = None
    """The GPU's peak on CUDA cores; ``None`` where unknown."""


def step_s(case: Case, machine: Machine) -> float:
    """Predict one training step, seconds; a tenth of a second where the workload's FLOPs are not known."""
    flops = step_flops(case)
    if flops is None:
        return _UNKNOWN_STEP_S
    if PLACEMENTS[case.placement].device_kind == "cpu":
        return flops / _CPU_FLOP_PER_S
    rate = (machine.fp32_flop_per_s or 10e12) * _GPU_SHARE * case.device_count
    return flops / rate / (2.0 if precision_named(case.precision).products == "matrix" else 1.0)


def launch_s(group: Group, machine: Machine, profile: Profile) -> float:
    """Predict one launch: workers, builds, warm-up, the fewest rounds that its time budget leaves."""
    workers = (
        len(group.cases)
        if group.apart
        else len({case if PLACEMENTS[case.placement].isolated else case.engine for case in group.cases})
    )
    total = _START_S * workers
    rounds_s, least_s = 0.0, 0.0
    for case in group.cases:
        one = step_s(case, machine)
        total += _build_s(case) + _warm_up_s(profile, one)
        block = max(profile.block_s, one) + one  # a lead-in step before each
        rounds_s += 2 * profile.rounds * block
        least_s += _LEAST_BLOCKS * block
    return total + max(least_s, min(rounds_s, profile.timed_budget_s))


def group_s(group: Group, machine: Machine, profile: Profile) -> float:
    """Predict a group's least launches and the stretches in which each arm on a GPU runs alone."""
    on_gpu = sum(PLACEMENTS[case.placement].device_kind == "gpu" for case in group.cases)
    launches_s = profile.launches_min * launch_s(group, machine, profile) if group.cases else 0.0
    return launches_s + profile.sustained_gpu_s * on_gpu


def _build_s(case: Case) -> float:
    seconds = _BUILD_S.get(case.workload, _SMALL_BUILD_S)
    return seconds if case.compiler == default_compiler(case.engine) else 2 * seconds


def _warm_up_s(profile: Profile, one_step_s: float) -> float:
    rule = profile.warm_up
    if isinstance(rule, ShortWarmUp):
        return max(rule.seconds, rule.least_blocks * max(rule.block_s, one_step_s)) + one_step_s
    return min(rule.cap_s, 2 * rule.window_blocks * max(rule.block_s, one_step_s))


def why_unreachable(group: Group, machine: Machine, profile: Profile) -> str | None:
    """Say why a group would stop before the launches that a verdict needs; ``None`` where it would not."""
    if group.baseline is None:
        return None
    needed_s = group_s(group, machine, profile)
    if needed_s <= profile.group_budget_s:
        return None
    return (
        f"its {profile.launches_min} launches would take about {format_duration(needed_s)} (predicted) and profile "
        f"{profile.name} gives a group {format_duration(profile.group_budget_s)}; use a longer profile or `--budget`."
    )


def plan_s(groups: list[Group], machine: Machine, profile: Profile) -> tuple[float, float]:
    """Predict a whole run: seconds of the least launches, and with everything the profile may add."""
    least = sum(group_s(group, machine, profile) for group in groups)
    session_s = profile.session_on("cpu" if machine.memory_bytes is None else "gpu")
    most = max(least, min(session_s, profile.group_budget_s * sum(bool(group.cases) for group in groups)))
    return least + _TRIALS_S[profile.name], most + _TRIALS_S[profile.name]

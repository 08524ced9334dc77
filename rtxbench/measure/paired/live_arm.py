"""One arm within one launch: its blocks, its lead-in, its warm-up, and its sustained stretch."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from rtxbench.errors import RtxbenchError
from rtxbench.measure.paired.result import ArmResult, Stretch
from rtxbench.measure.profiles import ShortWarmUp, WarmUpRule
from rtxbench.placement import placement_named
from rtxbench.stats import two_window_steady
from rtxbench.workers.process import WorkerProcess
from rtxbench.workers.protocol import Block, Built, Timed

__all__ = ["GPU_LEAD_IN_S", "LastBusy", "LiveArm", "run_stretch", "survives", "warm_up"]

_BLOCK_LIMIT_S: Final = 120.0
_BLOCK_LIMIT_FACTOR: Final = 20.0
_GPU_IDLE_NS: Final = 100_000_000
"""A card left alone for longer has begun to lower its clocks."""
GPU_LEAD_IN_S: Final = 0.5
"""Untimed work after that: the clocks are up again (an H200 goes from 345 to 1980 MHz within it)."""
_STRETCH_BLOCK_S: Final = 1.0

LastBusy = dict[str, int]
"""Kind of device → when the last block on it ended, ``time.monotonic_ns``; shared by the arms of a launch."""


@dataclass
class LiveArm:
    """One arm within one launch."""

    result: ArmResult
    worker: WorkerProcess
    built: Built
    position: int
    """Its place among the arms of the launch: 0 was started, built and warmed up first."""
    last_busy: LastBusy
    step_s: float = 0.0
    steps_per_block: int = 1
    warmup_ok: bool = False
    warmup_s: float = 0.0
    blocks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Name of the arm, unique in its pairing."""
        return self.result.arm.key

    @property
    def device_kind(self) -> str:
        """Kind of device it computes on: cpu or gpu."""
        return placement_named(self.result.arm.case.placement).device_kind

    def timed(self, steps: int, lead_in: int = 0) -> tuple[int, int]:
        """Run a block of ``steps`` counted steps; returns its window."""
        planted = round(steps * self.result.arm.planted_slowdown_ratio)
        limit = _BLOCK_LIMIT_S + _BLOCK_LIMIT_FACTOR * self.step_s * (steps + lead_in + planted)
        request = Block(arm=self.key, steps=steps + planted, lead_in=lead_in)
        window = self.worker.ask(request, Timed, limit)
        self.last_busy[self.device_kind] = window.end_ns
        return window.start_ns, window.end_ns

    def lead_in(self) -> int:
        """Choose the untimed steps after another arm: two, or one where a step is long; more on a GPU gone idle."""
        few = 1 if self.step_s > 0.05 else 2
        if self.device_kind != "gpu" or time.monotonic_ns() - self.last_busy.get("gpu", 0) < _GPU_IDLE_NS:
            return few
        return max(few, math.ceil(GPU_LEAD_IN_S / max(self.step_s, 1e-7)))

    def step_times(self, blocks: Sequence[tuple[int, int]]) -> list[float]:
        """Divide each block's seconds by its counted steps."""
        return [_seconds(block) / self.steps_per_block for block in blocks]

    def steps_for(self, block_s: float) -> int:
        """Choose the steps that fill a block; a planted slowdown needs whole extra steps, hence a multiple of 1/δ."""
        steps = max(1, round(block_s / max(self.step_s, 1e-7)))
        planted = self.result.arm.planted_slowdown_ratio
        unit = max(self.result.arm.steps_unit, round(1 / planted) if planted > 0 else 1)
        return unit * max(1, round(steps / unit))

    def still_steady(self) -> bool:
        """Check the timed blocks for a step or a ramp, which a short warm-up did not do before."""
        times = self.step_times(self.blocks)
        return len(times) >= 6 and two_window_steady(times, len(times) // 2)


def survives(arm: LiveArm, action: Callable[[LiveArm], object]) -> bool:
    """Run the action and return whether it went through; what went wrong is kept as the arm's failure."""
    try:
        action(arm)
    except RtxbenchError as error:
        arm.result.failure = error
        return False
    return True


def warm_up(arm: LiveArm, rule: WarmUpRule | ShortWarmUp, block_s: float) -> None:
    """Run blocks as the rule says, and size the timed ones by the last of them."""
    began_ns = time.monotonic_ns()
    arm.step_s = _seconds(arm.timed(1))
    recent = _short(arm, rule) if isinstance(rule, ShortWarmUp) else _until_steady(arm, rule)
    arm.step_s = float(np.median(recent or [arm.step_s]))
    arm.warmup_s = (time.monotonic_ns() - began_ns) / 1e9
    arm.steps_per_block = arm.steps_for(block_s)


def _short(arm: LiveArm, rule: ShortWarmUp) -> list[float]:
    """Blocks for the rule's time and at least its number, unless a single step is longer than that."""
    steps = arm.steps_for(rule.block_s)
    times: list[float] = []
    spent_s = 0.0
    while spent_s < rule.seconds or (len(times) < rule.least_blocks and spent_s < 3 * rule.seconds):
        times.append(_seconds(arm.timed(steps)) / steps)
        spent_s += times[-1] * steps
    return times[-rule.least_blocks :]


def _until_steady(arm: LiveArm, rule: WarmUpRule) -> list[float]:
    """Blocks until the two-window rule holds ``consecutive`` times in a row, or the cap is reached."""
    began = time.monotonic()
    steps = arm.steps_for(rule.block_s)
    times: list[float] = []
    steady = 0
    while steady < rule.consecutive and time.monotonic() - began < rule.cap_s:
        times.append(_seconds(arm.timed(steps)) / steps)
        enough = len(times) >= 2 * rule.window_blocks
        steady = steady + 1 if enough and two_window_steady(times, rule.window_blocks) else 0
    arm.warmup_ok = steady >= rule.consecutive
    return times[-rule.window_blocks :]


def run_stretch(arm: LiveArm, seconds: float) -> Stretch:
    """Run the arm alone for ``seconds`` of its own blocks, and keep the second half of that time."""
    steps = max(arm.steps_per_block, arm.steps_for(min(_STRETCH_BLOCK_S, seconds / 8)))
    blocks = [arm.timed(steps)]
    while (blocks[-1][1] - blocks[0][0]) / 1e9 < seconds or len(blocks) < 2:
        blocks.append(arm.timed(steps))
    middle_ns = blocks[0][0] + (blocks[-1][1] - blocks[0][0]) // 2
    kept = [block for block in blocks if block[0] >= middle_ns] or blocks[-1:]
    discarded_s = (kept[0][0] - blocks[0][0]) / 1e9
    return Stretch(tuple(kept), steps * len(kept), discarded_s)


def _seconds(window_ns: tuple[int, int]) -> float:
    return (window_ns[1] - window_ns[0]) / 1e9

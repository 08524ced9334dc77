"""One launch of a pairing: fresh workers, build, warm-up, balanced rounds, and the number it contributes.

An arm that fails drops out with its reason; the others go on.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.measure.arms import BUILD_LIMIT_S, LaunchSource, end_workers, in_turn
from rtxbench.measure.paired_result import ArmResult, Pairing
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.records import Launch
from rtxbench.stats import log_ratio_per_round, trimmed_mean, two_window_steady
from rtxbench.workers.process import WorkerProcess
from rtxbench.workers.protocol import Block, Build, Built, Describe, Described, Timed

__all__ = ["round_order", "run_launch"]

_BLOCK_LIMIT_S = 120.0
_BLOCK_LIMIT_FACTOR = 20.0
_LEAST_ROUNDS = 3


@dataclass
class _LiveArm:
    """One arm within one launch."""

    result: ArmResult
    worker: WorkerProcess
    built: Built
    step_s: float = 0.0
    steps_per_block: int = 1
    warmup_ok: bool = False
    warmup_s: float = 0.0
    blocks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The arm's own."""
        return self.result.arm.key

    def timed(self, steps: int, lead_in: int = 0) -> tuple[int, int]:
        """Run a block of ``steps`` counted steps; returns its window."""
        planted = round(steps * self.result.arm.planted_slowdown_ratio)
        limit = _BLOCK_LIMIT_S + _BLOCK_LIMIT_FACTOR * self.step_s * (steps + lead_in + planted)
        request = Block(arm=self.key, steps=steps + planted, lead_in=lead_in)
        window = self.worker.ask(request, Timed, limit)
        return window.start_ns, window.end_ns

    def lead_in(self) -> int:
        """Untimed steps after another arm has run: two, or one where a step is long."""
        return 1 if self.step_s > 0.05 else 2

    def step_times(self, blocks: Sequence[tuple[int, int]]) -> list[float]:
        """Seconds per counted step of each block."""
        return [(end - start) / 1e9 / self.steps_per_block for start, end in blocks]


def run_launch(
    pairing: Pairing,
    alive: list[ArmResult],
    profile: Profile,
    seed: int,
    start: LaunchSource,
    watch: Callable[[Sequence[int]], None],
) -> None:
    """Start workers, build, warm up, run the rounds, store one `Launch` per arm that came through.

    From launch to launch the arms take turns at being first: in 64 launches of unchanged code the one that always came
    second was one per cent faster. ``seed`` counts the launches.
    """
    alive = in_turn(alive, seed)
    try:
        workers = start([result.arm for result in alive])
    except RtxbenchError as error:
        _give_up(alive, error)
        return
    try:
        watch(sorted({worker.pid for worker in workers.values()}))
        live = [arm for result in alive if (arm := _built(result, workers[result.arm.key], seed)) is not None]
        live = [arm for arm in live if _survives(arm, lambda arm: _warm_up(arm, profile.warm_up, profile.block_s))]
        live = _run_rounds(live, _rounds_for(live, profile))
        _store(pairing, live, profile.solo_blocks)
    except BaseException:
        end_workers(workers)
        raise
    end_workers(workers, lambda worker: worker.close())


def _give_up(results: Sequence[ArmResult], error: RtxbenchError) -> None:
    for result in results:
        result.failure = error


def _built(result: ArmResult, worker: WorkerProcess, seed: int) -> _LiveArm | None:
    result.versions = worker.await_ready().versions
    try:
        built = worker.ask(Build(arm=result.arm.key, case=result.arm.case, seed=seed), Built, BUILD_LIMIT_S)
    except RtxbenchError as error:
        result.failure = error
        return None
    return _LiveArm(result, worker, built)


def _survives(arm: _LiveArm, action: Callable[[_LiveArm], None]) -> bool:
    try:
        action(arm)
    except RtxbenchError as error:
        arm.result.failure = error
        return False
    return True


def _warm_up(arm: _LiveArm, rule: WarmUpRule, block_s: float) -> None:
    """Run blocks until the two-window rule holds ``consecutive`` times in a row, or the cap is reached."""
    began = time.monotonic()
    arm.step_s = _seconds(arm.timed(1))
    steps = _steps_for(arm, rule.block_s)
    times: list[float] = []
    steady = 0
    while steady < rule.consecutive and time.monotonic() - began < rule.cap_s:
        times.append(_seconds(arm.timed(steps)) / steps)
        steady = steady + 1 if _steady(times, rule) else 0
    recent = times[-rule.window_blocks :] or [arm.step_s]
    arm.step_s = float(np.median(recent))
    arm.warmup_ok = steady >= rule.consecutive
    arm.warmup_s = time.monotonic() - began
    arm.steps_per_block = _steps_for(arm, block_s)


def _steady(times: Sequence[float], rule: WarmUpRule) -> bool:
    return len(times) >= 2 * rule.window_blocks and two_window_steady(times, rule.window_blocks)


def _steps_for(arm: _LiveArm, block_s: float) -> int:
    """Steps that fill a block; a planted slowdown needs whole extra steps, hence a multiple of 1/δ."""
    steps = max(1, round(block_s / max(arm.step_s, 1e-7)))
    planted = arm.result.arm.planted_slowdown_ratio
    unit = max(arm.result.arm.steps_unit, round(1 / planted) if planted > 0 else 1)
    return unit * max(1, round(steps / unit))


def _seconds(window_ns: tuple[int, int]) -> float:
    return (window_ns[1] - window_ns[0]) / 1e9


def round_order(arms: int, number: int) -> list[int]:
    """Order of blocks in round ``number``: a rotation of the arms, then the same mirrored (ABBA, BAAB, …)."""
    order = in_turn(range(arms), number)
    return order + order[::-1]


def _run_rounds(live: list[_LiveArm], rounds: int) -> list[_LiveArm]:
    """Run the balanced rounds; an arm that fails drops out of the launch, the others start their rounds anew."""
    while live:
        for arm in live:
            arm.blocks = []
        failed = _first_failure(live, rounds)
        if failed is None:
            return live
        live = [arm for arm in live if arm is not failed and arm.worker is not failed.worker] + [
            arm for arm in live if arm is not failed and arm.worker is failed.worker and _responds(arm)
        ]
    return live


def _rounds_for(live: Sequence[_LiveArm], profile: Profile) -> int:
    """As many rounds as the profile wants and has time for; never under three, which a median needs."""
    round_s = sum(2 * arm.step_s * (arm.steps_per_block + arm.lead_in()) for arm in live)
    affordable = profile.timed_budget_s / round_s if round_s > 0 else math.inf
    return min(profile.rounds, max(_LEAST_ROUNDS, int(min(affordable, profile.rounds))))


def _first_failure(live: list[_LiveArm], rounds: int) -> _LiveArm | None:
    for number in range(rounds):
        for index in round_order(len(live), number):
            arm = live[index]
            try:
                arm.blocks.append(arm.timed(arm.steps_per_block, arm.lead_in()))
            except RtxbenchError as error:
                arm.result.failure = error
                return arm
    return None


def _responds(arm: _LiveArm) -> bool:
    return _survives(arm, lambda arm: (arm.timed(1), None)[1])


def _solo_ratio(arm: _LiveArm, blocks: int) -> float | None:
    """Baseline alone ÷ baseline interleaved, as step times."""
    if blocks <= 0:
        return None
    alone: list[tuple[int, int]] = []
    if not _survives(arm, lambda arm: alone.extend(arm.timed(arm.steps_per_block) for _ in range(blocks))):
        return None
    return trimmed_mean(arm.step_times(alone)) / trimmed_mean(arm.step_times(arm.blocks))


def _store(pairing: Pairing, live: list[_LiveArm], solo_blocks: int) -> None:
    """Describe every arm that came through, then add its launch and its log-ratio to the pairing."""
    baseline = next((arm for arm in live if arm.result is pairing.results[0]), None)
    solo_ratio = _solo_ratio(baseline, solo_blocks) if baseline is not None and len(live) > 1 else None
    finished = [arm for arm in live if _survives(arm, _describe)]
    for arm in finished:
        arm.result.launches.append(_launch(arm, solo_ratio if arm is baseline else None))
    if baseline is None or baseline not in finished:
        return
    reference = np.reshape(baseline.step_times(baseline.blocks), (-1, 2))
    for arm in finished:
        if arm is not baseline:
            rounds = log_ratio_per_round(reference, np.reshape(arm.step_times(arm.blocks), (-1, 2)))
            pairing.log_ratios[arm.key].append(trimmed_mean(rounds))


def _describe(arm: _LiveArm) -> None:
    thorough = arm.result.described is None  # FLOPs and the precision's proof do not change between launches
    described = arm.worker.ask(Describe(arm=arm.key, thorough=thorough), Described, BUILD_LIMIT_S)
    if described.loss is not None and not math.isfinite(described.loss):
        raise MeasurementError(
            f"the loss became {described.loss}.", next_step="Lower the learning rate, or use mixed_bfloat16."
        )
    arm.result.missing |= described.missing
    arm.result.described = described if thorough else _with_facts(described, arm.result.described)


def _with_facts(new: Described, old: Described | None) -> Described:
    import msgspec

    assert old is not None
    peaks = [value for value in (new.peak_memory_bytes, old.peak_memory_bytes) if value is not None]
    return msgspec.structs.replace(old, loss=new.loss, peak_memory_bytes=max(peaks, default=None))


def _launch(arm: _LiveArm, solo_ratio: float | None) -> Launch:
    described = arm.result.described
    assert described is not None
    return Launch(
        steps_per_block=arm.steps_per_block,
        blocks_ns=tuple(arm.blocks),
        warmup_ok=arm.warmup_ok,
        warmup_s=arm.warmup_s,
        build_s=arm.built.build_s,
        first_step_s=arm.built.first_step_s,
        loss=described.loss,
        peak_memory_bytes=None if described.peak_memory_bytes is None else int(described.peak_memory_bytes),
        solo_ratio=solo_ratio,
    )

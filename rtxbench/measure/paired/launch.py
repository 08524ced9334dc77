"""One launch of a pairing: fresh workers, build, warm-up, balanced rounds, and the number it contributes.

An arm that fails drops out with its reason; the others go on.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
from msgspec.structs import replace

from rtxbench.errors import MeasurementError, RtxbenchError
from rtxbench.measure.paired.arms import BUILD_LIMIT_S, LAYOUT_VARIABLE, LaunchSource, end_workers, in_turn
from rtxbench.measure.paired.live_arm import LastBusy, LiveArm, run_stretch, survives, warm_up
from rtxbench.measure.paired.result import ArmResult, PairedResult
from rtxbench.measure.profiles import Profile, WarmUpRule
from rtxbench.records import Launch
from rtxbench.stats import kalibera_jones_rounds, log_ratio_per_round, trimmed_mean
from rtxbench.workers.process import WorkerProcess
from rtxbench.workers.protocol import Build, Built, Describe, Described

__all__ = ["round_order", "rounds_that_pay", "run_launch"]

_LEAST_ROUNDS: Final = 3
_OPEN_QUESTION_FACTOR: Final = 3
"""Beyond the least number only open questions are launched, whose rounds are what they lack: these may take longer."""


def run_launch(
    pairing: PairedResult,
    alive: list[ArmResult],
    profile: Profile,
    seed: int,
    start: LaunchSource,
    watch: Callable[[Sequence[int]], None],
) -> None:
    """Start workers, build, warm up, run the rounds, store one `Launch` per arm that came through.

    From launch to launch the arms take turns at being first: in 164 launches of unchanged code the one that was first
    was 1.1 % slower. ``seed`` counts the launches.
    """
    alive = in_turn(alive, seed)
    if any(result.arm.apart for result in alive):
        _run_apart(pairing, alive, profile, seed, start, watch)
        return
    try:
        workers = start([result.arm for result in alive])
    except RtxbenchError as error:
        _give_up(alive, error)
        return
    try:
        watch(sorted({worker.pid for worker in workers.values()}))
        live = _built(alive, workers, seed)
        live = [arm for arm in live if survives(arm, lambda arm: warm_up(arm, profile.warm_up, profile.block_s))]
        _measure(pairing, live, profile, seed)
    except BaseException:
        end_workers(workers)
        raise
    end_workers(workers, lambda worker: worker.close())


def _run_apart(
    pairing: PairedResult,
    alive: Sequence[ArmResult],
    profile: Profile,
    seed: int,
    start: LaunchSource,
    watch: Callable[[Sequence[int]], None],
) -> None:
    """Run one arm's whole process after another: the card holds one at a time.

    With the turns of the launches their order is A B, B A: whole processes in ABBA. A drift within a launch does not
    cancel, so it is part of the launches' spread.
    """
    finished: list[LiveArm] = []
    for position, result in enumerate(alive):
        try:
            workers = start([result.arm])
        except RtxbenchError as error:
            result.failure = error
            continue
        try:
            watch([worker.pid for worker in workers.values()])
            for arm in _built([result], workers, seed):
                arm.position = position
                if survives(arm, partial(_alone_on_the_card, profile=profile)):
                    finished.append(arm)
        except BaseException:
            end_workers(workers)
            raise
        end_workers(workers, lambda worker: worker.close())
    _keep(pairing, finished, profile, [])


def _alone_on_the_card(arm: LiveArm, profile: Profile) -> None:
    """Warm up, run the profile's rounds of two blocks, describe, and run the stretch, in the arm's only process."""
    warm_up(arm, profile.warm_up, profile.block_s)
    block_s = max(arm.step_s * arm.steps_per_block, 1e-9)
    rounds = max(_LEAST_ROUNDS, int(min(profile.rounds, profile.timed_budget_s / (4 * block_s))))
    arm.blocks = [arm.timed(arm.steps_per_block, arm.lead_in()) for _ in range(2 * rounds)]
    _describe(arm)
    seconds = profile.sustained_gpu_s if arm.device_kind == "gpu" else profile.sustained_cpu_s
    if seconds > 0 and arm.result.stretch is None:
        _keep_stretch(arm, seconds)


def _measure(pairing: PairedResult, live: list[LiveArm], profile: Profile, seed: int) -> None:
    """Rounds and solo blocks, these before the rounds in every other launch; then each arm's long run, once a group."""
    baseline = next((arm for arm in live if arm.result is pairing.results[0]), None)
    solo = profile.solo_blocks if baseline is not None and len(live) > 1 else 0
    alone = _alone(baseline, solo) if seed % 2 else []
    live = [arm for arm in live if arm.result.failure is None]
    live = _run_rounds(live, _rounds_for(pairing, live, profile))
    if baseline in live and not seed % 2:
        alone = _alone(baseline, solo)
    _store(pairing, live, profile, alone)
    for arm in live:
        seconds = profile.sustained_gpu_s if arm.device_kind == "gpu" else profile.sustained_cpu_s
        if seconds > 0 and arm.result.stretch is None and arm.result.failure is None:
            survives(arm, partial(_keep_stretch, seconds=seconds))


def _keep_stretch(arm: LiveArm, seconds: float) -> None:
    arm.result.stretch = run_stretch(arm, seconds)


def _give_up(results: Sequence[ArmResult], error: RtxbenchError) -> None:
    for result in results:
        result.failure = error


def _built(alive: Sequence[ArmResult], workers: dict[str, WorkerProcess], seed: int) -> list[LiveArm]:
    last_busy: LastBusy = {}
    live = []
    for position, result in enumerate(alive):
        worker = workers[result.arm.key]
        result.versions = worker.await_ready().versions
        try:
            built = worker.ask(Build(arm=result.arm.key, case=result.arm.case, seed=seed), Built, BUILD_LIMIT_S)
        except RtxbenchError as error:
            result.failure = error
            continue
        live.append(LiveArm(result, worker, built, position, last_busy))
    return live


def round_order(arms: int, number: int) -> list[int]:
    """Order of blocks in round ``number``: a rotation of the arms, then the same mirrored (ABBA, BAAB, …)."""
    order = in_turn(range(arms), number)
    return order + order[::-1]


def _run_rounds(live: list[LiveArm], rounds: int) -> list[LiveArm]:
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


def _rounds_for(pairing: PairedResult, live: Sequence[LiveArm], profile: Profile) -> int:
    """Choose what pays by the pilot launches, within the profile's time; never under three, which a median needs."""
    round_s = sum(2 * arm.step_s * (arm.steps_per_block + arm.lead_in()) for arm in live)
    longer = _OPEN_QUESTION_FACTOR if pairing.launches >= profile.launches_min else 1
    affordable = longer * profile.timed_budget_s / round_s if round_s > 0 else math.inf
    wanted: float = profile.rounds
    if round_s > 0:
        start_s = sum(arm.built.build_s + arm.built.first_step_s + arm.warmup_s for arm in live)
        wanted = max(wanted, profile.timed_share * start_s / round_s)
        if profile.rounds_max:
            wanted = rounds_that_pay(pairing, start_s, round_s, profile)
    return max(_LEAST_ROUNDS if profile.rounds >= _LEAST_ROUNDS else 1, int(min(affordable, wanted)))


def rounds_that_pay(pairing: PairedResult, launch_cost_s: float, round_cost_s: float, profile: Profile) -> int:
    """Choose the next launch's rounds by the variances of those so far (Kalibera & Jones); before two, the pilot's.

    Of several candidates the one that needs most decides; where launches differ by no more than their rounds explain,
    as many as the profile allows.
    """
    wanted = []
    for launches in pairing.rounds.values():
        least = min((len(rounds) for rounds in launches), default=0)
        if len(launches) >= 2 and least >= 2:
            pilot = [list(rounds[:least]) for rounds in launches]
            wanted.append(kalibera_jones_rounds(pilot, launch_cost_s, round_cost_s) or profile.rounds_max)
    return min(max(wanted, default=profile.rounds), profile.rounds_max)


def _first_failure(live: list[LiveArm], rounds: int) -> LiveArm | None:
    for number in range(rounds):
        for index in round_order(len(live), number):
            arm = live[index]
            try:
                arm.blocks.append(arm.timed(arm.steps_per_block, arm.lead_in()))
            except RtxbenchError as error:
                arm.result.failure = error
                return arm
    return None


def _responds(arm: LiveArm) -> bool:
    return survives(arm, lambda arm: arm.timed(1))


def _alone(arm: LiveArm | None, blocks: int) -> list[tuple[int, int]]:
    """Run the arm's blocks while no other runs, each after the same lead-in as in the rounds."""
    alone: list[tuple[int, int]] = []
    if arm is not None:
        survives(arm, lambda arm: alone.extend(arm.timed(arm.steps_per_block, arm.lead_in()) for _ in range(blocks)))
    return alone


def _store(pairing: PairedResult, live: list[LiveArm], profile: Profile, alone: Sequence[tuple[int, int]]) -> None:
    """Describe every arm that came through, then add its launch and its log-ratio to the pairing."""
    _keep(pairing, [arm for arm in live if survives(arm, _describe)], profile, alone)


def _keep(pairing: PairedResult, finished: list[LiveArm], profile: Profile, alone: Sequence[tuple[int, int]]) -> None:
    """Add the launch and the log-ratio of every described arm to the pairing."""
    baseline = next((arm for arm in finished if arm.result is pairing.results[0]), None)
    for arm in finished:
        if not isinstance(profile.warm_up, WarmUpRule):
            arm.warmup_ok = arm.still_steady()
        solo_ratio = None
        if arm is baseline and alone:
            solo_ratio = trimmed_mean(arm.step_times(alone)) / trimmed_mean(arm.step_times(arm.blocks))
        arm.result.launches.append(_launch(arm, profile, solo_ratio))
    if baseline is None:
        return
    reference = np.reshape(baseline.step_times(baseline.blocks), (-1, 2))
    for arm in finished:
        if arm is not baseline:
            times = np.reshape(arm.step_times(arm.blocks), (-1, 2))
            common = min(len(reference), len(times))  # whole processes in turn may differ by a round
            rounds = log_ratio_per_round(reference[:common], times[:common])
            pairing.log_ratios[arm.key].append(trimmed_mean(rounds))
            pairing.rounds.setdefault(arm.key, []).append(tuple(map(float, rounds)))
            pairing.orders.setdefault(arm.key, []).append(1 if arm.position < baseline.position else -1)


def _describe(arm: LiveArm) -> None:
    thorough = arm.result.described is None  # FLOPs and the precision's proof do not change between launches
    described = arm.worker.ask(Describe(arm=arm.key, thorough=thorough), Described, BUILD_LIMIT_S)
    if described.loss is not None and not math.isfinite(described.loss):
        raise MeasurementError(
            f"the loss became {described.loss}.", next_step="Lower the learning rate, or use mixed_bfloat16."
        )
    arm.result.missing |= described.missing
    arm.result.peak_method = described.peak_memory_method or arm.result.peak_method
    if arm.result.described is not None:
        peak, loss = described.peak_memory_bytes, described.loss
        described = replace(arm.result.described, loss=loss, peak_memory_bytes=peak)
    arm.result.described = described


def _launch(arm: LiveArm, profile: Profile, solo_ratio: float | None) -> Launch:
    described = arm.result.described
    assert described is not None
    padding = arm.worker.spec.environment.get(LAYOUT_VARIABLE)
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
        warmup="two-window" if isinstance(profile.warm_up, WarmUpRule) else "short",
        position=arm.position,
        layout_bytes=None if padding is None else len(padding),
    )

"""The parts of a GPU self-test that watch the card while it works: its clock's ramp, and two arms in turns."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rtxbench.errors import MeasurementError
from rtxbench.gpu_selftest.bundle import CardSample, ClockRamp, TurnTaking
from rtxbench.gpu_selftest.request import GpuSelftestRequest
from rtxbench.hardware.nvml import Nvml
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.sensors import Sensor, SensorError
from rtxbench.measure.paired.arms import BUILD_LIMIT_S
from rtxbench.measure.paired.launch import round_order
from rtxbench.records import Case
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import WorkerProcess
from rtxbench.workers.protocol import Block, Build, Built, Timed

__all__ = ["TwoArms", "card_sensors", "ramp_of", "turns_of", "two_arms"]

_PERIOD_S = 0.01
_BLOCK_LIMIT_S = 60.0
_WATCHED = {
    "sm_clock": "sm_clock_hz",
    "utilization": "gpu_utilization_ratio",
    "power": "power_w",
}
"""Sensor → the metric of it that a `CardSample` keeps."""


@contextmanager
def card_sensors(uuid: str) -> Iterator[list[Sensor]]:
    """Open the driver and yield the sensors of one card that a ramp is made of.

    Raises:
        UnavailableError: no driver, or it does not know the card.
    """
    nvml = Nvml.open()
    try:
        cards = [card for card in nvml.devices() if card.uuid == uuid]
        yield [sensor for card in cards for sensor in nvml.sensors(card) if sensor.name in _WATCHED]
    finally:
        nvml.close()


class TwoArms:
    """A worker with two arms built, and the step time of each."""

    def __init__(self, worker: WorkerProcess, cases: Sequence[Case]) -> None:
        self.cases = tuple(cases)
        self.worker = worker
        self._step_s: dict[str, float] = {}
        for case in self.cases:
            worker.ask(Build(arm=case.label, case=case, seed=0), Built, BUILD_LIMIT_S)
            self.block(case, 2)
            start_ns, end_ns = self.block(case, 5)
            self._step_s[case.label] = max(1e-6, (end_ns - start_ns) / 5e9)

    def steps(self, case: Case, seconds: float) -> int:
        """Steps that take about so long."""
        return max(1, math.ceil(seconds / self._step_s[case.label]))

    def block(self, case: Case, steps: int) -> tuple[int, int]:
        """Run a block; returns its window."""
        timed = self.worker.ask(Block(arm=case.label, steps=steps), Timed, _BLOCK_LIMIT_S)
        return timed.start_ns, timed.end_ns


@contextmanager
def two_arms(request: GpuSelftestRequest, engine: str, recorder: Recorder) -> Iterator[TwoArms]:
    """Start a worker with both arms, watched by the recorder, and end it afterwards.

    Raises:
        RtxbenchError: it did not start, or an arm did not build.
    """
    worker = WorkerProcess(worker_spec(engine))
    try:
        recorder.watch(worker.pid)
        yield TwoArms(worker, request.turn_cases(engine))
    finally:
        worker.kill()


def ramp_of(arms: TwoArms, device: str, sensors: Sequence[Sensor], request: GpuSelftestRequest) -> ClockRamp:
    """Leave the card idle, make it work, leave it idle again, and read it all along.

    Raises:
        MeasurementError: the card's driver told nothing of it.
    """
    pace, case = request.pace, arms.cases[-1]
    block = Block(arm=case.label, steps=arms.steps(case, pace.busy_s))
    samples = _watch(sensors, pace.idle_s)
    arms.worker.post(block)
    samples += _watch(sensors, pace.busy_s + 0.1)
    timed = arms.worker.ask(block, Timed, _BLOCK_LIMIT_S)
    samples += _watch(sensors, pace.idle_s)
    if all(sample.sm_clock_hz is None for sample in samples):
        raise MeasurementError("the driver does not tell the clock.", next_step="See the recording's probes.")
    return ClockRamp(case=case, device=device, start_ns=timed.start_ns, end_ns=timed.end_ns, samples=tuple(samples))


def turns_of(arms: TwoArms, device: str, request: GpuSelftestRequest) -> list[TurnTaking]:
    """Run each arm alone, then both in turns as a launch does."""
    pace = request.pace
    alone = [(arms.block(case, arms.steps(case, pace.alone_s)),) for case in arms.cases]
    in_turns: list[list[tuple[int, int]]] = [[] for _ in arms.cases]
    for number in range(pace.turns):
        for index in round_order(len(arms.cases), number):
            case = arms.cases[index]
            in_turns[index].append(arms.block(case, arms.steps(case, pace.turn_s)))
    return [
        TurnTaking(case=case, device=device, alone_ns=one, in_turns_ns=tuple(many))
        for case, one, many in zip(arms.cases, alone, in_turns, strict=True)
    ]


def _watch(sensors: Sequence[Sensor], seconds: float) -> list[CardSample]:
    samples, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        samples.append(_sample(sensors))
        time.sleep(_PERIOD_S)
    return samples


def _sample(sensors: Sequence[Sensor], clock: Callable[[], int] = time.monotonic_ns) -> CardSample:
    values: dict[str, float | None] = dict.fromkeys(_WATCHED.values())
    for sensor in sensors:
        metric = _WATCHED[sensor.name]
        try:
            value = sensor.read()[metric]
        except SensorError:
            continue
        values[metric] = None if isinstance(value, list) else value
    return CardSample(t=clock(), **values)

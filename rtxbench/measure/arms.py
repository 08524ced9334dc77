"""What is measured against what, and the worker processes of one launch."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from rtxbench.placement import placement_named
from rtxbench.records import Case
from rtxbench.workers.process import WorkerProcess, WorkerSpec
from rtxbench.workers.protocol import Build

__all__ = ["BUILD_LIMIT_S", "Arm", "LaunchSource", "Workers", "WorkersAhead", "end_workers", "in_turn", "start_workers"]

_Item = TypeVar("_Item")

BUILD_LIMIT_S: Final = 900.0
"""One arm's model, traced and compiled, and its first step."""


@dataclass(frozen=True)
class Arm:
    """One case and the kind of worker it runs in.

    ``planted_slowdown_ratio`` runs that share of extra steps in each timed block without counting them: a slowdown
    that is exact under any noise, for proving that slowdowns are found.
    """

    case: Case
    spec: WorkerSpec
    name: str = ""
    isolated: bool = False
    planted_slowdown_ratio: float = 0.0
    steps_unit: int = 1
    """A block's steps are a multiple of this; the same in both arms, it keeps their blocks equally long."""

    @property
    def key(self) -> str:
        """What tells this arm from the others of its pairing."""
        return self.name or self.case.label


def in_turn(items: Sequence[_Item], turn: int) -> list[_Item]:
    """The items with another one first each turn: arms take turns at being started, warmed up and timed first."""
    first = turn % len(items)
    return [*items[first:], *items[:first]]


Workers = dict[str, WorkerProcess]
"""Arm key → its process; arms may share one."""

LaunchSource = Callable[[Sequence[Arm]], Workers]
"""Starts the workers of one launch."""


def start_workers(arms: Sequence[Arm]) -> Workers:
    """One process per distinct spec, and one of its own for every isolated arm; returns when all are ready.

    Raises:
        UnavailableError: an engine cannot start.
        MeasurementError: a process died or said nothing in time.
    """
    (workers,) = _started([arms])
    return workers


def end_workers(workers: Workers, how: Callable[[WorkerProcess], None] = lambda worker: worker.kill()) -> None:
    """End each process once, at once unless told ``how``."""
    for worker in {id(worker): worker for worker in workers.values()}.values():
        how(worker)


class WorkersAhead:
    """`start_workers` for a pairing's launches: on the CPU, two sets are started at once, and of an odd number three.

    Importing a framework, and tracing a model after it, keeps one core busy for seconds and leaves the others idle, so
    two sets get ready in the time of one. All are ready before anything is measured; the others then sleep in a pipe
    read until their turn, and every launch still has fresh processes. Not on a GPU, where the sleepers would hold
    memory of the device.

    Args:
        launches: of the pairing, at most.
        seed: of the first launch, counted on by one.
        build: whether the sets also build their models side by side. Not where engines are compared: the time of
            building is a figure there.
    """

    def __init__(self, launches: int, *, seed: int = 0, build: bool = False) -> None:
        self._to_come = launches
        self._seed = seed
        self._build = build
        self._ahead: deque[Workers] = deque()

    def __call__(self, arms: Sequence[Arm]) -> Workers:
        """The workers of the next launch.

        Raises:
            UnavailableError: an engine cannot start.
            MeasurementError: a process died or said nothing in time.
        """
        seed, to_come = self._seed, self._to_come
        self._seed, self._to_come = seed + 1, to_come - 1
        if not self._ahead or self._ahead[0].keys() != {arm.key for arm in arms}:
            self.close()  # an arm was given up since
            self._ahead.extend(self._ready(arms, seed, to_come))
        return self._ahead.popleft()

    def _ready(self, arms: Sequence[Arm], seed: int, to_come: int) -> list[Workers]:
        """This launch's workers, and those of as many after it as get ready beside them."""
        on_cpu = all(placement_named(arm.case.placement).device_kind == "cpu" for arm in arms)
        count = {1: 1, 3: 3}.get(to_come, 2) if on_cpu else 1
        turns = [in_turn(arms, number) for number in range(count)]
        sets = _started(turns)
        build = self._build and count > 1 and len({arm.spec.engine for arm in arms}) == 1
        if build and not _built(list(zip(turns, sets, strict=True)), seed):
            self._build = False  # most likely memory: what fails beside another gets its chance alone
            for workers in sets:
                end_workers(workers)
            return [start_workers(arms)]
        return sets

    def close(self) -> None:
        """End what was started for a launch that did not come."""
        while self._ahead:
            end_workers(self._ahead.popleft())


def _built(launches: Sequence[tuple[Sequence[Arm], Workers]], seed: int) -> bool:
    """Have all sets build at once; the launches then ask for what is already there. ``False`` if one failed."""
    try:
        for number, (arms, workers) in enumerate(launches):
            for arm in arms:
                workers[arm.key].post(Build(arm=arm.key, case=arm.case, seed=seed + number))
        building = [worker for _, workers in launches for worker in workers.values()]
        failed = [worker for worker in building if not worker.settle(BUILD_LIMIT_S)]  # waits for every one
    except BaseException:
        for _, workers in launches:
            end_workers(workers)
        raise
    return not failed


def _started(sets: Sequence[Sequence[Arm]]) -> list[Workers]:
    """Start every set's processes, then wait for all of them; none is left behind on an error."""
    started: list[Workers] = []
    try:
        for arms in sets:
            started.append({})
            for arm in arms:
                started[-1][arm.key] = _sharing(arm, arms, started[-1]) or WorkerProcess(arm.spec)
        for worker in (worker for workers in started for worker in workers.values()):
            worker.await_ready()
    except BaseException:
        for workers in started:
            end_workers(workers)
        raise
    return started


def _sharing(arm: Arm, arms: Sequence[Arm], workers: Workers) -> WorkerProcess | None:
    if arm.isolated:
        return None
    for other in arms:
        if other.key in workers and not other.isolated and other.spec == arm.spec:
            return workers[other.key]
    return None

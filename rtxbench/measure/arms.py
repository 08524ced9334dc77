"""What is measured against what, and the worker processes of one launch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rtxbench.measure.process import WorkerProcess, WorkerSpec
from rtxbench.measure.protocol import Build
from rtxbench.placement import placement_named
from rtxbench.records import Case

__all__ = ["BUILD_LIMIT_S", "Arm", "LaunchSource", "Workers", "WorkersAhead", "end_workers", "start_workers"]

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
    """`start_workers` for a pairing's launches: on the CPU, every second set is started with the one before it.

    Importing a framework, and tracing a model after it, keeps one core busy for seconds and leaves the others idle, so
    two sets get ready in the time of one. Both are ready before anything is measured; the second then sleeps in a pipe
    read until its turn, and every launch still has fresh processes. Not on a GPU, where the sleepers would hold memory
    of the device.

    Args:
        launches: of the pairing, at most.
        seed: of the first launch, counted on by one.
        build: whether the second set also builds its models beside the first one's. Not where engines are compared:
            the time of building is a figure there.
    """

    def __init__(self, launches: int, *, seed: int = 0, build: bool = False) -> None:
        self._to_come = launches
        self._seed = seed
        self._build = build
        self._ahead: Workers = {}

    def __call__(self, arms: Sequence[Arm]) -> Workers:
        """The workers of the next launch.

        Raises:
            UnavailableError: an engine cannot start.
            MeasurementError: a process died or said nothing in time.
        """
        self._to_come -= 1
        self._seed += 1
        if self._ahead.keys() == {arm.key for arm in arms}:
            workers, self._ahead = self._ahead, {}
            return workers
        self.close()  # an arm was given up since
        on_cpu = all(placement_named(arm.case.placement).device_kind == "cpu" for arm in arms)
        if not on_cpu or self._to_come <= 0:
            return start_workers(arms)
        turned = [*arms[1:], *arms[:1]]  # the order of the next launch: arms take turns at being first
        workers, self._ahead = _started([arms, turned])
        build = self._build and len({arm.spec.engine for arm in arms}) == 1
        if build and not self._built({self._seed - 1: (arms, workers), self._seed: (turned, self._ahead)}):
            self._build = False  # most likely memory: what fails beside another gets its chance alone
            end_workers(workers)
            self.close()
            return start_workers(arms)
        return workers

    def _built(self, launches: Mapping[int, tuple[Sequence[Arm], Workers]]) -> bool:
        """Have both sets build at once; the launches then ask for what is already there. ``False`` if one failed."""
        try:
            for seed, (arms, workers) in launches.items():
                for arm in arms:
                    workers[arm.key].post(Build(arm=arm.key, case=arm.case, seed=seed))
            building = [worker for _, workers in launches.values() for worker in workers.values()]
            failed = [worker for worker in building if not worker.settle(BUILD_LIMIT_S)]  # waits for every one
        except BaseException:
            for _, workers in launches.values():
                end_workers(workers)
            self._ahead = {}
            raise
        return not failed

    def close(self) -> None:
        """End what was started for a launch that did not come."""
        end_workers(self._ahead)
        self._ahead = {}


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

"""Arms of a comparison, and the worker processes of one launch."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

from rtxbench.placement import placement_named
from rtxbench.records import Case
from rtxbench.workers.process import WorkerProcess, WorkerSpec
from rtxbench.workers.protocol import Build

__all__ = [
    "BUILD_LIMIT_S",
    "LAYOUT_VARIABLE",
    "Arm",
    "LaunchSource",
    "ToCome",
    "Workers",
    "WorkersAhead",
    "end_workers",
    "in_turn",
    "start_workers",
]

_Item = TypeVar("_Item")

BUILD_LIMIT_S: Final = 900.0
"""One arm's model, traced and compiled, and its first step."""
LAYOUT_VARIABLE: Final = "RTXBENCH_LAYOUT"
"""Environment variable of random length in every worker process (Mytkowicz et al., ASPLOS 2009): a mode of the
memory layout then differs from launch to launch, and shows in the interval instead of in the estimate."""
_LAYOUT_BYTES: Final = 4096


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
    apart: bool = False
    """True for an arm that cannot be on the card beside another: a launch then runs one whole process after another."""
    planted_slowdown_ratio: float = 0.0
    steps_unit: int = 1
    """A block's steps are a multiple of this; the same in both arms, it keeps their blocks equally long."""

    @property
    def key(self) -> str:
        """Name of the arm, unique in its pairing."""
        return self.name or self.case.label


def in_turn(items: Sequence[_Item], turn: int) -> list[_Item]:
    """Rotate the items by ``turn``, so that a different one is started, warmed up and timed first each time."""
    first = turn % len(items)
    return [*items[first:], *items[:first]]


Workers = dict[str, WorkerProcess]
"""Arm key → its process; arms may share one."""

LaunchSource = Callable[[Sequence[Arm]], Workers]
"""Starts the workers of one launch."""


def start_workers(arms: Sequence[Arm]) -> Workers:
    """Start one process per distinct spec, and one for every isolated arm; return when all are ready.

    Raises:
        UnavailableError: an engine cannot start.
        MeasurementError: a process died or said nothing in time.
    """
    (workers,) = _started([arms])
    return workers


def end_workers(workers: Workers, how: Callable[[WorkerProcess], None] = lambda worker: worker.kill()) -> None:
    """Stop every distinct worker once; kill it unless ``how`` says otherwise."""
    for worker in {id(worker): worker for worker in workers.values()}.values():
        how(worker)


class ToCome(NamedTuple):
    """One launch that is about to be made."""

    arms: Sequence[Arm]
    """Baseline first, as the pairing names them; who is first in the launch follows from the seed."""
    seed: int


class WorkersAhead:
    """Start workers ahead of their launches: on the CPU, the next launch's processes start together with this one's.

    Importing a framework, and tracing a model after it, keeps one core busy for seconds and leaves the others idle, so
    two sets get ready in the time of one, be they of one group or of two. Both are ready before anything is measured;
    the other then sleeps in a pipe read until its turn, and every launch still has fresh processes. Not on a GPU, where
    the sleepers would hold memory of the device.

    Args:
        build: whether the sets also build their models side by side. Not where engines are compared: the time of
            building is a figure there.
    """

    def __init__(self, *, build: bool = False) -> None:
        self._build = build
        self._to_come: deque[ToCome] = deque()
        self._ahead: list[tuple[ToCome, Workers]] = []

    def expect(self, launches: Iterable[ToCome]) -> None:
        """Announce the next launches, in their order; what was announced before is forgotten."""
        self._to_come = deque(launches)

    def __call__(self, arms: Sequence[Arm]) -> Workers:
        """Return the workers of the next launch.

        Raises:
            UnavailableError: an engine cannot start.
            MeasurementError: a process died or said nothing in time.
        """
        for entry in self._ahead:
            if _same_arms(entry[0].arms, arms):
                self._ahead.remove(entry)
                return entry[1]
        self.close()  # an arm was given up since, or the launch it was for did not come
        while self._to_come and not _same_arms(self._to_come[0].arms, arms):
            self._to_come.popleft()
        if not self._to_come:
            return start_workers(arms)
        self._ahead = self._started(self._next_two())
        return self._ahead.pop(0)[1]

    def close(self) -> None:
        """End what was started for a launch that did not come."""
        while self._ahead:
            end_workers(self._ahead.pop()[1])

    def _next_two(self) -> list[ToCome]:
        launches = [self._to_come.popleft()]
        if self._to_come and all(_on_cpu(launch.arms) for launch in (launches[0], self._to_come[0])):
            launches.append(self._to_come.popleft())
        return launches

    def _started(self, launches: list[ToCome]) -> list[tuple[ToCome, Workers]]:
        """Get the launches' workers ready side by side and, where that is wanted, with their models built."""
        sets = _started([in_turn(launch.arms, launch.seed) for launch in launches])
        one_engine = all(len({arm.spec.engine for arm in launch.arms}) == 1 for launch in launches)
        if self._build and one_engine and len(launches) > 1 and not _built(launches, sets):
            self._build = False  # most likely memory: what fails beside another gets its chance alone
            for workers in sets:
                end_workers(workers)
            launches = launches[:1]
            sets = _started([in_turn(launch.arms, launch.seed) for launch in launches])
        return list(zip(launches, sets, strict=True))


def _same_arms(some: Sequence[Arm], others: Sequence[Arm]) -> bool:
    return len(some) == len(others) and all(arm in others for arm in some)


def _on_cpu(arms: Sequence[Arm]) -> bool:
    return all(placement_named(arm.case.placement).device_kind == "cpu" for arm in arms)


def _built(launches: Sequence[ToCome], sets: Sequence[Workers]) -> bool:
    """Have all sets build at once; the launches then ask for what is already there. ``False`` if one failed."""
    try:
        for launch, workers in zip(launches, sets, strict=True):
            for arm in in_turn(launch.arms, launch.seed):
                workers[arm.key].post(Build(arm=arm.key, case=arm.case, seed=launch.seed))
        building = [worker for workers in sets for worker in workers.values()]
        failed = [worker for worker in building if not worker.settle(BUILD_LIMIT_S)]  # waits for every one
    except BaseException:
        for workers in sets:
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
                started[-1][arm.key] = _sharing(arm, arms, started[-1]) or WorkerProcess(_with_layout(arm.spec))
        for worker in (worker for workers in started for worker in workers.values()):
            worker.await_ready()
    except BaseException:
        for workers in started:
            end_workers(workers)
        raise
    return started


def _with_layout(spec: WorkerSpec) -> WorkerSpec:
    """Put the same process at another place in memory: the environment's length moves the stack and what lies on it."""
    padding = "x" * random.SystemRandom().randrange(_LAYOUT_BYTES)
    return replace(spec, environment={**spec.environment, LAYOUT_VARIABLE: padding})


def _sharing(arm: Arm, arms: Sequence[Arm], workers: Workers) -> WorkerProcess | None:
    if arm.isolated:
        return None
    for other in arms:
        if other.key in workers and not other.isolated and other.spec == arm.spec:
            return workers[other.key]
    return None

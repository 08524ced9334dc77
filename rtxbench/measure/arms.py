"""The arms of a pairing, what comes of them, and the processes they run in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rtxbench.errors import RtxbenchError
from rtxbench.measure.process import WorkerProcess, WorkerSpec
from rtxbench.measure.protocol import Described
from rtxbench.records import Case, Launch

__all__ = ["Arm", "ArmResult", "LaunchSource", "Pairing", "end_workers", "start_workers"]


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


@dataclass
class ArmResult:
    """What came of one arm: its launches so far, what it said of itself, or why it was given up."""

    arm: Arm
    launches: list[Launch] = field(default_factory=list)
    described: Described | None = None
    versions: dict[str, str] = field(default_factory=dict)
    failure: RtxbenchError | None = None
    missing: dict[str, str] = field(default_factory=dict)


@dataclass
class Pairing:
    """The arms of one group, the first of which is the baseline, and their launch-level log-ratios.

    ``log_ratios[key]`` holds ln(candidate ÷ baseline) of *step time* per launch (above zero: slower).
    """

    results: list[ArmResult]
    log_ratios: dict[str, list[float]]
    interrupted: bool = False

    @property
    def launches(self) -> int:
        """Finished launches."""
        return max((len(result.launches) for result in self.results), default=0)


LaunchSource = Callable[[Sequence[Arm]], "dict[str, WorkerProcess]"]
"""Starts the workers of one launch: arm key → process (shared where arms share)."""


def start_workers(arms: Sequence[Arm]) -> dict[str, WorkerProcess]:
    """One process per distinct spec, and one of its own for every isolated arm."""
    workers: dict[str, WorkerProcess] = {}
    try:
        for arm in arms:
            shared = None if arm.isolated else _sharing(arm, arms, workers)
            workers[arm.key] = shared or WorkerProcess(arm.spec)
    except BaseException:
        end_workers(workers, lambda worker: worker.kill())
        raise
    return workers


def _sharing(arm: Arm, arms: Sequence[Arm], workers: dict[str, WorkerProcess]) -> WorkerProcess | None:
    for other in arms:
        if other.key in workers and not other.isolated and other.spec == arm.spec:
            return workers[other.key]
    return None


def end_workers(workers: dict[str, WorkerProcess], how: Callable[[WorkerProcess], None]) -> None:
    """End each process once, however many arms share it: its ``close`` or, in haste, its ``kill``."""
    for worker in {id(w): w for w in workers.values()}.values():
        how(worker)

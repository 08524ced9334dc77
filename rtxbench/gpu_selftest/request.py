"""The request for a GPU self-test: its cases, its pace, and its planned duration."""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from rtxbench.engines import FRAMEWORKS
from rtxbench.engines.refusals import default_compiler
from rtxbench.precision import PRECISIONS, reduced_precision_of, why_not
from rtxbench.records import Case
from rtxbench.workloads import workload_named

__all__ = ["LIMIT_S", "GpuSelftestRequest", "Pace", "planned_s"]

LIMIT_S: Final = 180.0
"""Of the whole self-test; a part that would begin later says that no time was left."""
_START_S: Final = 8.0
"""A worker's start with its first build: importing TensorFlow with Keras took 4 to 8 s, mlp-wide 1.5 s."""
_PROOF_S: Final = 2.0
"""The step's peak, FLOPs, one product and one convolution against float64."""
_PROFILE_S: Final = 3.0
"""Another build, and three steps under the profiler."""


class Pace(NamedTuple):
    """Seconds of the parts in which the card is watched."""

    idle_s: float = 2.0
    busy_s: float = 3.0
    alone_s: float = 2.5
    turn_s: float = 0.35
    """A block while arms take turns: as long as those of the standard profile."""
    turns: int = 10
    abreast: int = 2
    """Processes on the card at once while precisions are proven; nothing is timed then."""


class GpuSelftestRequest(NamedTuple):
    """The things to be tried."""

    kind: str = "gpu"
    """Kind of device: gpu, or cpu to try the self-test."""
    engines: tuple[str, ...] = FRAMEWORKS
    only: tuple[str, ...] = tuple(PRECISIONS)
    """Precisions that are tried, where the device has them."""
    workload: str = "mlp-wide"
    """Products alone, large enough for Tensor Cores, built in a second."""
    batch_size: int | None = None
    limit_s: float = LIMIT_S
    pace: Pace = Pace()

    def case(self, engine: str, precision: str) -> Case:
        """Return the case of one engine and precision, with the compiler its users get."""
        return Case(
            workload=self.workload,
            batch_size=self.batch_size or workload_named(self.workload).batch_sizes[self.kind],
            precision=precision,
            placement=self.kind,
            engine=engine,
            compiler=default_compiler(engine),
        )

    def precisions(self, engine: str, compute_capability: float | None) -> Iterator[str]:
        """Precisions that the device has."""
        for name in self.only:
            compiler = default_compiler(engine)
            if not why_not(name, device_kind=self.kind, compiler=compiler, compute_capability=compute_capability):
                yield name

    def turn_cases(self, engine: str) -> tuple[Case, Case]:
        """Return the two arms that take turns: float32, and what the device's users turn to first."""
        return self.case(engine, "float32"), self.case(engine, reduced_precision_of(self.kind).name)


def planned_s(engines: int, pace: Pace) -> float:
    """Predict the seconds of a self-test in which that many engines see the card, each in every precision."""
    watched = pace.idle_s * 2 + pace.busy_s + 2 * pace.alone_s + 4 * pace.turns * pace.turn_s
    errands = [_START_S + _PROOF_S] * len(PRECISIONS) + [_START_S + _PROFILE_S * len(PRECISIONS)]
    waves = math.ceil(engines * sum(errands) / pace.abreast)
    return _START_S + (_START_S + _PROOF_S) + watched + waves + max(errands, default=0.0) / 2

"""The result of a pairing: each arm's launches or its failure, and the log-ratios between arms."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rtxbench.errors import RtxbenchError
from rtxbench.measure.paired.arms import Arm
from rtxbench.records import Launch
from rtxbench.workers.protocol import Described

__all__ = ["ArmResult", "PairedResult", "Stretch"]


@dataclass(frozen=True)
class Stretch:
    """The second half of one arm's long run alone."""

    blocks_ns: tuple[tuple[int, int], ...]
    steps: int
    """In all of these blocks together."""
    discarded_s: float


@dataclass
class ArmResult:
    """The result of one arm: its launches so far, what it said of itself, or why it was given up."""

    arm: Arm
    launches: list[Launch] = field(default_factory=list)
    described: Described | None = None
    versions: dict[str, str] = field(default_factory=dict)
    failure: RtxbenchError | None = None
    missing: dict[str, str] = field(default_factory=dict)
    peak_method: str | None = None
    """Method by which the peaks of its launches were obtained."""
    alone_peak_bytes: float | None = None
    """From an extra process, where no launch showed it."""
    stretch: Stretch | None = None
    """Its long run alone, once a group."""


@dataclass
class PairedResult:
    """The arms of one group, the first of which is the baseline, and their launch-level log-ratios."""

    results: list[ArmResult]
    log_ratios: dict[str, list[float]]
    """Candidate → ln(candidate ÷ baseline) of *step time* per launch (above zero: slower)."""
    interrupted: bool = False
    rounds: dict[str, list[Sequence[float]]] = field(default_factory=dict)
    """Candidate → what each of these is the trimmed mean of: the same per round."""
    orders: dict[str, list[int]] = field(default_factory=dict)
    """Candidate → per launch 1 where it was started before the baseline, -1 where after it."""

    @property
    def launches(self) -> int:
        """Finished launches."""
        return max((len(result.launches) for result in self.results), default=0)

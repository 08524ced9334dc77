"""What comes of a pairing: each arm's launches or its failure, and the log-ratios between arms."""

from dataclasses import dataclass, field

from rtxbench.errors import RtxbenchError
from rtxbench.measure.arms import Arm
from rtxbench.records import Launch
from rtxbench.workers.protocol import Described

__all__ = ["ArmResult", "Pairing"]


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

"""The causes a diagnosis may name, each with its title and what to try next."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

__all__ = ["CAUSES", "Cause", "Diagnosis"]


class Cause(NamedTuple):
    """One row of `CAUSES`."""

    title: str
    next_step: str


CAUSES: Final[Mapping[str, Cause]] = {
    "throttled": Cause(
        "throttled",
        "Improve cooling or raise the power limit, and compare cards only at clocks that both can hold.",
    ),
    "input-bound": Cause(
        "waiting for input data",
        "Speed up the input pipeline: cache, prefetch, parallel map, or move the augmentation to the device.",
    ),
    "communication-bound": Cause(
        "waiting for the other devices",
        "Give each device more work between exchanges (a larger batch per device), or use fewer devices.",
    ),
    "launch-bound": Cause(
        "the device waits for the host: launching kernels costs more than computing them",
        "Raise the batch size, or compile the step (XLA, torch.compile) so that small operations are fused.",
    ),
    "host-bound": Cause(
        "the GPU waits for the host",
        "Time the loop once with one constant batch: if that is faster, speed up the input pipeline; if not, raise the "
        "batch size or compile the step.",
    ),
    "compute-bound-matrix-unit": Cause(
        "limited by the matrix unit's arithmetic",
        "This is what the hardware gives: only fewer FLOPs, a lower precision or a faster card help.",
    ),
    "compute-bound-off-matrix-unit": Cause(
        "limited by arithmetic outside the matrix unit",
        "Bring the products onto the matrix unit: mixed precision, channel counts that are multiples of 8, "
        "and no large layers kept in float32.",
    ),
    "compute-bound": Cause(
        "limited by arithmetic",
        "Only fewer FLOPs, a matrix unit or a faster device help.",
    ),
    "no-matrix-unit": Cause(
        "no fast hardware for this precision",
        "Train in float32 here; a lower precision pays on a device with a matrix unit for it (Tensor Cores, AMX).",
    ),
    "memory-bandwidth-bound": Cause(
        "limited by memory bandwidth",
        "Fuse elementwise operations, move fewer bytes, or use a device with more memory bandwidth.",
    ),
    "baseline-already-tf32": Cause(
        "the float32 baseline already runs its products on the matrix unit as TF32",
        "Compare with strict float32 (TF32 switched off), or accept that TF32 already gave most of the gain.",
    ),
    "matrix-unit-pays": Cause(
        "the matrix unit is used and pays",
        "Nothing to mend: keep this precision where the accuracy allows it.",
    ),
    "python-bound": Cause(
        "Python between the operators",
        "Give each operator more work (a larger batch), compile the step (torch.compile, tf.function), and keep "
        "logging and .item() out of it.",
    ),
    "single-threaded": Cause(
        "one core does all the work",
        "Use more processes or threads, and check OMP_NUM_THREADS and the data loader's workers.",
    ),
    "idle": Cause(
        "your command used neither CPU nor GPU",
        "If it starts its work in a container or on another host, trace it there.",
    ),
    "undetermined": Cause(
        "no single resource explains the step time",
        "Look at the hardware timeline for gaps, and measure again with evidence (ceilings and a profiled step).",
    ),
}
"""Every cause a diagnosis may name, with its short title and the one-sentence next step."""


class Diagnosis(NamedTuple):
    """A cause with its evidence."""

    code: str
    """Row of `CAUSES`."""
    evidence: tuple[str, ...]
    """Sentences with the figures the cause rests on."""
    certainty: Literal["measured", "inferred"]
    """Inferred: from kernel names, shapes or counted traffic rather than from a sensor or a clock."""
    advice: str = ""
    """Step to try, fitted to the case; empty where the cause's general step fits every case."""

    @property
    def title(self) -> str:
        """The cause in a few words."""
        return CAUSES[self.code].title

    @property
    def next_step(self) -> str:
        """Step to try, in one sentence."""
        return self.advice or CAUSES[self.code].next_step

    @property
    def text(self) -> str:
        """Title and evidence as one line for a reader."""
        mark = " (inferred)" if self.certainty == "inferred" else ""
        facts = "; ".join(self.evidence)
        return f"{self.title}{mark}: {facts}" if facts else f"{self.title}{mark}"

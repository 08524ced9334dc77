"""Find the share of a data-parallel step that summing gradients takes: measured, else computed, else unknown.

*Measured*: the share of kernel time in communication kernels, told by name in a profiled pass. *Computed*: gradient
bytes ÷ the all-reduce bandwidth measured on the same devices ÷ the measured step time, as if nothing ran meanwhile.
The two are never averaged and never change places: each says which it is.
"""

from typing import Literal, NamedTuple

from rtxbench.diagnosis.rules import Evidence
from rtxbench.placement import PLACEMENTS
from rtxbench.records import Case
from rtxbench.units import format_percent, format_quantity

__all__ = ["AllReduceShare", "all_reduce_share", "sums_gradients"]


class AllReduceShare(NamedTuple):
    """One share, or why there is none."""

    ratio: float | None
    origin: Literal["measured", "computed"] | None
    how: str
    """The whole of which it is a share, and its source; without a share, the evidence that is missing."""

    @property
    def text(self) -> str:
        """``about 23 % of the step (computed: …)``."""
        if self.ratio is None:
            return f"unknown ({self.how})"
        about = "about " if self.origin == "computed" else ""
        return f"{about}{format_percent(self.ratio, 0)} {self.how}"


def sums_gradients(case: Case) -> bool:
    """Return whether a step of the case all-reduces its gradients."""
    placement = PLACEMENTS.get(case.placement)
    return placement is not None and placement.all_reduces and case.device_count > 1


def all_reduce_share(evidence: Evidence) -> AllReduceShare:
    """Return the share of one data-parallel case, from the best evidence there is."""
    if evidence.communication_ratio is not None:
        how = "of kernel time (measured in a profiled pass, kernels told by their names)"
        return AllReduceShare(evidence.communication_ratio, "measured", how)
    computed = evidence.computed_all_reduce_ratio
    if computed is None:
        return AllReduceShare(None, None, f"{_missing(evidence)}, and no profiled pass saw communication kernels")
    gradients = format_quantity(evidence.gradient_bytes_per_step or 0.0, "B")
    rate = format_quantity(evidence.all_reduce_bytes_per_s or 0.0, "B/s")
    how = f"of the step (computed: {gradients} of gradients at the measured {rate}; less where it overlaps with work)"
    return AllReduceShare(computed, "computed", how)


def _missing(evidence: Evidence) -> str:
    if evidence.gradient_bytes_per_step is None:
        return "the size of the gradients was not recorded"
    if not evidence.all_reduce_bytes_per_s:
        return "no all-reduce bandwidth was measured on these devices"
    return "the step time was not measured"

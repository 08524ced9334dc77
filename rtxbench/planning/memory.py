"""Does a group fit on the card? Predicted device memory of all arms that are resident together, before anything runs.

An arm's state (weights, optimizer slots, its batch) stays on the card while other arms are timed; what one step needs
besides (activations, workspace) is needed by one arm at a time, but a framework's allocator never gives it back, so
every process keeps its largest. Both figures are XLA's own plan for an RTX 4070, compiled ahead of time
(`tools/gpu_memory_plan.py`); other engines pack less tightly. Rows of the file whose card reads *computed* are of
models too large to compile where the file was made: float32 weights from their dimensions, activations and logits as
`rtxbench.advice.memory.need` counts them.
"""

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

from rtxbench.advice.memory.need import CONTEXT_BYTES
from rtxbench.measure.groups import Group
from rtxbench.placement import PLACEMENTS
from rtxbench.precision import precision_named
from rtxbench.records import Case

__all__ = ["USABLE_SHARE", "StepMemory", "group_bytes", "resident_bytes", "step_flops", "step_memory"]

USABLE_SHARE: Final = 0.9
"""Of a card's memory: the rest is the driver's, a desktop's, and what prediction and packing miss."""
_ACTIVATION_OVERHEAD: Final = 1.26
"""Hugging Face's BERT-large measurement, 2,089 MiB an example against 1,656 of tensors: allocators and unfused steps
of engines that do not plan a step's memory."""
_TIGHT_ENGINES: Final = ("jax",)
"""Engines that hold what XLA planned; the others need more."""


class StepMemory(NamedTuple):
    """Estimate the bytes one arm holds on its busiest device."""

    state_bytes: float
    temp_bytes: float


class _MemoryPlan(NamedTuple):
    batch_size: int
    state_bytes: float
    temp_bytes: float
    flops: float | None


@cache
def _survey() -> dict[tuple[str, int], _MemoryPlan]:
    """Map (workload, bits of its products) to plan at the workload's GPU batch."""
    text = (resources.files("rtxbench.catalog") / "gpu_memory_plan.csv").read_text(encoding="utf-8")
    return {
        (row["workload"], precision_named(row["precision"]).bits): _MemoryPlan(
            int(row["batch_size"]),
            float(row["state_bytes"]),
            float(row["temp_bytes"]),
            float(row["flops"]) if row["flops"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    }


def _row(workload: str, precision: str) -> _MemoryPlan | None:
    """Return the plan of the precision's width; float32 bounds what was not compiled."""
    survey = _survey()
    return survey.get((workload, precision_named(precision).bits)) or survey.get((workload, 32))


def step_memory(case: Case) -> StepMemory | None:
    """Predict what a case holds on each device; ``None`` for a workload that was never compiled.

    Activations grow with the batch of one device; the state does not (its batch is small beside the weights).
    """
    row = _row(case.workload, case.precision)
    if row is None:
        return None
    share = case.batch_size / case.device_count / row.batch_size
    overhead = 1.0 if case.engine in _TIGHT_ENGINES else _ACTIVATION_OVERHEAD
    return StepMemory(row.state_bytes, row.temp_bytes * share * overhead)


def step_flops(case: Case) -> float | None:
    """XLA's count for one step of the case over all its devices; ``None`` where unknown."""
    row = _row(case.workload, "float32")
    return None if row is None or row.flops is None else row.flops * case.batch_size / row.batch_size


def group_bytes(group: Group) -> float | None:
    """Predict the most that the first GPU holds while a group is measured; ``None`` where a case is unknown."""
    if not group.apart:
        return resident_bytes(group.cases)
    each = [resident_bytes([case]) for case in group.cases]
    known = [held for held in each if held is not None]
    return max(known, default=0.0) if len(known) == len(each) else None


def resident_bytes(cases: Sequence[Case]) -> float | None:
    """Predict what the first GPU holds while these cases are measured together; ``None`` where one is unknown.

    Cases of one engine share a process; those that need one of their own (several devices) do not.
    """
    processes: dict[object, list[StepMemory]] = {}
    for case in cases:
        placement = PLACEMENTS[case.placement]
        if placement.device_kind != "gpu":
            continue
        held = step_memory(case)
        if held is None:
            return None
        processes.setdefault(case if placement.isolated else case.engine, []).append(held)
    return sum(
        CONTEXT_BYTES + sum(arm.state_bytes for arm in arms) + max(arm.temp_bytes for arm in arms)
        for arms in processes.values()
    )

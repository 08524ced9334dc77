"""Records of what a user's own model is asked beyond throughput: its first steps and its largest batches."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import psutil

from rtxbench.errors import OutOfMemoryError, RtxbenchError, WorkerLostError
from rtxbench.measure.profiles import Profile
from rtxbench.own.first_steps import first_steps, leak_bytes_per_step
from rtxbench.own.largest_batch import SEARCH_S, LargestBatch, largest_batch
from rtxbench.own.plan import CLAIM
from rtxbench.records import Case, Environment, Observation
from rtxbench.results.store import new_record_id, now

__all__ = ["NO_MEMORY", "batch_records", "own_observation", "step_records"]

NO_MEMORY: Final = "memory"
"""Label ``failed`` of first steps that did not fit: the framework said so, or the system ended the process."""
_HOST_SHARE: Final = 0.8
"""Share of the host's free memory that a search may fill: what else runs there must go on."""


def step_records(run_id: str, case: Case, labels: Mapping[str, str]) -> list[Observation]:
    """Run a case's first steps and put what was seen into records; what fails is a record with its reason."""
    try:
        seen = first_steps(case)
    except RtxbenchError as error:
        memory = {"failed": NO_MEMORY} if isinstance(error, OutOfMemoryError | WorkerLostError) else {}
        said = {**labels, **memory}
        return [own_observation(run_id, "first_loss", (), case, said, replicate="step", reason=str(error))]
    leak = leak_bytes_per_step(seen.memory_bytes)
    reason = None if seen.losses else "the step reports no finite loss"
    records = [own_observation(run_id, "first_loss", seen.losses, case, labels, replicate="step", reason=reason)]
    if leak is not None:
        records.append(own_observation(run_id, "leak_bytes", (leak,), case, labels, replicate="step"))
    return records


def batch_records(
    run_id: str, cases: Iterable[Case], profile: Profile, environment: Environment, labels: Mapping[str, str]
) -> Iterator[Observation]:
    """Search the largest batch of each case that is uncompiled or compiled as usual, on one device, a record each."""
    budget_s = SEARCH_S.get(profile.name, 0.0)
    for case in cases if budget_s > 0 else ():
        on_gpu = bool(environment.gpus)
        limit_bytes = environment.gpus[0].memory_bytes if on_gpu else _HOST_SHARE * psutil.virtual_memory().available
        found = largest_batch(case, limit_bytes, budget_s, fails_safely=on_gpu)
        yield _batch_record(run_id, case, found, limit_bytes, labels)


def _batch_record(
    run_id: str, case: Case, found: LargestBatch, limit_bytes: float | None, labels: Mapping[str, str]
) -> Observation:
    best = found.best
    said = {"tries": str(len(found.tries)), "ended": found.ended}
    if limit_bytes is not None:
        said["limit_bytes"] = f"{limit_bytes:.0f}"
    if best is not None and best.peak_bytes is not None:
        said["peak_bytes"] = f"{best.peak_bytes:.0f}"
    reason = None if best is not None else next((t.reason for t in found.tries if t.reason), found.ended)
    values = () if best is None else (float(best.batch_size),)
    return own_observation(
        run_id, "largest_batch_size", values, case, {**labels, **said}, replicate="search", reason=reason
    )


def own_observation(
    run_id: str,
    metric: str,
    values: tuple[float, ...],
    case: Case | None,
    labels: Mapping[str, str],
    *,
    replicate: str,
    reason: str | None = None,
) -> Observation:
    """Make one record of a user's own model."""
    return Observation(
        record_id=new_record_id(),
        run_id=run_id,
        topic=CLAIM,
        metric=metric,
        values=values,
        replicate=replicate,
        finished_at=now(),
        case=case,
        labels=dict(labels),
        reason=reason,
    )

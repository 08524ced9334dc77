"""Records made up for tests: evidence for a claim is built from the claim's own selectors."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from rtxbench.placement import PLACEMENTS
from rtxbench.precision import PRECISIONS
from rtxbench.records import (
    SCHEMA_VERSION,
    Case,
    CaseRecord,
    Cpu,
    Environment,
    Estimate,
    Gpu,
    Launch,
    Measurement,
    Observation,
    RatioRecord,
    Record,
    Run,
)
from rtxbench.results.store import LoadedRun
from rtxbench.stats import ratio_estimate
from rtxbench.verdicts.claims import CaseSelectors, Claim, Comparison
from rtxbench.verdicts.selectors import selects
from rtxbench.workloads import WORKLOADS

SPREAD = (-0.004, -0.002, 0.0, 0.002, 0.004)
"""Deviations of five launches from their mean, in log units."""
_numbers = itertools.count()


def environment(gpu_count: int = 0, gpu_name: str = "NVIDIA GeForce RTX 3090", machine: str = "testbox") -> Environment:
    gpus = tuple(Gpu(uuid=f"GPU-{index}", name=gpu_name, index=index) for index in range(gpu_count))
    cpu = Cpu(name="Test CPU", physical_cores=2, logical_cores=2, memory_bytes=2**34)
    return Environment(machine=machine, cpu=cpu, gpus=gpus)


def loaded_run(records: Sequence[Record], where: Environment) -> LoadedRun:
    header = Run(
        schema_version=SCHEMA_VERSION,
        run_id="run-1",
        started_at="2026-01-01T00:00:00+00:00",
        monotonic_ns=0,
        realtime_ns=0,
        environment=where,
        command=("rtxbench", "run"),
        profile="standard",
        rtxbench_version="0",
    )
    return LoadedRun(header, tuple(records), Path("run-1.jsonl"), False)


def case_record(case: Case, *, loss: float | None = 0.5, warmup_ok: bool = True, **changes: object) -> CaseRecord:
    launch = Launch(
        steps_per_block=1,
        blocks_ns=((0, 1_000_000_000),),
        warmup_ok=warmup_ok,
        warmup_s=1.0,
        build_s=1.0,
        first_step_s=1.0,
        loss=loss,
    )
    step = Estimate(value=1.0, low=0.99, high=1.01, n=5)
    speed = Estimate(value=case.batch_size, low=case.batch_size / 1.01, high=case.batch_size / 0.99, n=5)
    measurement = Measurement(launches=(launch,) * 5, step_time_s=step, throughput_per_s=speed, warmup_ok=warmup_ok)
    record = CaseRecord(
        record_id=f"case-{next(_numbers)}",
        run_id="run-1",
        group="g",
        case=case,
        status="measured",
        finished_at="2026-01-01T00:01:00+00:00",
        measurement=measurement,
    )
    return msgspec.structs.replace(record, **changes)


def paired(
    baseline: Case,
    candidate: Case,
    ratio: float,
    *,
    metric: str = "throughput",
    replicate: str = "launch",
    spread: Iterable[float] = SPREAD,
    **changes: object,
) -> list[Record]:
    """A ratio record around ``ratio`` and the case records of its two arms."""
    arms = [case_record(baseline), case_record(candidate)]
    logs = tuple(math.log(ratio) + deviation for deviation in spread)
    record = RatioRecord(
        record_id=f"ratio-{next(_numbers)}",
        run_id="run-1",
        group="g",
        baseline=baseline,
        candidate=candidate,
        baseline_record=arms[0].record_id,
        candidate_record=arms[1].record_id,
        metric=metric,
        replicate=replicate,  # type: ignore[arg-type]
        log_ratios=logs,
        ratio=ratio_estimate(logs),
        smallest_effect_ratio=0.01,
        warmup_ok=True,
        finished_at="2026-01-01T00:02:00+00:00",
    )
    return [*arms, msgspec.structs.replace(record, **changes)]


def observation(topic: str, metric: str, values: Sequence[float], **changes: object) -> Observation:
    record = Observation(
        record_id=f"observation-{next(_numbers)}",
        run_id="run-1",
        topic=topic,
        metric=metric,
        values=tuple(values),
        replicate="seed",
        finished_at="2026-01-01T00:02:00+00:00",
    )
    return msgspec.structs.replace(record, **changes)


def arms_of(comparison: Comparison) -> tuple[Case, Case]:
    """Two cases that the comparison's selectors accept and that differ exactly where it says."""
    baseline = _case_of(comparison.baseline, devices=1)
    candidate = _case_of(comparison.candidate, devices=comparison.candidate.minimum_devices)
    for name in ("workload", "precision", "placement", "variant"):
        if name not in comparison.varies:
            candidate = msgspec.structs.replace(candidate, **{name: getattr(baseline, name)})
    if "batch_size" in comparison.varies:
        candidate = msgspec.structs.replace(candidate, batch_size=baseline.batch_size * max(2, candidate.device_count))
    return baseline, candidate


_TABLES = {"workload": WORKLOADS, "precision": PRECISIONS, "placement": PLACEMENTS}


def _case_of(arm: CaseSelectors, devices: int) -> Case:
    def first(field: str, default: str) -> str:
        """The first name that the selectors accept: of the field's table, or else a pattern made up to a name."""
        patterns, table = getattr(arm, field), _TABLES.get(field, ())
        if not patterns:
            return default
        known = (name for name in table if selects(field, patterns[:1], name))
        return next(known, patterns[0].replace("*", "cnn" if patterns[0].endswith("-*") else ""))

    return Case(
        workload=first("workload", "resnet50"),
        batch_size=32,
        precision=first("precision", "float32"),
        placement=first("placement", "cpu"),
        variant=first("variant", ""),
        device_count=devices,
    )


def evidence_for(claim: Claim, ratio: float, *, equal: float = 1.0, limit_factor: float = 0.0) -> list[Record]:
    """Evidence for every part of a claim: ``ratio`` times each threshold, ``equal`` where no difference is claimed."""
    records: list[Record] = []
    for comparison in (part for part in claim.comparisons if part.required or not claim.fits):
        level = equal if comparison.rule == "no-difference" else ratio * (comparison.threshold_ratio or 1.0)
        records += paired(*arms_of(comparison), level, metric=comparison.metric, replicate=comparison.replicate)
    for fit in claim.fits:
        case = Case(workload=fit.workload[0], batch_size=4, placement="gpu")
        reason = "out of memory on the device" if ratio < 0.9 else "the worker died"
        failed = {"status": "failed", "reason": reason, "measurement": None}
        records.append(case_record(case) if ratio >= 1 else case_record(case, **failed))
    for limit in claim.limits:
        labels = {name: patterns[0] for name, patterns in limit.labels.items()}
        values = [limit_factor * (limit.maximum or 1e-3)] * 5
        records.append(observation(claim.id, limit.metric, values, labels=labels))
    return records

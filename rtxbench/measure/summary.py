"""A measured pairing becomes records: pure functions, no process and no file."""

from collections.abc import Sequence
from math import log

from rtxbench.hardware.flags import pair_flags, window_flags
from rtxbench.hardware.trace import Trace, summarize
from rtxbench.measure.paired_result import ArmResult, Pairing
from rtxbench.plausible import step_time_s
from rtxbench.records import Case, CaseRecord, Estimate, Flag, Measurement, RatioRecord
from rtxbench.stats import launch_estimate, ratio_estimate, smallest_effect
from rtxbench.store import new_record_id, now
from rtxbench.workloads import WORKLOADS

__all__ = ["case_record", "ratio_records", "skipped_record"]

_INTERFERENCE_RATIO = 0.01


def skipped_record(run_id: str, group: str, case: Case, reason: str) -> CaseRecord:
    """The record of a case that was not run."""
    return CaseRecord(
        record_id=new_record_id(),
        run_id=run_id,
        group=group,
        case=case,
        status="skipped",
        finished_at=now(),
        reason=reason,
    )


def case_record(
    run_id: str, group: str, result: ArmResult, trace: Trace | None, gpu_uuids: Sequence[str], *, adaptive: bool
) -> CaseRecord:
    """The record of one arm: measured where it came through at least one launch, else failed with its reason."""
    failed = result.failure is not None or not result.launches
    windows = [block for launch in result.launches for block in launch.blocks_ns]
    missing = dict(result.missing)
    if trace is None:
        missing["hardware"] = "the run was not recorded"
    return CaseRecord(
        record_id=new_record_id(),
        run_id=run_id,
        group=group,
        case=result.arm.case,
        status="failed" if failed else "measured",
        finished_at=now(),
        reason=str(result.failure) if result.failure is not None else None,
        measurement=_measurement(result, adaptive=adaptive) if result.launches else None,
        hardware=summarize(trace, windows, gpu_uuids) if trace is not None and windows else None,
        flags=window_flags(trace, windows, gpu_uuids) if trace is not None else (),
        missing=missing,
    )


def _measurement(result: ArmResult, *, adaptive: bool) -> Measurement:
    case, launches = result.arm.case, tuple(result.launches)
    # Geometric means: speeds are positive, and a ratio of two means is then the mean of the ratios.
    logs = [log(step_time_s(launch)) for launch in launches]
    step = ratio_estimate(logs, adaptive=adaptive)
    throughput = ratio_estimate([log(case.batch_size) - value for value in logs], adaptive=adaptive)
    described = result.described
    assert described is not None
    errors = {
        "matmul_relative_error": described.matmul_relative_error,
        "convolution_relative_error": described.convolution_relative_error,
    }
    workload = WORKLOADS.get(case.workload)
    return Measurement(
        launches=launches,
        step_time_s=step,
        throughput_per_s=throughput,
        warmup_ok=all(launch.warmup_ok for launch in launches),
        peak_memory_bytes=max((m for launch in launches if (m := launch.peak_memory_bytes) is not None), default=None),
        flops_per_step=described.flops_per_step,
        flops_method=described.flops_method,
        tokens_per_example=workload.tokens_per_example if workload else None,
        numerics={name: error for name, error in errors.items() if error is not None},
        notes=described.notes,
    )


def ratio_records(
    run_id: str,
    group: str,
    pairing: Pairing,
    cases: dict[str, CaseRecord],
    trace: Trace | None,
    gpu_uuids: Sequence[str],
    *,
    adaptive: bool,
) -> list[RatioRecord]:
    """One record per candidate that has at least one launch in common with the baseline.

    Args:
        run_id: of the run.
        group: of the pairing.
        pairing: what was measured.
        cases: arm key → its case record.
        trace: the hardware recording, if any.
        gpu_uuids: GPUs the arms ran on.
        adaptive: whether the number of launches depended on the data.
    """
    baseline = pairing.results[0]
    records = []
    for result in pairing.results[1:]:
        slower = pairing.log_ratios[result.arm.key]
        if slower and result.failure is None and baseline.failure is None:
            records.append(_ratio(run_id, group, baseline, result, slower, cases, trace, gpu_uuids, adaptive=adaptive))
    return records


def _ratio(
    run_id: str,
    group: str,
    baseline: ArmResult,
    candidate: ArmResult,
    slower: Sequence[float],
    cases: dict[str, CaseRecord],
    trace: Trace | None,
    gpu_uuids: Sequence[str],
    *,
    adaptive: bool,
) -> RatioRecord:
    size = log(candidate.arm.case.batch_size / baseline.arm.case.batch_size)
    log_ratios = tuple(size - value for value in slower)
    mine, theirs = cases[candidate.arm.key], cases[baseline.arm.key]
    ratio = ratio_estimate(log_ratios, adaptive=adaptive)
    return RatioRecord(
        record_id=new_record_id(),
        run_id=run_id,
        group=group,
        baseline=baseline.arm.case,
        candidate=candidate.arm.case,
        baseline_record=theirs.record_id,
        candidate_record=mine.record_id,
        metric="throughput",
        replicate="launch",
        log_ratios=log_ratios,
        ratio=ratio,
        smallest_effect_ratio=smallest_effect(log_ratios),
        warmup_ok=all(launch.warmup_ok for result in (baseline, candidate) for launch in result.launches),
        finished_at=now(),
        flags=_ratio_flags(baseline, candidate, mine, theirs, trace, gpu_uuids, ratio),
    )


def _ratio_flags(
    baseline: ArmResult,
    candidate: ArmResult,
    mine: CaseRecord,
    theirs: CaseRecord,
    trace: Trace | None,
    gpu_uuids: Sequence[str],
    ratio: Estimate,
) -> tuple[Flag, ...]:
    """Both arms' own flags once, what only the pair shows, and interference between the arms."""
    windows = [[b for launch in r.launches for b in launch.blocks_ns] for r in (baseline, candidate)]
    half_width = None if ratio.low is None or ratio.high is None else log(ratio.high / ratio.low) / 2
    own = pair_flags(trace, windows[0], windows[1], gpu_uuids, half_width) if trace is not None else ()
    return tuple(dict.fromkeys((*theirs.flags, *mine.flags, *own, *_interference(baseline))))


def _interference(baseline: ArmResult) -> tuple[Flag, ...]:
    """The baseline alone differs from the baseline interleaved by over 1 %, beyond its own launch-to-launch noise."""
    ratios = [launch.solo_ratio for launch in baseline.launches if launch.solo_ratio is not None]
    if len(ratios) < 2:
        return ()
    alone: Estimate = launch_estimate(ratios)
    low, high = alone.low, alone.high
    if abs(alone.value - 1) <= _INTERFERENCE_RATIO or low is None or high is None or low <= 1 <= high:
        return ()
    detail = f"{baseline.arm.key} takes {alone.value:.3f} times as long alone as interleaved"
    return (Flag(code="interference", severity="warn", detail=detail),)

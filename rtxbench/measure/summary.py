"""A measured pairing becomes records: pure functions, no process and no file."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench.hardware.flags import pair_flags, window_flags
from rtxbench.hardware.trace import HOST, Trace, energy_in, summarize
from rtxbench.hardware.windows import Windows
from rtxbench.measure.paired.result import ArmResult, PairedResult, Stretch
from rtxbench.placement import placement_named
from rtxbench.records import (
    Case,
    CaseRecord,
    Estimate,
    Flag,
    HardwareSummary,
    Measurement,
    RatioRecord,
    Sustained,
)
from rtxbench.results.plausible import step_time_s
from rtxbench.results.store import new_record_id, now
from rtxbench.stats import (
    launch_estimate,
    order_effect,
    ordered_ratio_estimate,
    ratio_estimate,
    smallest_effect,
    two_window_steady,
)
from rtxbench.workloads import WORKLOADS

__all__ = ["MeasuredGroup", "case_record", "ratio_records", "skipped_record"]

_INTERFERENCE_RATIO = 0.01


def skipped_record(run_id: str, group: str, case: Case, reason: str) -> CaseRecord:
    """Return the record of a case that was not run."""
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
    run_id: str,
    group: str,
    result: ArmResult,
    trace: Trace | None,
    gpu_uuids: Sequence[str],
    *,
    adaptive: bool,
    record_id: str | None = None,
    alone: bool = False,
) -> CaseRecord:
    """Return the record of one arm: measured where it came through at least one launch, else failed with its reason.

    Args:
        run_id: of the run.
        group: of the pairing.
        result: the arm's launches.
        trace: the hardware recording; ``None`` where there is none, or not yet.
        gpu_uuids: GPUs the arm ran on.
        adaptive: whether the number of launches depended on the data.
        record_id: of an earlier edition of the same record, which this one supersedes.
        alone: whether the group has no other arm, so that its blocks are all its own.
    """
    failed = result.failure is not None or not result.launches
    windows = [block for launch in result.launches for block in launch.blocks_ns]
    stretch = [] if result.stretch is None else [_span(result.stretch)]
    missing = dict(result.missing)
    if trace is None:
        missing["hardware"] = "the run was not recorded, or was cut off before this group was finished"
    measurement = _measurement(result, trace, gpu_uuids, adaptive=adaptive) if result.launches else None
    if measurement is not None and measurement.peak_memory_bytes is not None:
        missing.pop("peak_memory_bytes", None)
    return CaseRecord(
        record_id=record_id or new_record_id(),
        run_id=run_id,
        group=group,
        case=result.arm.case,
        status="failed" if failed else "measured",
        finished_at=now(),
        reason=str(result.failure) if result.failure is not None else None,
        measurement=measurement,
        hardware=_hardware(trace, windows, gpu_uuids, alone=alone) if trace is not None and windows else None,
        flags=window_flags(trace, windows, gpu_uuids, stretch) if trace is not None else (),
        missing=missing,
    )


def _hardware(trace: Trace, windows: Windows, gpu_uuids: Sequence[str], *, alone: bool) -> HardwareSummary:
    """Summarise what the recorder saw in the timed blocks; sensors average over longer, so no arm's energy."""
    seen = summarize(trace, windows, gpu_uuids)
    if alone:
        return seen
    reason = "interleaved blocks mix the arms' power; the sustained stretch has each arm's own"
    missing = {name: why for name, why in seen.missing.items() if not name.endswith("/energy_j")}
    return replace(seen, energy_j={}, missing={**missing, "energy_j": reason})


def _measurement(result: ArmResult, trace: Trace | None, gpu_uuids: Sequence[str], *, adaptive: bool) -> Measurement:
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
    peaks = [m for launch in launches if (m := launch.peak_memory_bytes) is not None]
    if not peaks and result.alone_peak_bytes is not None:
        peaks = [round(result.alone_peak_bytes)]
    return Measurement(
        launches=launches,
        step_time_s=step,
        throughput_per_s=throughput,
        warmup_ok=all(launch.warmup_ok for launch in launches),
        peak_memory_bytes=round(median(peaks)) if peaks else None,
        peak_memory_method=result.peak_method if peaks else None,
        sustained=None if result.stretch is None else _sustained(case, result.stretch, trace, gpu_uuids),
        flops_per_step=described.flops_per_step,
        flops_method=described.flops_method,
        tokens_per_example=workload.tokens_per_example if workload else None,
        numerics={name: error for name, error in errors.items() if error is not None},
        notes=described.notes,
        nodes=described.nodes,
    )


def _span(stretch: Stretch) -> tuple[int, int]:
    return stretch.blocks_ns[0][0], stretch.blocks_ns[-1][1]


def _sustained(case: Case, stretch: Stretch, trace: Trace | None, gpu_uuids: Sequence[str]) -> Sustained:
    """Make the record of one arm's long run alone: examples per second, power and energy of its devices."""
    window = _span(stretch)
    timed_s = sum(end - start for start, end in stretch.blocks_ns) / 1e9
    throughput = stretch.steps * case.batch_size / timed_s
    found = [] if trace is None else [energy_in(trace, device, [window]) for device in gpu_uuids or (HOST,)]
    refused = next((finding.how for finding in found if finding.value_j is None), None)
    power_w = None
    if found and refused is None:
        power_w = sum(finding.value_j or 0.0 for finding in found) / ((window[1] - window[0]) / 1e9)
    if placement_named(case.placement).over_network:
        power_w, refused = None, "the recorder watches the first node alone"
    missing = {} if power_w is not None else {"power_w": refused or "the run was not recorded"}
    times = [(end - start) / 1e9 for start, end in stretch.blocks_ns]
    return Sustained(
        window_ns=window,
        discarded_s=stretch.discarded_s,
        throughput_per_s=throughput,
        steady=len(times) >= 4 and two_window_steady(times, len(times) // 2),
        power_w=power_w,
        energy_per_example_j=None if power_w is None else power_w / throughput,
        hardware=None if trace is None else summarize(trace, [window], gpu_uuids),
        missing=missing,
    )


class MeasuredGroup(NamedTuple):
    """The origin of a group's ratios."""

    run_id: str
    group: str
    pairing: PairedResult
    cases: Mapping[str, CaseRecord]
    """Arm key → its case record."""
    trace: Trace | None
    gpu_uuids: Sequence[str]
    """GPUs the arms ran on."""
    adaptive: bool
    """The number of launches depended on the data."""


def ratio_records(measured: MeasuredGroup, record_ids: Mapping[str, str] = {}) -> list[RatioRecord]:
    """Return one record per candidate that has at least one launch in common with the baseline.

    Args:
        measured: the group.
        record_ids: arm key → id of an earlier edition of its record, which this one supersedes.
    """
    baseline, *candidates = measured.pairing.results
    return [
        _ratio(measured, baseline, result, record_ids.get(result.arm.key) or new_record_id())
        for result in candidates
        if measured.pairing.log_ratios[result.arm.key] and result.failure is None and baseline.failure is None
    ]


def _ratio(measured: MeasuredGroup, baseline: ArmResult, candidate: ArmResult, record_id: str) -> RatioRecord:
    key = candidate.arm.key
    size = log(candidate.arm.case.batch_size / baseline.arm.case.batch_size)
    log_ratios = tuple(size - value for value in measured.pairing.log_ratios[key])
    orders = measured.pairing.orders.get(key, [])
    mine, theirs = measured.cases[key], measured.cases[baseline.arm.key]
    ratio = ordered_ratio_estimate(log_ratios, orders, adaptive=measured.adaptive)
    return RatioRecord(
        record_id=record_id,
        run_id=measured.run_id,
        group=measured.group,
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
        order_log_ratio=order_effect(log_ratios, orders),
        flags=_ratio_flags(measured, baseline, candidate, ratio),
    )


def _ratio_flags(
    measured: MeasuredGroup, baseline: ArmResult, candidate: ArmResult, ratio: Estimate
) -> tuple[Flag, ...]:
    """Collect both arms' own flags once, what only the pair shows, and interference between the arms."""
    mine, theirs = measured.cases[candidate.arm.key], measured.cases[baseline.arm.key]
    windows = [[b for launch in r.launches for b in launch.blocks_ns] for r in (baseline, candidate)]
    half_width = None if ratio.low is None or ratio.high is None else log(ratio.high / ratio.low) / 2
    trace = measured.trace
    own = () if trace is None else pair_flags(trace, windows[0], windows[1], measured.gpu_uuids, half_width)
    return tuple(dict.fromkeys((*theirs.flags, *mine.flags, *own, *_interference(baseline))))


def _interference(baseline: ArmResult) -> tuple[Flag, ...]:
    """Flag a baseline that differs alone from interleaved by over 1 %, beyond its launch-to-launch noise."""
    ratios = [launch.solo_ratio for launch in baseline.launches if launch.solo_ratio is not None]
    if len(ratios) < 2:
        return ()
    alone: Estimate = launch_estimate(ratios)
    low, high = alone.low, alone.high
    if abs(alone.value - 1) <= _INTERFERENCE_RATIO or low is None or high is None or low <= 1 <= high:
        return ()
    detail = f"{baseline.arm.key} takes {alone.value:.3f} times as long alone as interleaved"
    return (Flag(code="interference", severity="warn", detail=detail),)

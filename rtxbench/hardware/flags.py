"""Validity flags of measured windows: what the environment did that weakens or voids a figure.

Thresholds are the protocol's (``docs/method.md``, "Environment flags"), kept in the tables below. A flag is a fact,
never a filter: flagged samples stay in the figure, because dropping the throttled samples of one arm turns a true
-3.5 % into 0 %. ``warn`` is printed beside the figure, ``invalid`` lets no verdict rest on it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtxbench.hardware.trace import EVENT_REASONS, HOST, Trace, energy_in
from rtxbench.hardware.windows import Samples, Windows, merge_windows, metric_values_in, values_in
from rtxbench.records import Flag
from rtxbench.units import format_percent

__all__ = ["pair_flags", "window_flags"]

_POWER_CAP_GAP: Final = 0.10
_THERMAL_GAP: Final = 0.05
_PRESSURE_INVALID: Final = 0.50
_WIDE_INTERVAL: Final = 0.03
_GPU_IDLE_WARN: Final = 0.20
_ENERGY_DISAGREEMENT: Final = 0.03
_NO_WORK_UTILIZATION: Final = 0.01
_WORKING_UTILIZATION: Final = 0.2
"""A card that draws a desktop runs kernels for a few percent of the time and clocks up and down as it does; one that
takes turns with a CPU arm reads about a half."""
_IDLE_POWER_ROOM: Final = (1.15, 5.0)
"""A card that works draws more than this × its lowest power, plus these watts."""
_NO_WORK_CPU_CORES: Final = 0.05
_OWN_STRETCH_NS: Final = 2_000_000_000
"""Twice the longest time a sensor averages over."""
_TOUCHING_NS: Final = 20_000_000
"""Blocks of one arm this close have no block of another in between."""
_NOTICED_WITHIN_NS: Final = 1_000_000_000
"""The recorder looks once a second whether the machine was suspended."""


class _Limit(NamedTuple):
    """One row: a share of time and the levels at which it warns and voids (``None``: never)."""

    code: str
    metric: str
    warn: float
    invalid: float | None
    text: str


_HOST_LIMITS: Final = (
    _Limit("steal", "steal_ratio", 0.01, 0.05, "of CPU time was taken by the hypervisor"),
    _Limit("cgroup-throttled", "cgroup_throttled_ratio", 0.01, 0.05, "of CPU quota periods were throttled"),
    # Voids only together with a wide interval, which only a comparison knows: see pair_flags.
    _Limit("cpu-pressure", "psi_cpu_some_ratio", 0.20, None, "of the time some process waited for a CPU"),
)
_GPU_LIMITS: Final = (
    _Limit("hw-slowdown", "hw_slowdown_ratio", 0.0, 0.01, "of samples show a hardware slowdown or power brake"),
    _Limit("thermal-slowdown", "sw_thermal_slowdown_ratio", 0.01, 0.05, "of samples show a thermal slowdown"),
)


def window_flags(
    trace: Trace, windows_ns: Windows, gpu_uuids: Sequence[str] = (), stretches_ns: Windows = ()
) -> tuple[Flag, ...]:
    """Flags of one case's windows.

    Utilisation is NVML's average over up to a second. What it says of the case counts only where a whole second of
    it lies in the case's own blocks (`rtxbench.hardware.windows.AVERAGED_OVER_S`).

    Args:
        trace: the recording that spans the windows.
        windows_ns: timed blocks, monotonic nanoseconds.
        gpu_uuids: the GPUs the case ran on; empty for a CPU case, whose work is then looked for on the host.
        stretches_ns: windows in which the case ran alone. Utilisation and clocks are judged there, and in timed blocks
            that are as long, alone: a sensor that averages over longer than a block shows the neighbours' work.
    """
    if not windows_ns:
        return ()
    flags = [*_limit_flags(trace, HOST, _HOST_LIMITS, windows_ns), *_recording_flags(trace, windows_ns)]
    for uuid in gpu_uuids:
        flags += _limit_flags(trace, uuid, _GPU_LIMITS, windows_ns)
        for check in _GPU_CHECKS:
            flags += check(trace, uuid, windows_ns)
        own = [w for w in merge_windows([*windows_ns, *stretches_ns], _TOUCHING_NS) if w[1] - w[0] >= _OWN_STRETCH_NS]
        for check in _OWN_STRETCH_CHECKS if own else ():
            flags += check(trace, uuid, own)
    flags += _no_gpu_work(trace, gpu_uuids, windows_ns) if gpu_uuids else _no_host_work(trace, windows_ns)
    return tuple(flags)


def pair_flags(
    trace: Trace,
    windows_a_ns: Windows,
    windows_b_ns: Windows,
    gpu_uuids: Sequence[str] = (),
    half_width_ratio: float | None = None,
) -> tuple[Flag, ...]:
    """Flags of a comparison: throttling that hit one arm more than the other, and pressure that shows in the interval.

    The software power cap alone never voids a figure: it is how a card at its limit works, and only an unequal
    share of it makes the arms different machines. CPU pressure voids a comparison only where its interval is wide too.

    Args:
        trace: the recording that spans both arms.
        windows_a_ns: timed blocks of one arm.
        windows_b_ns: timed blocks of the other.
        gpu_uuids: GPUs to look at; all recorded ones if empty.
        half_width_ratio: of the ratio's interval, relative; ``None`` where it has none.
    """
    flags: list[Flag] = []
    pressure = _mean(_ratio_values(trace, HOST, "psi_cpu_some_ratio", [*windows_a_ns, *windows_b_ns]))
    wide = half_width_ratio is not None and half_width_ratio > _WIDE_INTERVAL
    if pressure is not None and pressure > _PRESSURE_INVALID and wide:
        text = f"{HOST}: some process waited for a CPU {format_percent(pressure)} of the time, and the interval is wide"
        flags.append(_flag("cpu-pressure-shows", "invalid", text))
    for uuid in gpu_uuids or tuple(gpu.uuid for gpu in trace.header.gpus):
        for metric, gap, severity, code in (
            ("sw_power_cap_ratio", _POWER_CAP_GAP, "warn", "power-cap-unequal"),
            ("sw_thermal_slowdown_ratio", _THERMAL_GAP, "invalid", "thermal-slowdown-unequal"),
        ):
            a, b = (_mean(_ratio_values(trace, uuid, metric, windows)) for windows in (windows_a_ns, windows_b_ns))
            if a is not None and b is not None and abs(a - b) > gap:
                text = f"{uuid}: {metric} is {format_percent(a)} in one arm and {format_percent(b)} in the other"
                flags.append(_flag(code, severity, text))
    return tuple(flags)


def _limit_flags(trace: Trace, device: str, limits: Iterable[_Limit], windows_ns: Windows) -> list[Flag]:
    flags = []
    for limit in limits:
        share = _mean(_ratio_values(trace, device, limit.metric, windows_ns))
        if share is None or share <= limit.warn:
            continue
        severity = "invalid" if limit.invalid is not None and share > limit.invalid else "warn"
        flags.append(_flag(limit.code, severity, f"{device}: {format_percent(share)} {limit.text}"))
    return flags


def _ratio_values(trace: Trace, device: str, metric: str, windows_ns: Windows) -> NDArray[np.float64]:
    mask = EVENT_REASONS.get(metric)
    series = trace.get(device, metric if mask is None else "clock_event_reasons_bitmask")
    if series is None:
        return np.array([])
    values = metric_values_in(metric, series, windows_ns)
    return values if mask is None else ((values.astype(np.int64) & mask) != 0).astype(float)


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None


def _flag(code: str, severity: str, detail: str) -> Flag:
    level: Literal["warn", "invalid"] = "invalid" if severity == "invalid" else "warn"
    return Flag(code=code, severity=level, detail=detail)


def _recording_flags(trace: Trace, windows_ns: Windows) -> list[Flag]:
    """List what the recorder itself says about its recording."""
    first, last = windows_ns[0][0], max(end for _start, end in windows_ns)
    flags = []
    for event in trace.events:
        if event.code == "gpu-lost" and event.t <= last:
            flags.append(_flag("gpu-lost", "invalid", f"{event.device}: {event.detail}"))
        if event.code == "read-hung" and event.t >= first:
            flags.append(_flag("sensor-hung", "warn", event.detail))
        if event.code == "suspended" and first <= event.t <= last + _NOTICED_WITHIN_NS:
            flags.append(_flag("suspended", "warn", f"{event.detail}; its clocks and temperatures began anew"))
    series = trace.get(HOST, "cpu_utilization_ratio")
    if series is None or values_in(series, windows_ns).size == 0:
        flags.append(_flag("not-recorded", "warn", "no hardware sample falls into the timed blocks"))
    return flags


def _temperature_drift(trace: Trace, uuid: str, windows_ns: Windows) -> list[Flag]:
    values = _ratio_values(trace, uuid, "temperature_c", windows_ns)
    third = values.size // 3
    if third == 0:
        return []
    drift_c = float(abs(np.median(values[-third:]) - np.median(values[:third])))
    if drift_c <= 5:
        return []
    severity = "invalid" if drift_c > 10 else "warn"
    return [_flag("temperature-drift", severity, f"{uuid}: {drift_c:.0f} °C between the first and last third")]


def _clock_variation(trace: Trace, uuid: str, windows_ns: Windows) -> list[Flag]:
    """Judged while the card worked: between two frames of a desktop it falls to its idle clock, as it should."""
    clock, busy = trace.get(uuid, "sm_clock_hz"), trace.get(uuid, "gpu_utilization_ratio")
    if clock is None or clock.times_ns.size == 0:
        return []
    if busy is not None and busy.times_ns.size:
        nearest = np.searchsorted(busy.times_ns, clock.times_ns).clip(max=busy.times_ns.size - 1)
        worked = busy.values[nearest] > _WORKING_UTILIZATION
        clock = Samples(clock.times_ns[worked], clock.values[worked])
    values = values_in(clock, windows_ns)
    if values.size < 2 or values.mean() == 0:
        return []
    cv = float(values.std(ddof=1) / values.mean())
    if cv <= 0.02:
        return []
    severity = "invalid" if cv > 0.10 else "warn"
    return [_flag("clock-variation", severity, f"{uuid}: the SM clock varies by {format_percent(cv)} (CV)")]


def _idle_gpu(trace: Trace, uuid: str, windows_ns: Windows) -> list[Flag]:
    """NVML's utilisation is the share of time in which any kernel ran, so its complement is time without work."""
    busy = _mean(_ratio_values(trace, uuid, "gpu_utilization_ratio", windows_ns))
    if busy is None or not _NO_WORK_UTILIZATION < busy < 1 - _GPU_IDLE_WARN:
        return []
    return [_flag("host-bound", "warn", f"{uuid}: no kernel ran for {format_percent(1 - busy, 0)} of the timed blocks")]


def _energy_disagreement(trace: Trace, uuid: str, windows_ns: Windows) -> list[Flag]:
    disagreement = energy_in(trace, uuid, windows_ns).disagreement_ratio
    if disagreement is None or disagreement <= _ENERGY_DISAGREEMENT:
        return []
    text = f"{uuid}: energy counter and integral of power differ by {format_percent(disagreement)}"
    return [_flag("energy-disagreement", "warn", text)]


def _foreign_processes(trace: Trace, uuid: str, windows_ns: Windows) -> list[Flag]:
    """Compute processes that are not the measured program's, at the marks around the windows.

    Where process ids are not the driver's (a container), only those already there at the first mark are known
    to be foreign.
    """
    start, end = merge_windows(windows_ns)[0][0], max(end for _start, end in windows_ns)
    before = [m for m in trace.marks if m.t <= start][-1:]
    marks = [*before, *(m for m in trace.marks if start < m.t <= end), *[m for m in trace.marks if m.t > end][:1]]
    at_start = {p.pid for p in trace.marks[0].processes.get(uuid, ())} if trace.marks else set()
    foreign = {
        process.pid: process.sm_utilization_ratio or 0.0
        for mark in marks
        for process in mark.processes.get(uuid, ())
        if not process.watched and (trace.header.pids_comparable or process.pid in at_start)
    }
    if not foreign:
        return []
    busiest = max(foreign.values())
    severity = "invalid" if busiest > 0 else "warn"
    text = (
        f"{uuid}: {len(foreign)} other process(es) on the GPU, the busiest used {format_percent(busiest, 0)} of its SMs"
    )
    return [_flag("foreign-gpu-process", severity, text)]


_Check: TypeAlias = Callable[[Trace, str, Windows], list[Flag]]
_GPU_CHECKS: Final[tuple[_Check, ...]] = (_temperature_drift, _foreign_processes, _energy_disagreement)
_OWN_STRETCH_CHECKS: Final[tuple[_Check, ...]] = (_clock_variation, _idle_gpu)


def _no_gpu_work(trace: Trace, gpu_uuids: Sequence[str], windows_ns: Windows) -> list[Flag]:
    """Flag a GPU trace without work: it is of the wrong device, or the program fell back to the CPU.

    Some drivers (under WSL2) answer a utilisation of 0 where they mean that they do not know, so power is asked too.
    """
    flags = []
    for uuid in gpu_uuids:
        series = trace.get(uuid, "gpu_utilization_ratio")
        own = _ratio_values(trace, uuid, "gpu_utilization_ratio", windows_ns)
        # Where blocks are too short for a reading of their own, any that touches them: it may show another arm's
        # kernels, but none at all is then certain.
        values = own if own.size or series is None else values_in(series, windows_ns)
        if not values.size:
            why = trace.reason_missing(uuid, "gpu_utilization_ratio")
            flags.append(_flag("work-unproven", "warn", f"{uuid}: nothing shows that the work ran there: {why}"))
        elif values.max() <= _NO_WORK_UTILIZATION and _power_shows_work(trace, uuid, windows_ns) is not False:
            text = f"{uuid}: utilisation reads 0 %, and power does not show that the card did nothing"
            flags.append(_flag("work-unproven", "warn", text))
        elif values.max() <= _NO_WORK_UTILIZATION:
            text = f"{uuid}: no kernel ran during the timed blocks; the work ran elsewhere"
            flags.append(_flag("no-work", "invalid", text))
    return flags


def _power_shows_work(trace: Trace, uuid: str, windows_ns: Windows) -> bool | None:
    """Compare the card's power inside the windows with its quietest; ``None`` without power readings."""
    power = trace.power(uuid) or trace.get(uuid, "power_average_w")
    inside = values_in(power, windows_ns) if power is not None else np.array([])
    if power is None or not inside.size:
        return None
    factor, watts = _IDLE_POWER_ROOM
    return float(inside.mean()) > factor * float(power.values.min()) + watts


def _no_host_work(trace: Trace, windows_ns: Windows) -> list[Flag]:
    values = _ratio_values(trace, HOST, "watched_cpu_cores", windows_ns)
    if values.size < 3 or values.mean() > _NO_WORK_CPU_CORES:
        return []
    text = f"the measured processes used {values.mean():.2f} cores during the timed blocks; the work ran elsewhere"
    return [_flag("no-work", "invalid", text)]

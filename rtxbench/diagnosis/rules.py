"""Name one cause per case and per ratio why it is not faster, from evidence, with what to try next.

Each resource a step needs (arithmetic, memory traffic, kernel launches) has a ceiling measured on the same device.
Demand ÷ ceiling is the time the step would take if nothing else cost anything; its share of the measured step time
says how much that resource explains. The largest share names the bottleneck, if it explains enough. Waiting for
input, waiting for other devices, and throttling are observed directly and come first.

`Evidence` is plain data: `rtxbench.diagnosis.facts` fills it from records, tests fill it by hand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from rtxbench.diagnosis.advice import Situation, fitting_advice
from rtxbench.diagnosis.causes import Diagnosis
from rtxbench.units import format_count, format_duration, format_percent, format_quantity, format_ratio
from rtxbench.wording import name_of

__all__ = ["WAIT_SHARE", "Evidence", "diagnose", "diagnose_ratio"]

_DOMINANT_SHARE: Final = 0.35
"""A resource whose ideal time is at least this share of the step names the bottleneck. Well-tuned training steps reach
30-60 % of the product ceiling, so asking for more would leave the good cases unexplained."""
WAIT_SHARE: Final = 0.20
"""Of the step spent waiting for input, for other devices, or with no kernel on the GPU (docs/method.md, flags)."""
_THERMAL_SHARE: Final = 0.05
_HARDWARE_SLOWDOWN_SHARE: Final = 0.01
_CLOCK_LOSS: Final = 0.10
_MATRIX_GAIN: Final = 1.5
"""A precision whose products run this much faster than float32's uses a matrix unit (public GEMM medians: TF32 on
GeForce 1.5, float16 3.1)."""
_MATRIX_TIME_SHARE: Final = 0.2
_BUSY_MEMORY: Final = 0.8
_UNALIGNED_SHARE: Final = 0.5
_TF32_ERROR: Final = (5e-5, 1e-3)
"""Relative error of a float32 product that was rounded to TF32's 10-bit mantissa (about 3e-4); strict float32: 1e-7."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The facts known of one measured case. ``None`` is unknown, never zero. Ratios are 0-1."""

    device_kind: str = "gpu"
    precision: str = "float32"
    device_count: int = 1
    step_time_s: float | None = None
    flops_per_step: float | None = None
    traffic_bytes_per_step: float | None = None
    kernels_per_step: float | None = None
    gemm_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    """Measured product ceiling of one device, by precision."""
    memory_bytes_per_s: float | None = None
    kernel_launch_s: float | None = None
    step_call_s: float | None = None
    """Time of calling a traced function that does next to nothing: what every step pays once."""
    gpu_idle_ratio: float | None = None
    memory_activity_ratio: float | None = None
    """Memory bandwidth used ÷ possible, from the card's counter (Hopper and newer)."""
    memory_busy_ratio: float | None = None
    """NVML's memory utilisation: share of time with any access, however small. Says little below `_BUSY_MEMORY`."""
    input_wait_ratio: float | None = None
    communication_ratio: float | None = None
    """Share of kernel time spent communicating, by kernel names."""
    gradient_bytes_per_step: float | None = None
    """Of one replica, where the step sums gradients over devices."""
    all_reduce_bytes_per_s: float | None = None
    matrix_unit_ratio: float | None = None
    """Share of kernel time on the matrix unit."""
    matrix_unit_how: str = "inferred from kernel names"
    unaligned_flops_ratio: float | None = None
    thermal_ratio: float | None = None
    hardware_slowdown_ratio: float | None = None
    power_cap_ratio: float | None = None
    clock_loss_ratio: float | None = None
    """1 - mean ÷ highest SM clock seen."""
    matmul_relative_error: float | None = None
    compiled: bool = False
    """A compiler (XLA, inductor) already fuses the step's operations."""
    gains: Mapping[str, float] = field(default_factory=dict)
    """Speeds measured beside this case: after one change, ``compiled`` or a precision, ÷ the case's speed."""

    @property
    def situation(self) -> Situation:
        """Everything that decides what is worth trying."""
        plain = self.gemm_flop_per_s.get("float32")
        rates = {name: rate / plain for name, rate in self.gemm_flop_per_s.items()} if plain else {}
        return Situation(self.device_kind, self.precision, self.compiled, self.gains, rates)

    @property
    def achieved_flop_per_s(self) -> float | None:
        """FLOPs of a step ÷ its time ÷ devices: FLOP/s of one device. ``None`` where one is unknown."""
        if self.flops_per_step is None or not self.step_time_s:
            return None
        return self.flops_per_step / self.step_time_s / self.device_count

    @property
    def matrix_gain(self) -> float | None:
        """Measured product ceiling of this precision ÷ that of float32. ``None`` unless both were measured."""
        own, plain = self.gemm_flop_per_s.get(self.precision), self.gemm_flop_per_s.get("float32")
        return own / plain if own and plain else None

    @property
    def computed_all_reduce_ratio(self) -> float | None:
        """Share of the step that summing the gradients would take if nothing else ran meanwhile: an upper bound."""
        if self.gradient_bytes_per_step is None or not self.all_reduce_bytes_per_s or not self.step_time_s:
            return None
        return min(self.gradient_bytes_per_step / self.all_reduce_bytes_per_s / self.step_time_s, 1.0)

    @property
    def off_matrix_unit(self) -> bool:
        """Return whether the products seem not to run on the matrix unit; kernel time outweighs shapes."""
        if self.matrix_unit_ratio is not None:
            return self.matrix_unit_ratio < _MATRIX_TIME_SHARE
        return self.unaligned_flops_ratio is not None and self.unaligned_flops_ratio >= _UNALIGNED_SHARE

    def shares(self) -> dict[str, float]:
        """Share of the step time that each resource alone would take: compute, memory, launch. Known ones only."""
        shares: dict[str, float] = {}
        ceiling = self.gemm_flop_per_s.get("float32" if self._slow_products else self.precision)
        if self.achieved_flop_per_s is not None and ceiling:
            shares["compute"] = self.achieved_flop_per_s / ceiling
        if self.traffic_bytes_per_step is not None and self.memory_bytes_per_s and self.step_time_s:
            share = self.traffic_bytes_per_step / self.device_count / self.memory_bytes_per_s / self.step_time_s
            shares["memory"] = min(share, 1.0)  # counted traffic is an upper bound: caches and fusion save some of it
        if self.memory_activity_ratio is not None:
            shares["memory"] = self.memory_activity_ratio
        elif "memory" not in shares and (self.memory_busy_ratio or 0.0) >= _BUSY_MEMORY:
            shares["memory"] = self.memory_busy_ratio or 0.0
        if self.step_call_s is not None and self.step_time_s:
            launches_s = (self.kernels_per_step or 0.0) * (self.kernel_launch_s or 0.0)
            shares["launch"] = min((self.step_call_s + launches_s) / self.step_time_s, 1.0)
        return shares

    @property
    def _slow_products(self) -> bool:
        has_unit = self.matrix_gain is not None and self.matrix_gain >= _MATRIX_GAIN
        return has_unit and self.off_matrix_unit and "float32" in self.gemm_flop_per_s


def diagnose(evidence: Evidence) -> Diagnosis:
    """Name the bottleneck of one case, with advice that fits it. Rules in order; the first that applies speaks."""
    found = _bottleneck(evidence)
    return found._replace(advice=fitting_advice(found.code, evidence.situation))


def _bottleneck(evidence: Evidence) -> Diagnosis:
    for rule in _RULES:
        found = rule(evidence)
        if found is not None:
            return found
    shares = evidence.shares()
    known = tuple(f"{name} explains {format_percent(share, 0)}" for name, share in shares.items())
    return Diagnosis("undetermined", known or ("no ceilings or step evidence were recorded",), "measured")


def _throttled(e: Evidence) -> Diagnosis | None:
    facts = []
    if e.hardware_slowdown_ratio is not None and e.hardware_slowdown_ratio > _HARDWARE_SLOWDOWN_SHARE:
        facts.append(f"hardware slowdown in {format_percent(e.hardware_slowdown_ratio, 0)} of samples")
    if e.thermal_ratio is not None and e.thermal_ratio > _THERMAL_SHARE:
        facts.append(f"thermal slowdown in {format_percent(e.thermal_ratio, 0)} of samples")
    capped = e.power_cap_ratio is not None and e.power_cap_ratio >= 0.5
    if capped and e.clock_loss_ratio is not None and e.clock_loss_ratio >= _CLOCK_LOSS:
        facts.append(f"held at the power limit, the SM clock {format_percent(e.clock_loss_ratio, 0)} below its best")
    return Diagnosis("throttled", tuple(facts), "measured") if facts else None


def _input_bound(e: Evidence) -> Diagnosis | None:
    if e.input_wait_ratio is None or e.input_wait_ratio < WAIT_SHARE:
        return None
    text = f"{format_percent(e.input_wait_ratio, 0)} of the step time is spent waiting for the next batch"
    return Diagnosis("input-bound", (text,), "measured")


def _communication_bound(e: Evidence) -> Diagnosis | None:
    if e.communication_ratio is None or e.communication_ratio < WAIT_SHARE or e.device_count < 2:
        return None
    text = (
        f"{format_percent(e.communication_ratio, 0)} of kernel time is communication between {e.device_count} devices"
    )
    return Diagnosis("communication-bound", (text,), "measured")


def _limiting_resource(e: Evidence) -> Diagnosis | None:
    """Return the resource with the largest share; an idle GPU speaks for launches, which are what it waits for."""
    shares = e.shares()
    idle = e.gpu_idle_ratio is not None and e.gpu_idle_ratio >= WAIT_SHARE
    name = max(shares, key=lambda key: shares[key], default="")
    if shares.get(name, 0.0) < _DOMINANT_SHARE:
        name = ""
    if idle and name != "compute":
        name = "launch"
    return _SPEAKERS[name](e, shares) if name else None


def _launch(e: Evidence, shares: Mapping[str, float]) -> Diagnosis:
    facts = []
    if e.gpu_idle_ratio is not None and e.gpu_idle_ratio >= WAIT_SHARE:
        facts.append(f"no kernel runs for {format_percent(e.gpu_idle_ratio, 0)} of the time")
    if "launch" in shares and e.step_call_s is not None:
        cost = f"the call ({format_duration(e.step_call_s)})"
        if e.kernels_per_step and e.kernel_launch_s:
            cost += f" and {format_count(e.kernels_per_step)} launches of at least {format_duration(e.kernel_launch_s)}"
        facts.append(f"{cost} explain {format_percent(shares['launch'], 0)} of the step")
    if "compute" in shares:
        facts.append(f"arithmetic takes about {format_percent(shares['compute'], 0)}")
    if shares.get("launch", 0.0) < _DOMINANT_SHARE and e.input_wait_ratio is None:
        return Diagnosis("host-bound", tuple(facts), "measured")  # idle, and nothing tells launches from input
    return Diagnosis("launch-bound", tuple(facts), "measured" if e.gpu_idle_ratio is not None else "inferred")


def _memory(e: Evidence, shares: Mapping[str, float]) -> Diagnosis:
    if e.memory_activity_ratio is not None:
        text = f"{format_percent(e.memory_activity_ratio, 0)} of the memory bandwidth is used, by the card's counter"
        return Diagnosis("memory-bandwidth-bound", (text, *_compute_fact(shares)), "measured")
    if e.traffic_bytes_per_step is None or e.memory_bytes_per_s is None:
        text = f"device memory is accessed {format_percent(shares['memory'], 0)} of the time"
        return Diagnosis("memory-bandwidth-bound", (text, *_compute_fact(shares)), "inferred")
    traffic = format_quantity(e.traffic_bytes_per_step, "B")
    bandwidth = format_quantity(e.memory_bytes_per_s, "B/s")
    share = format_percent(shares["memory"], 0)
    text = f"moving {traffic} a step at the measured {bandwidth} takes about {share} of the time"
    return Diagnosis("memory-bandwidth-bound", (text, *_compute_fact(shares)), "inferred")


def _compute_fact(shares: Mapping[str, float]) -> tuple[str, ...]:
    return (f"arithmetic takes about {format_percent(shares['compute'], 0)}",) if "compute" in shares else ()


def _compute(e: Evidence, shares: Mapping[str, float]) -> Diagnosis:
    achieved = format_quantity(e.achieved_flop_per_s or 0.0, "FLOP/s")
    ceiling = "float32" if e._slow_products else e.precision
    portion = format_percent(shares["compute"], 0) if shares["compute"] < 1 else "all"
    share = f"{achieved} is {portion} of the {name_of(ceiling)} matrix products measured on this device"
    gain = e.matrix_gain
    has_unit = any(
        rate >= _MATRIX_GAIN * e.gemm_flop_per_s.get("float32", float("inf")) for rate in e.gemm_flop_per_s.values()
    )
    if e.precision != "float32" and gain is not None and gain < _MATRIX_GAIN:
        text = f"matrix products in {name_of(e.precision)} run at {format_ratio(gain)} the speed of float32"
        return Diagnosis("no-matrix-unit", (text, share), "measured")
    if not has_unit:
        return Diagnosis("compute-bound", (share,), "measured")
    if e.precision == "float32":
        text = "strict float32 products do not use the matrix unit, which this device has"
        return Diagnosis("compute-bound-off-matrix-unit", (share, text), "measured")
    if e.off_matrix_unit:
        return Diagnosis("compute-bound-off-matrix-unit", (share, *_off_unit_facts(e)), "inferred")
    return Diagnosis("compute-bound-matrix-unit", (share, *_on_unit_facts(e)), "inferred")


def _off_unit_facts(e: Evidence) -> tuple[str, ...]:
    facts = []
    if e.matrix_unit_ratio is not None:
        facts.append(
            f"{format_percent(e.matrix_unit_ratio, 0)} of kernel time on the matrix unit ({e.matrix_unit_how})"
        )
    if e.unaligned_flops_ratio is not None and e.unaligned_flops_ratio >= _UNALIGNED_SHARE:
        text = f"{format_percent(e.unaligned_flops_ratio, 0)} of FLOPs have a channel count that is no multiple of 8"
        facts.append(text)
    return tuple(facts)


def _on_unit_facts(e: Evidence) -> tuple[str, ...]:
    facts = []
    if e.matrix_unit_ratio is not None:
        facts.append(
            f"{format_percent(e.matrix_unit_ratio, 0)} of kernel time on the matrix unit ({e.matrix_unit_how})"
        )
    plain = e.gemm_flop_per_s.get("float32")
    if plain and e.achieved_flop_per_s is not None and e.achieved_flop_per_s > 1.05 * plain:
        facts.append(
            f"{format_ratio(e.achieved_flop_per_s / plain)} the float32 ceiling, which only the matrix unit gives"
        )
    return tuple(facts)


def _no_unit_for_precision(e: Evidence) -> Diagnosis | None:
    """Emulated precisions spend their time converting: no share reaches its ceiling, and still this is the cause."""
    gain = e.matrix_gain
    if e.precision == "float32" or gain is None or gain >= 1.0:
        return None
    text = f"matrix products in {name_of(e.precision)} run at {format_ratio(gain)} the speed of float32"
    return Diagnosis("no-matrix-unit", (text,), "measured")


_SPEAKERS: Final[Mapping[str, Callable[[Evidence, Mapping[str, float]], Diagnosis]]] = {
    "compute": _compute,
    "memory": _memory,
    "launch": _launch,
}
_RULES: Final[tuple[Callable[[Evidence], Diagnosis | None], ...]] = (
    _throttled,
    _input_bound,
    _communication_bound,
    _limiting_resource,
    _no_unit_for_precision,
)


def diagnose_ratio(baseline: Evidence, candidate: Evidence, ratio: float) -> Diagnosis:
    """Explain why the candidate is as much faster than the baseline as it is, and no more.

    Args:
        baseline: the arm divided by.
        candidate: the arm in question.
        ratio: throughput, candidate ÷ baseline.
    """
    for arm in (candidate, baseline):
        throttled = _throttled(arm)
        if throttled is not None:
            return throttled
    if candidate.precision != baseline.precision:
        found = _unit_pays(baseline, candidate, ratio) or _tf32_baseline(baseline) or _no_unit_for_precision(candidate)
        if found is not None:
            return found
    if candidate.device_count > baseline.device_count:
        scaling = _scaling(baseline, candidate, ratio)
        if scaling is not None:
            return scaling
    return diagnose(candidate)


def _tf32_baseline(baseline: Evidence) -> Diagnosis | None:
    error = baseline.matmul_relative_error
    rounded = error is not None and _TF32_ERROR[0] < error < _TF32_ERROR[1]
    if baseline.precision == "tf32" or (baseline.precision == "float32" and rounded):
        shown = "" if error is None else f": its products err by {error:.1e}, strict float32 by about 1e-07"
        return Diagnosis("baseline-already-tf32", (f"the baseline multiplies in TF32{shown}",), "measured")
    return None


def _unit_pays(baseline: Evidence, candidate: Evidence, ratio: float) -> Diagnosis | None:
    """Return whether the gain is at least 80 % of what the product ceilings of the two precisions promise."""
    own = candidate.gemm_flop_per_s.get(candidate.precision)
    plain = candidate.gemm_flop_per_s.get(baseline.precision)
    if not own or not plain or own < _MATRIX_GAIN * plain or ratio < 0.8 * own / plain:
        return None
    text = f"{format_ratio(ratio)} of the {format_ratio(own / plain)} that the measured product ceilings promise"
    return Diagnosis("matrix-unit-pays", (text,), "measured")


def _scaling(baseline: Evidence, candidate: Evidence, ratio: float) -> Diagnosis | None:
    """Devices added with little gain, where one device alone was waiting for nothing."""
    devices = candidate.device_count / baseline.device_count
    efficiency = ratio / devices
    observed = _communication_bound(candidate)
    if observed is not None:
        return observed
    alone = diagnose(baseline)
    if efficiency >= 0.9 or alone.code in ("launch-bound", "host-bound", "input-bound"):
        return None
    facts = [f"{candidate.device_count} devices reach {format_percent(efficiency, 0)} of linear scaling"]
    computed = candidate.computed_all_reduce_ratio
    if computed is not None:
        facts.append(f"all-reduce would take {format_percent(computed, 0)} of the step if nothing overlapped with it")
    return Diagnosis("communication-bound", tuple(facts), "inferred")

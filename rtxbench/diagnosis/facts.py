"""From records to evidence: what a run stored about a case, in the form the diagnosis takes.

Sources, each optional: the case's measurement and hardware summary; observations of topic ``ceiling`` for its engine
and device kind (best repeat: a ceiling is what the device can do); observations of topic ``step-evidence`` of the
same case; any observation with metric ``input_wait_ratio`` of the same case, unless it is of a named pipeline: the
augmentation trial feeds this case's model from several, and none of them fed the case. Evidence of the record's own
run comes first, then that of the machine's other runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from rtxbench.diagnosis.all_reduce import AllReduceShare, all_reduce_share, sums_gradients
from rtxbench.diagnosis.causes import Diagnosis
from rtxbench.diagnosis.rules import Evidence, diagnose, diagnose_ratio
from rtxbench.placement import placement_named
from rtxbench.records import Case, CaseRecord, HardwareSummary, Observation, RatioRecord, Summary
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_percent

__all__ = ["Diagnoser", "case_evidence", "recording_diagnosis"]

_ALL_REDUCE: Final = "all_reduce_bytes_per_s"
_HIGHER_IS_BETTER: Final = ("gemm_flop_per_s", "memory_bandwidth_bytes_per_s", _ALL_REDUCE)
_HOST: Final = "host"
_IDLE_CORES: Final = 0.05
_BUSY_CORE: Final = 0.9
_CROWDED: Final = 0.2
"""Of the time some process waited for a CPU: what a program used then says nothing of what it could use."""
_ONE_CORE: Final = 0.15
"""A program this close to one core on average, with one core always busy, does its work in one thread."""


def case_evidence(record: CaseRecord, observations: Iterable[Observation]) -> Evidence:
    """Everything known of one measured case.

    Args:
        record: status ``measured``.
        observations: of the same machine, the most trusted last; others' cases and engines are passed over.
    """
    case, measurement = record.case, record.measurement
    kind = placement_named(case.placement).device_kind
    relevant = [o for o in observations if o.values]
    ceilings = _ceilings([o for o in relevant if o.topic == "ceiling"], case.engine, kind)
    gemm = {name.partition("/")[2]: value for name, value in ceilings.items() if name.startswith("gemm_flop_per_s/")}
    step = {o.metric: o for o in relevant if o.case == case and "pipeline" not in o.labels}
    hardware = _gpu_means(record.hardware) if kind == "gpu" else {}
    busy = hardware.get("gpu_utilization_ratio")
    matrix = step.get("matrix_unit_time_ratio")
    activity = hardware.get("tensor_activity_ratio")
    return Evidence(
        device_kind=kind,
        precision=case.precision,
        device_count=case.device_count,
        step_time_s=measurement.step_time_s.value if measurement else None,
        flops_per_step=measurement.flops_per_step if measurement else None,
        traffic_bytes_per_step=_value(step, "traffic_bytes_per_step"),
        kernels_per_step=_value(step, "kernels_per_step"),
        gemm_flop_per_s=gemm,
        memory_bytes_per_s=ceilings.get("memory_bandwidth_bytes_per_s"),
        kernel_launch_s=ceilings.get("kernel_launch_s"),
        step_call_s=ceilings.get("step_call_s"),
        gpu_idle_ratio=None if busy is None else 1 - busy,
        memory_activity_ratio=hardware.get("dram_activity_ratio"),
        memory_busy_ratio=hardware.get("memory_controller_utilization_ratio"),
        input_wait_ratio=_value(step, "input_wait_ratio"),
        communication_ratio=_value(step, "communication_time_ratio"),
        gradient_bytes_per_step=_value(step, "gradient_bytes_per_step"),
        all_reduce_bytes_per_s=_all_reduce(case, step, ceilings),
        matrix_unit_ratio=activity if activity is not None else _value(step, "matrix_unit_time_ratio"),
        matrix_unit_how=_matrix_how(activity, matrix),
        unaligned_flops_ratio=_value(step, "unaligned_flops_ratio") if kind == "gpu" else None,
        thermal_ratio=hardware.get("sw_thermal_slowdown_ratio"),
        hardware_slowdown_ratio=hardware.get("hw_slowdown_ratio"),
        power_cap_ratio=hardware.get("sw_power_cap_ratio"),
        clock_loss_ratio=_clock_loss(record.hardware) if kind == "gpu" else None,
        matmul_relative_error=measurement.numerics.get("matmul_relative_error") if measurement else None,
        compiled=case.compiler != "none",
    )


def _ceilings(observations: Iterable[Observation], engine: str, kind: str) -> dict[str, float]:
    """Metric (``gemm_flop_per_s/PRECISION`` for products) → best repeat on this engine and device kind."""
    found: dict[str, float] = {}
    for observation in observations:
        if (observation.labels.get("engine"), observation.labels.get("kind")) == (engine, kind):
            best = max if observation.metric in _HIGHER_IS_BETTER else min
            precision = observation.labels.get("precision")
            found[f"{observation.metric}/{precision}" if precision else observation.metric] = best(observation.values)
    return found


def _value(step: Mapping[str, Observation], metric: str) -> float | None:
    return step[metric].values[0] if metric in step else None


def _all_reduce(case: Case, step: Mapping[str, Observation], ceilings: Mapping[str, float]) -> float | None:
    """Take the rate over a case's own ranks; the ceiling between the devices of one machine is none of a network's."""
    own = _value(step, "all_reduce_bytes_per_s")
    return own if own is not None or placement_named(case.placement).over_network else ceilings.get(_ALL_REDUCE)


def _matrix_how(activity: float | None, matrix: Observation | None) -> str:
    if activity is not None:
        return "measured by the card's own counter"
    return matrix.labels.get("method", "inferred") if matrix is not None else "unknown"


def _gpu_means(hardware: HardwareSummary | None) -> dict[str, float]:
    """Metric → mean over the GPUs that worked; the others' idleness says nothing of the case."""
    working = _working_gpus(hardware)
    metrics = {metric for summaries in working for metric in summaries}
    return {
        metric: sum(s[metric].mean for s in working if metric in s) / sum(metric in s for s in working)
        for metric in metrics
    }


def _working_gpus(hardware: HardwareSummary | None) -> list[dict[str, Summary]]:
    devices = {} if hardware is None else {k: v for k, v in hardware.devices.items() if k != _HOST}
    return [s for s in devices.values() if "gpu_utilization_ratio" not in s or s["gpu_utilization_ratio"].maximum > 0]


def _clock_loss(hardware: HardwareSummary | None) -> float | None:
    clocks = [s["sm_clock_hz"] for s in _working_gpus(hardware) if "sm_clock_hz" in s and s["sm_clock_hz"].maximum]
    return max((1 - clock.mean / clock.maximum for clock in clocks), default=None)


def recording_diagnosis(hardware: HardwareSummary) -> Diagnosis | None:
    """Diagnose a recorded program's GPUs from sensors alone; ``None`` where none worked or nothing stands out."""
    means = _gpu_means(hardware)
    busy = means.get("gpu_utilization_ratio")
    if busy is None:
        return _host_diagnosis(hardware.devices.get(_HOST, {}))
    found = diagnose(
        Evidence(
            gpu_idle_ratio=1 - busy,
            memory_activity_ratio=means.get("dram_activity_ratio"),
            memory_busy_ratio=means.get("memory_controller_utilization_ratio"),
            thermal_ratio=means.get("sw_thermal_slowdown_ratio"),
            hardware_slowdown_ratio=means.get("hw_slowdown_ratio"),
            power_cap_ratio=means.get("sw_power_cap_ratio"),
            clock_loss_ratio=_clock_loss(hardware),
        )
    )
    return found if found.code != "undetermined" else None


def _host_diagnosis(host: Mapping[str, Summary]) -> Diagnosis | None:
    """Say what the host's sensors alone tell of a program: that it used one core, or nothing."""
    if "watched_cpu_cores" not in host:
        return None
    cores = host["watched_cpu_cores"].mean
    used = f"it used {cores:.2f} cores on average"
    if cores < _IDLE_CORES:
        return Diagnosis("idle", (used,), "measured")
    pressure = host.get("psi_cpu_some_ratio")
    if abs(cores - 1) > _ONE_CORE or (pressure is not None and pressure.mean > _CROWDED):
        return None
    busiest = host.get("busiest_core_utilization_ratio")
    if busiest is not None and busiest.mean >= _BUSY_CORE:
        return Diagnosis(
            "single-threaded",
            (f"{used}, and one core was busy {format_percent(busiest.mean, 0)} of the time",),
            "measured",
        )
    if host["watched_cpu_cores"].p95 <= 1 + _ONE_CORE:  # a thread that wanders from core to core keeps none busy
        return Diagnosis("single-threaded", (f"{used}, and hardly ever more than one",), "measured")
    return None


_Latest: TypeAlias = dict[tuple[str, str, str], Observation]
"""(metric, precision, pipeline) → the latest observation of it that has values."""


class Diagnoser:
    """Diagnoses the records of loaded runs; evidence may come from any run of the same machine."""

    def __init__(self, runs: Sequence[LoadedRun]) -> None:
        self._ceilings: dict[tuple[str, str, str], _Latest] = {}
        self._of_case: dict[tuple[str, Case], _Latest] = {}
        self._machine_of_run: dict[str, str] = {}
        self._cases: dict[str, CaseRecord] = {}
        self._gains: dict[tuple[str, Case], dict[str, float]] = {}
        for loaded in runs:
            machine = loaded.run.environment.machine
            self._machine_of_run[loaded.run.run_id] = machine
            self._cases.update({record.record_id: record for record in loaded.of_kind(CaseRecord)})
            for ratio in loaded.of_kind(RatioRecord):
                change = _one_change(ratio)
                if change is not None:
                    self._gains.setdefault((machine, ratio.baseline), {})[change] = ratio.ratio.value
            for observation in loaded.of_kind(Observation):
                if observation.values:
                    self._remember(machine, observation)

    def _remember(self, machine: str, observation: Observation) -> None:
        """Keep the latest of each figure, of the machine and of the run: no case is held against all of them."""
        labels = observation.labels
        for owner in (machine, f"run {observation.run_id}"):
            if observation.topic == "ceiling":
                kept = self._ceilings.setdefault((owner, labels.get("engine", ""), labels.get("kind", "")), {})
            elif observation.case is not None:
                kept = self._of_case.setdefault((owner, observation.case), {})
            else:
                continue
            kept[observation.metric, labels.get("precision", ""), labels.get("pipeline", "")] = observation

    def case(self, record: CaseRecord) -> Diagnosis | None:
        """Return the bottleneck of a measured case; ``None`` for a skipped or failed one."""
        return diagnose(self.evidence(record)) if record.measurement is not None else None

    def ratio(self, record: RatioRecord) -> Diagnosis | None:
        """Explain a ratio; ``None`` where one of its cases was not stored with a measurement."""
        arms = [self._cases.get(record.baseline_record), self._cases.get(record.candidate_record)]
        evidence = [self.evidence(arm) for arm in arms if arm is not None and arm.measurement is not None]
        if len(evidence) != 2 or record.metric != "throughput":
            return None
        return diagnose_ratio(evidence[0], evidence[1], record.ratio.value)

    def all_reduce(self, record: RatioRecord) -> AllReduceShare | None:
        """Estimate all-reduce's share of the candidate; ``None`` where it sums no gradients or was not stored."""
        arm = self._cases.get(record.candidate_record)
        return all_reduce_share(self.evidence(arm)) if arm is not None and sums_gradients(record.candidate) else None

    def evidence(self, record: CaseRecord) -> Evidence:
        """Collect what is known of a case, for tables and the roofline."""
        machine = self._machine_of_run.get(record.run_id, "")
        case, known = record.case, []
        kind = placement_named(case.placement).device_kind
        for owner in (machine, f"run {record.run_id}"):  # its own run's come last, and are the most trusted
            known += [*self._ceilings.get((owner, case.engine, kind), {}).values()]
            known += [*self._of_case.get((owner, case), {}).values()]
        evidence = case_evidence(record, known)
        return replace(evidence, gains=self._gains.get((machine, record.case), {}))


def _one_change(record: RatioRecord) -> str | None:
    """Read a throughput ratio as one change to its baseline: ``compiled`` or the other precision's name."""
    changes = {
        name for name in record.baseline.__struct_fields__
        if getattr(record.baseline, name) != getattr(record.candidate, name)
    }  # fmt: skip
    if record.metric != "throughput":
        return None
    if changes == {"precision"}:
        return record.candidate.precision
    return "compiled" if changes == {"compiler"} and record.baseline.compiler == "none" else None

"""Machines of one's own in the results: their best measured figure of the asked-for case."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from rtxbench.catalog.cards import Card, match_device
from rtxbench.placement import PLACEMENTS
from rtxbench.records import Case, CaseRecord, Environment, Estimate, Measurement
from rtxbench.results.store import LoadedRun
from rtxbench.units import format_percent

__all__ = ["OwnMeasurement", "owned_machines"]


class OwnMeasurement(NamedTuple):
    """One measured machine: its fastest single-device figure of one workload and precision."""

    name: str
    card: Card | None
    """The catalogue's row of its GPU; ``None`` for a CPU, a laptop GPU or an unknown card."""
    stack: str
    precision: str
    label: str
    tokens: int | None
    """Sequence length of one example, where it is a language model."""
    throughput_per_s: float
    low_per_s: float | None
    high_per_s: float | None
    batch_size: int
    power_w: float | None
    """From its sustained stretch; of interleaved blocks, sensors show a mixture of the arms."""
    record_id: str
    scaling: str = ""
    """Result of several of its cards on the same workload, in words."""


def owned_machines(
    workload: str, precision: str, runs: Sequence[LoadedRun], cards: Mapping[str, Card]
) -> tuple[OwnMeasurement, ...]:
    """Return one row per machine and kind of device (GPU, CPU): its fastest figure as users get it.

    The asked-for precision counts first; a device that never ran it (float16 on a CPU) is shown in its fastest other.
    """
    found: dict[tuple[str, str], list[OwnMeasurement]] = {}
    parallel: dict[str, list[CaseRecord]] = {}
    for loaded in runs:
        environment = loaded.run.environment
        for record in loaded.of_kind(CaseRecord):
            if record.case.workload != workload or record.measurement is None:
                continue
            if _is_usable(record):
                key = (environment.machine, record.case.placement)
                found.setdefault(key, []).append(_owned(environment, record, cards))
            elif _shares_batch(record.case):
                parallel.setdefault(environment.machine, []).append(record)
    best = {
        key: max(rows, key=lambda owned: (owned.precision == precision, owned.throughput_per_s))
        for key, rows in found.items()
    }
    return tuple(
        owned._replace(scaling=_scaling(owned, parallel.get(machine, ()))) if placement == "gpu" else owned
        for (machine, placement), owned in best.items()
    )


def _scaling(owned: OwnMeasurement, parallel: Sequence[CaseRecord]) -> str:
    """Weak scaling of the same precision: several cards at the same batch each, against one."""
    for record in parallel:
        case, count = record.case, record.case.device_count
        same = case.precision == owned.precision and case.batch_size == count * owned.batch_size and case.as_published
        if same and count > 1 and record.measurement is not None:
            efficiency = _absolute(record.measurement).value / (count * owned.throughput_per_s)
            return f"{count} of them gave {format_percent(efficiency, 0)} of {count} times one, measured here"
    return ""


def _shares_batch(case: Case) -> bool:
    row = PLACEMENTS.get(case.placement)
    return row is not None and row.all_reduces and not (row.functional_check or row.over_network)


def _is_usable(record: CaseRecord) -> bool:
    single = record.case.placement in ("cpu", "gpu") and record.case.device_count == 1 and record.case.as_published
    return single and record.measurement is not None and all(flag.severity != "invalid" for flag in record.flags)


def _owned(environment: Environment, record: CaseRecord, cards: Mapping[str, Card]) -> OwnMeasurement:
    assert record.measurement is not None
    throughput, sustained = _absolute(record.measurement), record.measurement.sustained
    gpu = environment.gpus[0] if record.case.placement == "gpu" and environment.gpus else None
    version = environment.packages.get(record.case.engine, "")
    return OwnMeasurement(
        name=gpu.name if gpu else environment.cpu.name,
        card=match_device(gpu.name, gpu.memory_bytes, cards) if gpu else None,
        stack=f"{record.case.engine} {version}".strip() + f", compiler {record.case.compiler}"
        f", {'sustained' if sustained else 'common state'}",
        precision=record.case.precision,
        label=record.case.label,
        tokens=record.measurement.tokens_per_example,
        throughput_per_s=throughput.value,
        low_per_s=throughput.low,
        high_per_s=throughput.high,
        batch_size=record.case.batch_size,
        power_w=sustained.power_w if gpu and sustained else None,
        record_id=record.record_id,
    )


def _absolute(measurement: Measurement) -> Estimate:
    """Take what the machine keeps up, where it was measured, with the launches' interval about it."""
    common = measurement.throughput_per_s
    if measurement.sustained is None:
        return common
    factor = measurement.sustained.throughput_per_s / common.value
    low, high = (None if bound is None else bound * factor for bound in (common.low, common.high))
    return replace(common, value=measurement.sustained.throughput_per_s, low=low, high=high)

"""Machines of one's own in the results: their best measured figure of the asked-for case."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rtxbench.catalog.cards import Card, match_device
from rtxbench.records import CaseRecord, Environment
from rtxbench.store import LoadedRun

__all__ = ["Owned", "owned_machines"]


class Owned(NamedTuple):
    """One measured machine: its fastest single-device figure of one workload and precision."""

    name: str
    card: Card | None
    """The catalogue's row of its GPU; ``None`` for a CPU, a laptop GPU or an unknown card."""
    stack: str
    label: str
    throughput_per_s: float
    low_per_s: float | None
    high_per_s: float | None
    batch_size: int
    power_w: float | None
    record_id: str


def owned_machines(
    workload: str, precision: str, runs: Sequence[LoadedRun], cards: Mapping[str, Card]
) -> tuple[Owned, ...]:
    """One row per machine and kind of device (GPU, CPU) that measured the case as users get it."""
    best: dict[tuple[str, str], Owned] = {}
    for loaded in runs:
        for record in loaded.of_kind(CaseRecord):
            case, measurement = record.case, record.measurement
            wanted = case.workload == workload and case.precision == precision and not case.variant
            if not wanted or measurement is None or case.placement not in ("cpu", "gpu") or case.device_count != 1:
                continue
            if any(flag.severity == "invalid" for flag in record.flags):
                continue
            key = (loaded.run.environment.machine, case.placement)
            owned = _owned(loaded.run.environment, record, cards)
            if key not in best or owned.throughput_per_s > best[key].throughput_per_s:
                best[key] = owned
    return tuple(best.values())


def _owned(environment: Environment, record: CaseRecord, cards: Mapping[str, Card]) -> Owned:
    assert record.measurement is not None
    throughput = record.measurement.throughput_per_s
    gpu = environment.gpus[0] if record.case.placement == "gpu" and environment.gpus else None
    version = environment.packages.get(record.case.engine, "")
    return Owned(
        name=gpu.name if gpu else environment.cpu.name,
        card=match_device(gpu.name, gpu.memory_bytes, cards) if gpu else None,
        stack=f"{record.case.engine} {version}".strip() + f", compiler {record.case.compiler}",
        label=record.case.label,
        throughput_per_s=throughput.value,
        low_per_s=throughput.low,
        high_per_s=throughput.high,
        batch_size=record.case.batch_size,
        power_w=_mean_power_w(record, gpu.uuid) if gpu else None,
        record_id=record.record_id,
    )


def _mean_power_w(record: CaseRecord, uuid: str) -> float | None:
    if record.hardware is None:
        return None
    power = record.hardware.devices.get(uuid, {}).get("power_w")
    return None if power is None else power.mean

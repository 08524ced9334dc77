"""Values of a measured case, for the columns of `rtxbench.results.frames`: each a function of run and record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean

from rtxbench.placement import PLACEMENTS
from rtxbench.records import CaseRecord, Launch, Sustained
from rtxbench.results.store import LoadedRun

__all__ = [
    "flop_per_s",
    "missing_text",
    "of_estimate",
    "of_gpus",
    "of_host",
    "of_launches",
    "of_numerics",
    "of_sustained",
    "of_sustained_on_gpu",
    "pairs_text",
    "sustained",
    "sustained_on_gpu",
    "timed_s",
    "tokens_per_s",
]


def of_estimate(field: str, part: str) -> Callable[[LoadedRun, CaseRecord], object]:
    """Take a part (value, low, high) of an estimate of the measurement."""
    return lambda _run, record: record.measurement and getattr(getattr(record.measurement, field), part)


def of_launches(field: str) -> Callable[[LoadedRun, CaseRecord], float | None]:
    """Take the mean over the launches that know it."""

    def extract(_run: LoadedRun, record: CaseRecord) -> float | None:
        launches: Iterable[Launch] = record.measurement.launches if record.measurement else ()
        values = [value for launch in launches if (value := getattr(launch, field)) is not None]
        return fmean(values) if values else None

    return extract


def of_host(metric: str) -> Callable[[LoadedRun, CaseRecord], float | None]:
    """Take the host's mean over the timed blocks of all arms of the group, between which it cannot tell."""

    def extract(_run: LoadedRun, record: CaseRecord) -> float | None:
        found = record.hardware.devices.get("host", {}).get(metric) if record.hardware else None
        return None if found is None else found.mean

    return extract


def sustained(record: CaseRecord) -> Sustained | None:
    """Take the long run alone, where there was one."""
    return record.measurement.sustained if record.measurement else None


def sustained_on_gpu(record: CaseRecord) -> Sustained | None:
    """Take the long run alone of a case on a GPU: of interleaved blocks, sensors show a mixture of the arms."""
    placement = PLACEMENTS.get(record.case.placement)
    return sustained(record) if placement is not None and placement.device_kind == "gpu" else None


def tokens_per_s(_run: LoadedRun, record: CaseRecord) -> float | None:
    """Multiply throughput by the tokens of an example; `None` where a workload has no tokens."""
    measured = record.measurement
    if measured is None or measured.tokens_per_example is None:
        return None
    return measured.tokens_per_example * measured.throughput_per_s.value


def flop_per_s(_run: LoadedRun, record: CaseRecord) -> float | None:
    """Divide the FLOPs of a step by its time; `None` where they were not counted."""
    measured = record.measurement
    if measured is None or measured.flops_per_step is None or measured.step_time_s.value <= 0:
        return None
    return measured.flops_per_step / measured.step_time_s.value


def timed_s(_run: LoadedRun, record: CaseRecord) -> float | None:
    """Add up the timed blocks of all launches, seconds."""
    if record.measurement is None:
        return None
    blocks = [block for launch in record.measurement.launches for block in launch.blocks_ns]
    return sum(end - start for start, end in blocks) / 1e9


def of_gpus(metric: str, combine: Callable[[list[float]], float]) -> Callable[[LoadedRun, CaseRecord], float | None]:
    """Combine a metric over the GPUs of a case that was measured alone."""

    def extract(_run: LoadedRun, record: CaseRecord) -> float | None:
        """Take the means of all GPUs together; `None` where no sensor told."""
        alone = sustained_on_gpu(record)
        devices = alone.hardware.devices if alone is not None and alone.hardware is not None else {}
        values = [metrics[metric].mean for key, metrics in devices.items() if key != "host" and metric in metrics]
        return combine(values) if values else None

    return extract


def of_sustained(field: str) -> Callable[[LoadedRun, CaseRecord], object]:
    """Take a field of the long run alone."""
    return lambda _run, record: getattr(sustained(record), field, None)


def of_sustained_on_gpu(field: str) -> Callable[[LoadedRun, CaseRecord], object]:
    """Take a field of the long run alone of a case on a GPU."""
    return lambda _run, record: getattr(sustained_on_gpu(record), field, None)


def missing_text(_run: LoadedRun, record: CaseRecord) -> str | None:
    """Write why values are missing, those of the long run alone with the prefix ``sustained_``."""
    alone = sustained(record)
    return pairs_text({**record.missing, **({f"sustained_{k}": v for k, v in alone.missing.items()} if alone else {})})


def of_numerics(name: str) -> Callable[[LoadedRun, CaseRecord], float | None]:
    """Take a figure of the numerical check."""
    return lambda _run, record: record.measurement.numerics.get(name) if record.measurement else None


def pairs_text(values: dict[str, str]) -> str | None:
    """Write ``key=value`` pairs; `None` where there are none."""
    return "; ".join(f"{key}={value}" for key, value in values.items()) or None

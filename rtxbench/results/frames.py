"""Records become pandas frames: one row per record, one literal table of columns per frame.

To add a column, add a row to `CASE_COLUMNS`, `RATIO_COLUMNS` or `OBSERVATION_COLUMNS`: name, type, unit, what it is,
and how it is taken from a record. ``docs/columns.md`` is generated from these tables and held to them by a test.
Missing values are ``<NA>`` in a frame, an empty field in CSV and ``None`` in `case_rows`; `missing` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from rtxbench.records import Case, CaseRecord, Environment, Observation, RatioRecord
from rtxbench.results.case_values import (
    flop_per_s,
    missing_text,
    of_estimate,
    of_gpus,
    of_host,
    of_launches,
    of_numerics,
    of_sustained,
    of_sustained_on_gpu,
    pairs_text,
    timed_s,
    tokens_per_s,
)
from rtxbench.results.store import LoadedRun

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CASE_COLUMNS",
    "OBSERVATION_COLUMNS",
    "RATIO_COLUMNS",
    "FrameColumn",
    "case_rows",
    "cases_frame",
    "columns_markdown",
    "comparison",
    "observations_frame",
    "ratios_frame",
]

_Type: TypeAlias = Literal["string", "Float64", "Int64", "boolean"]


class FrameColumn(NamedTuple):
    """One column: ``extract(run, record)`` gives its value, or ``None`` where there is none."""

    name: str
    type: _Type
    unit: str
    """Unit of the values; empty for text, counts and truth values."""
    description: str
    extract: Callable[[LoadedRun, Any], object]


def _case(field: str) -> Callable[[LoadedRun, CaseRecord], object]:
    return lambda _run, record: getattr(record.case, field)


def _field(name: str) -> Callable[[LoadedRun, Any], object]:
    return lambda _run, record: getattr(record, name)


def _measured(field: str) -> Callable[[LoadedRun, CaseRecord], object]:
    return lambda _run, record: record.measurement and getattr(record.measurement, field)


def _gpu_names(environment: Environment) -> str | None:
    names = [gpu.name for gpu in environment.gpus]
    return " + ".join(
        f"{names.count(name)}× {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    )


def _flag_codes(_run: LoadedRun, record: Any) -> str | None:
    return " ".join(dict.fromkeys(flag.code for flag in record.flags)) or None


def _invalid(_run: LoadedRun, record: Any) -> bool:
    return any(flag.severity == "invalid" for flag in record.flags)


def comparison(candidate: Case, baseline: Case) -> str:
    """Name what differs between two cases, for example ``mixed_float16 ÷ float32`` or ``gpu b256 ÷ cpu b64``."""
    changed = [name for name in _AXES if getattr(candidate, name) != getattr(baseline, name)]
    if not changed:
        return "the same case twice"
    sides = [" ".join(filter(None, (_AXES[name](case) for name in changed))) for case in (candidate, baseline)]
    return f"{sides[0] or 'plain'} ÷ {sides[1] or 'plain'}"


_AXES: Final[dict[str, Callable[[Case], str]]] = {
    "workload": lambda case: case.workload,
    "precision": lambda case: case.precision,
    "placement": lambda case: case.placement,
    "engine": lambda case: case.engine,
    "compiler": lambda case: "no compiler" if case.compiler == "none" else case.compiler,
    "device_count": lambda case: f"{case.device_count} device{'s' if case.device_count > 1 else ''}",
    "batch_size": lambda case: f"b{case.batch_size}",
    "variant": lambda case: case.variant or "as published",
}

_ORIGIN_COLUMNS: Final = (
    FrameColumn("machine", "string", "", "Hardware fingerprint", lambda run, _: run.run.environment.machine),
    FrameColumn("cpu", "string", "", "Processor name", lambda run, _: run.run.environment.cpu.name),
    FrameColumn("gpu", "string", "", "GPU names, if any", lambda run, _: _gpu_names(run.run.environment) or None),
    FrameColumn("run_id", "string", "", "Run the record belongs to", _field("run_id")),
    FrameColumn("record_id", "string", "", "The record's own id, as verdicts cite it", _field("record_id")),
    FrameColumn("finished_at", "string", "", "When the record was written, ISO 8601", _field("finished_at")),
)

CASE_COLUMNS: Final[tuple[FrameColumn, ...]] = (
    *_ORIGIN_COLUMNS,
    FrameColumn("group", "string", "", "Cases of one group were interleaved in the same launches", _field("group")),
    FrameColumn("label", "string", "", "The case in short", lambda _run, record: record.case.label),
    FrameColumn("workload", "string", "", "Model and data", _case("workload")),
    FrameColumn("precision", "string", "", "Precision of the training step", _case("precision")),
    FrameColumn("placement", "string", "", "Where the step runs", _case("placement")),
    FrameColumn("engine", "string", "", "Framework behind Keras", _case("engine")),
    FrameColumn("compiler", "string", "", "none, xla or inductor", _case("compiler")),
    FrameColumn("device_count", "Int64", "", "Devices the step runs on", _case("device_count")),
    FrameColumn("batch_size", "Int64", "examples", "Global batch size", _case("batch_size")),
    FrameColumn("variant", "string", "", "A named change to the workload", lambda _, r: r.case.variant or None),
    FrameColumn("status", "string", "", "measured, skipped or failed", _field("status")),
    FrameColumn("reason", "string", "", "Why it was skipped or failed", _field("reason")),
    FrameColumn(
        "throughput_per_s",
        "Float64",
        "examples/s",
        "Common state: blocks interleaved with the other arms', total over total per launch",
        of_estimate("throughput_per_s", "value"),
    ),
    FrameColumn(
        "throughput_low_per_s", "Float64", "examples/s", "Interval, low", of_estimate("throughput_per_s", "low")
    ),
    FrameColumn(
        "throughput_high_per_s", "Float64", "examples/s", "Interval, high", of_estimate("throughput_per_s", "high")
    ),
    FrameColumn(
        "confidence_ratio", "Float64", "ratio", "Of the intervals", of_estimate("throughput_per_s", "confidence")
    ),
    FrameColumn(
        "sustained_throughput_per_s",
        "Float64",
        "examples/s",
        "The arm alone for a long stretch, its first half discarded",
        of_sustained("throughput_per_s"),
    ),
    FrameColumn("launches", "Int64", "", "Independent worker processes", of_estimate("throughput_per_s", "n")),
    FrameColumn("step_time_s", "Float64", "s", "Time of one training step", of_estimate("step_time_s", "value")),
    FrameColumn("step_time_low_s", "Float64", "s", "Interval, low", of_estimate("step_time_s", "low")),
    FrameColumn("step_time_high_s", "Float64", "s", "Interval, high", of_estimate("step_time_s", "high")),
    FrameColumn("tokens_per_s", "Float64", "tokens/s", "Throughput × sequence length (language models)", tokens_per_s),
    FrameColumn("flops_per_step", "Float64", "FLOP", "Forward, backward and update", _measured("flops_per_step")),
    FrameColumn("flops_method", "string", "", "How the FLOPs were counted", _measured("flops_method")),
    FrameColumn("flop_per_s", "Float64", "FLOP/s", "Achieved: FLOPs ÷ step time", flop_per_s),
    FrameColumn("timed_s", "Float64", "s", "All timed blocks together", timed_s),
    FrameColumn("warmup_ok", "boolean", "", "Steady before timing, in every launch", _measured("warmup_ok")),
    FrameColumn("warmup_s", "Float64", "s", "Warm-up, mean over launches", of_launches("warmup_s")),
    FrameColumn(
        "build_s",
        "Float64",
        "s",
        "Model construction, mean over launches; in quick, on a CPU, beside the next launch's",
        of_launches("build_s"),
    ),
    FrameColumn(
        "first_step_s",
        "Float64",
        "s",
        "Tracing, compilation and one step, mean; as `build_s`",
        of_launches("first_step_s"),
    ),
    FrameColumn("loss", "Float64", "", "Loss after the last block, mean over launches", of_launches("loss")),
    FrameColumn("solo_ratio", "Float64", "ratio", "Step time alone ÷ interleaved, mean", of_launches("solo_ratio")),
    FrameColumn(
        "matmul_error_ratio",
        "Float64",
        "ratio",
        "Relative error against float64: proves the precision",
        of_numerics("matmul_relative_error"),
    ),
    FrameColumn("peak_memory_bytes", "Int64", "B", "What the arm needs alone", _measured("peak_memory_bytes")),
    FrameColumn("peak_memory_method", "string", "", "How the peak was obtained", _measured("peak_memory_method")),
    FrameColumn(
        "gpu_utilization_ratio",
        "Float64",
        "ratio",
        "Sustained, mean of its GPUs",
        of_gpus("gpu_utilization_ratio", fmean),
    ),
    FrameColumn(
        "gpu_power_w", "Float64", "W", "Sustained, sum of its GPUs, board sensor", of_sustained_on_gpu("power_w")
    ),
    FrameColumn("gpu_temperature_c", "Float64", "°C", "Sustained, of its hottest GPU", of_gpus("temperature_c", max)),
    FrameColumn("sm_clock_hz", "Float64", "Hz", "Sustained, mean of its GPUs", of_gpus("sm_clock_hz", fmean)),
    FrameColumn(
        "gpu_energy_per_example_j",
        "Float64",
        "J",
        "Sustained: GPU power ÷ throughput; the sensor is good to ±8 %",
        of_sustained_on_gpu("energy_per_example_j"),
    ),
    FrameColumn("cpu_utilization_ratio", "Float64", "ratio", "Of all cores", of_host("cpu_utilization_ratio")),
    FrameColumn("rss_bytes", "Float64", "B", "Resident memory of the worker", of_host("rss_bytes")),
    FrameColumn("steal_ratio", "Float64", "ratio", "CPU time taken by other guests", of_host("steal_ratio")),
    FrameColumn("flags", "string", "", "Codes of facts that weaken the figure", _flag_codes),
    FrameColumn("invalid", "boolean", "", "A flag voids the figure", _invalid),
    FrameColumn("missing", "string", "", "Fields without a value, and why", missing_text),
)
"""One row per `CaseRecord`."""

RATIO_COLUMNS: Final[tuple[FrameColumn, ...]] = (
    *_ORIGIN_COLUMNS,
    FrameColumn("group", "string", "", "Cases of one group were interleaved in the same launches", _field("group")),
    FrameColumn("workload", "string", "", "Model and data of the candidate", lambda _, r: r.candidate.workload),
    FrameColumn("comparison", "string", "", "What differs", lambda _, r: comparison(r.candidate, r.baseline)),
    FrameColumn("candidate", "string", "", "Candidate case", lambda _run, record: record.candidate.label),
    FrameColumn("baseline", "string", "", "Baseline case", lambda _run, record: record.baseline.label),
    FrameColumn("metric", "string", "", "Compared quantity; above 1 the candidate is better", _field("metric")),
    FrameColumn("ratio", "Float64", "ratio", "Candidate ÷ baseline", lambda _, r: r.ratio.value),
    FrameColumn("ratio_low", "Float64", "ratio", "Interval, low", lambda _, r: r.ratio.low),
    FrameColumn("ratio_high", "Float64", "ratio", "Interval, high", lambda _, r: r.ratio.high),
    FrameColumn("confidence_ratio", "Float64", "ratio", "Of the interval", lambda _, r: r.ratio.confidence),
    FrameColumn("replicate", "string", "", "The independent unit: launch or seed", _field("replicate")),
    FrameColumn("replicates", "Int64", "", "Independent units", lambda _, r: r.ratio.n),
    FrameColumn(
        "smallest_effect_ratio",
        "Float64",
        "ratio",
        "Smallest effect seen with 95 % power",
        _field("smallest_effect_ratio"),
    ),
    FrameColumn("warmup_ok", "boolean", "", "Both arms steady before timing", _field("warmup_ok")),
    FrameColumn("flags", "string", "", "Codes of facts that weaken the figure", _flag_codes),
    FrameColumn("invalid", "boolean", "", "A flag voids the figure", _invalid),
    FrameColumn(
        "missing", "string", "", "Fields without a value, and why", lambda _run, record: pairs_text(record.missing)
    ),
)
"""One row per `RatioRecord`."""

OBSERVATION_COLUMNS: Final[tuple[FrameColumn, ...]] = (
    *_ORIGIN_COLUMNS,
    FrameColumn("topic", "string", "", "Claim or tool that measured it", _field("topic")),
    FrameColumn("metric", "string", "", "The quantity; its name ends in its unit", _field("metric")),
    FrameColumn("case", "string", "", "The case it belongs to, if any", lambda _, r: r.case and r.case.label),
    FrameColumn("labels", "string", "", "What it is of", lambda _run, record: pairs_text(record.labels)),
    FrameColumn("value", "Float64", "the metric's", "Estimate", lambda _, r: r.estimate and r.estimate.value),
    FrameColumn("value_low", "Float64", "the metric's", "Interval, low", lambda _, r: r.estimate and r.estimate.low),
    FrameColumn("value_high", "Float64", "the metric's", "Interval, high", lambda _, r: r.estimate and r.estimate.high),
    FrameColumn("replicate", "string", "", "What one value is", _field("replicate")),
    FrameColumn("replicates", "Int64", "", "How many values", lambda _, r: len(r.values)),
    FrameColumn(
        "values",
        "string",
        "the metric's",
        "Every value, space-separated",
        lambda _, r: " ".join(map(repr, r.values)) or None,
    ),
    FrameColumn("reason", "string", "", "Why there are no values", _field("reason")),
    FrameColumn("flags", "string", "", "Codes of facts that weaken the figure", _flag_codes),
    FrameColumn("invalid", "boolean", "", "A flag voids the figure", _invalid),
    FrameColumn(
        "missing", "string", "", "Fields without a value, and why", lambda _run, record: pairs_text(record.missing)
    ),
)
"""One row per `Observation`."""


def cases_frame(runs: Iterable[LoadedRun]) -> pd.DataFrame:
    """Make a row of every `CaseRecord` of ``runs``, columns as in `CASE_COLUMNS`."""
    return _frame(CASE_COLUMNS, ((run, record) for run in runs for record in run.of_kind(CaseRecord)))


def ratios_frame(runs: Iterable[LoadedRun]) -> pd.DataFrame:
    """Make a row of every `RatioRecord` of ``runs``, columns as in `RATIO_COLUMNS`."""
    return _frame(RATIO_COLUMNS, ((run, record) for run in runs for record in run.of_kind(RatioRecord)))


def observations_frame(runs: Iterable[LoadedRun]) -> pd.DataFrame:
    """Make a row of every `Observation` of ``runs``, columns as in `OBSERVATION_COLUMNS`."""
    return _frame(OBSERVATION_COLUMNS, ((run, record) for run in runs for record in run.of_kind(Observation)))


_PLAIN: Final[dict[_Type, Callable[[Any], object]]] = {"string": str, "Float64": float, "Int64": int, "boolean": bool}


def case_rows(runs: Iterable[LoadedRun]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `cases_frame` as plain values, without importing pandas: for a page, which needs no frame."""
    for run in runs:
        for record in run.of_kind(CaseRecord):
            yield {column.name: _plain(column.extract(run, record), column.type) for column in CASE_COLUMNS}


def _plain(value: object, kind: _Type) -> object:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else _PLAIN[kind](value)


def _frame(columns: Sequence[FrameColumn], items: Iterable[tuple[LoadedRun, Any]]) -> pd.DataFrame:
    import pandas as pd

    pairs = list(items)
    data: dict[str, Any] = {}
    for column in columns:
        dtype: Any = column.type
        data[column.name] = pd.array([column.extract(run, record) for run, record in pairs], dtype=dtype)
    return pd.DataFrame(data)


def columns_markdown() -> str:
    """Write the page ``docs/columns.md``: every column of every frame, its type, unit and meaning."""
    parts = [_COLUMNS_PAGE_HEAD]
    for title, columns in (("cases", CASE_COLUMNS), ("ratios", RATIO_COLUMNS), ("observations", OBSERVATION_COLUMNS)):
        parts.append(f"## {title}.csv\n\n| column | type | unit | what it is |\n|---|---|---|---|")
        parts.extend(f"| `{c.name}` | {c.type.lower()} | {c.unit} | {c.description} |" for c in columns)
        parts.append("")
    return "\n".join(parts)


_COLUMNS_PAGE_HEAD: Final = """\
# Columns of the report's CSV files

*In three sentences: the report writes every record as a row of `cases.csv`, `ratios.csv` or `observations.csv`. This
page says what each column holds, with its type and unit. Open the files in a spreadsheet or with pandas.*

One row per record. An empty field is a missing value; the `missing` column gives the reason. Quantities are in SI
units; a column ending in `_ratio` runs from 0 to 1 unless it is a ratio of two figures. The same columns make the
pandas frames of `rtxbench.results.frames`. This page is generated from that module.
"""

"""Is it the hardware or the framework: engines side by side, ways of using several devices, and fused normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from rtxbench.diagnosis.all_reduce import AllReduceShare
from rtxbench.engines.refusals import default_compiler
from rtxbench.placement import is_functional_check
from rtxbench.records import NATIVE, Case, CaseRecord, Origin, RatioRecord, Record
from rtxbench.report.labels import interval_text, machine_headings, ratio_words
from rtxbench.report.parts import Block, Cell, Column, Context, Paragraph, Section, Table
from rtxbench.report.sections.appendix.nodes import nodes_blocks
from rtxbench.results.latest import latest_by_machine
from rtxbench.results.store import LoadedRun
from rtxbench.stats import ratio_estimate
from rtxbench.units import format_duration, format_percent, format_quantity
from rtxbench.wording import engine_name, name_of

__all__ = ["engines_section"]


def engines_section(context: Context) -> Section | None:
    """Engines on the same hardware and batch, scaling over devices, fused normalisation. ``None`` without any."""
    pairs = _latest_pairs(context, lambda loaded: loaded.of_kind(RatioRecord))
    against_legacy = _latest_pairs(context, lambda loaded: loaded.meant_for("rival"))
    blocks: list[Block] = []
    for machine, heading in machine_headings(context, {*pairs, *against_legacy}):
        title = context.titles[machine]
        own = pairs.get(machine, [])
        found = [
            *_engine_blocks(context, title, [r for r in own if _compares_engines(r)]),
            *_native_blocks(title, [r for r in own if _compares_forms(r)]),
            *_scaling_blocks(context, title, [r for r in own if _scales(r)]),
            *nodes_blocks(context, title, [r for r in own if _scales(r)]),
            *_fused_blocks(title, [*filter(_is_fused, own), *against_legacy.get(machine, [])]),
        ]
        blocks += [*heading, *found] if found else []
    return Section(id="engines", title="Engines and devices", blocks=tuple(blocks)) if blocks else None


def _latest_pairs(context: Context, records: Callable[[LoadedRun], Iterable[Record]]) -> dict[str, list[RatioRecord]]:
    """Map each machine to the latest throughput ratio of each pair of cases, among those ``records`` of each run."""

    def throughputs(loaded: LoadedRun) -> list[RatioRecord]:
        return [r for r in records(loaded) if isinstance(r, RatioRecord) and r.metric == "throughput"]

    return latest_by_machine(context.runs, throughputs, lambda record: (record.baseline, record.candidate))


def _engine_blocks(context: Context, title: str, ratios: Sequence[RatioRecord]) -> Iterable[Block]:
    if not ratios:
        return
    yield Paragraph(
        "The same model, batch size, loss and precision, on the same hardware, measured in turn. Plain is an engine as "
        "its users get it without asking (JAX is always compiled), best the fastest form they reach without rewriting "
        "the model. TensorFlow and JAX train the Keras model, PyTorch the same model as its own users write it; Keras "
        "on PyTorch is Keras's layers on that engine and says nothing of PyTorch."
    )
    records = {
        record.record_id: record
        for loaded in context.runs
        for record in loaded.of_kind(CaseRecord)
        if record.measurement is not None
    }
    errors = {row["record_id"]: row["matmul_error_ratio"] for row in context.cases}
    yield Table(
        caption=f"Engines side by side on {title}",
        columns=(
            Column("workload"),
            Column("engine"),
            Column("form"),
            Column("examples", numeric=True),
            Column("÷ baseline", numeric=True),
            Column("first step", numeric=True),
            Column("product error", numeric=True),
            Column("attention"),
        ),
        rows=tuple(_engine_rows(ratios, records, errors)),
    )
    best = tuple(_best_rows(ratios, records))
    if best:
        yield Table(
            caption=f"Best form against best form on {title}",
            columns=(Column("workload"), Column("compared"), Column("throughput ratio", numeric=True)),
            rows=best,
        )


def _engine_rows(
    ratios: Sequence[RatioRecord], records: dict[str, CaseRecord], errors: dict[str, Any]
) -> Iterable[tuple[Cell | str, ...]]:
    """Per baseline one row of its own, then one per engine held against it."""
    for against in _by_baseline(ratios, records):
        arms = [records[record_id] for record_id in against]
        for arm, compared in zip(arms, against.values(), strict=True):
            yield _engine_row(arm, _form_words(arm, arms), compared, errors.get(arm.record_id))


def _by_baseline(
    ratios: Sequence[RatioRecord], records: dict[str, CaseRecord]
) -> Iterable[dict[str, RatioRecord | None]]:
    """Map, for each baseline, the records of its arms to what they were held to; the baseline itself to nothing."""
    found: dict[str, dict[str, RatioRecord | None]] = {}
    for ratio in ratios:
        against = found.setdefault(ratio.baseline_record, {ratio.baseline_record: None})
        against[ratio.candidate_record] = ratio
    for against in found.values():
        yield {record_id: ratio for record_id, ratio in against.items() if record_id in records}


def _form_words(record: CaseRecord, arms: Sequence[CaseRecord]) -> str:
    """Say whether this arm is its engine as users get it, and whether it is the fastest of the engine's arms."""
    own = [arm for arm in arms if engine_name(arm.case) == engine_name(record.case)]
    words = ["plain" if record.case.compiler == default_compiler(record.case.engine) else "compiled"]
    words += ["best"] if len(own) > 1 and record is _fastest(own) else []
    return ", ".join(words)


def _fastest(arms: Sequence[CaseRecord]) -> CaseRecord:
    return max(arms, key=lambda arm: arm.measurement.throughput_per_s.value if arm.measurement else 0.0)


def _best_rows(ratios: Sequence[RatioRecord], records: dict[str, CaseRecord]) -> Iterable[tuple[Cell | str, ...]]:
    """Hold the best form of each engine against the first engine's, launch by launch, where it has several forms."""
    for against in _by_baseline(ratios, records):
        arms = {name: records[name] for name in against}
        engines = list(dict.fromkeys(engine_name(arm.case) for arm in arms.values()))
        if len(engines) < 2 or len(engines) == len(arms):
            continue  # each engine in one form: the table above has it all
        best = [_fastest([arm for arm in arms.values() if engine_name(arm.case) == engine]) for engine in engines]
        first = against[best[0].record_id]
        for arm in best[1:]:
            own = against[arm.record_id]
            logs = _quotient(own, first)
            if logs is not None:
                ratio = ratio_estimate(logs, adaptive=True)
                yield (
                    Cell(
                        name_of(arm.case.workload), note=f"{name_of(arm.case.precision)} · batch {arm.case.batch_size}"
                    ),
                    f"{_engine_words(arm.case)} ÷ {_engine_words(best[0].case)}",
                    ratio_words(ratio),
                )


def _quotient(own: RatioRecord | None, first: RatioRecord | None) -> list[float] | None:
    """Launch by launch, the log-ratio of two arms that were held against one baseline; ``None`` without launches."""
    if own is None:
        return None if first is None else [-value for value in first.log_ratios]
    if first is None:
        return list(own.log_ratios)
    if len(own.log_ratios) != len(first.log_ratios):
        return None
    return [value - other for value, other in zip(own.log_ratios, first.log_ratios, strict=True)]


def _engine_row(record: CaseRecord, form: str, ratio: RatioRecord | None, error: Any) -> tuple[Cell | str, ...]:
    measurement, case = record.measurement, record.case
    assert measurement is not None
    speed = measurement.throughput_per_s
    first_s = [launch.first_step_s for launch in measurement.launches]
    compared = "baseline" if ratio is None else ratio_words(ratio.ratio)
    return (
        Cell(
            name_of(case.workload),
            note=f"{name_of(case.precision)} · {name_of(case.placement)} · batch {case.batch_size}",
        ),
        _engine_words(case),
        form,
        Cell(format_quantity(speed.value, "/s"), note=interval_text(speed.low, speed.high, speed.confidence)),
        compared,
        format_duration(sum(first_s) / len(first_s)),
        "not measured" if error is None else f"{error:.1e}",
        measurement.notes.get("attention", "no attention layer"),
    )


def _engine_words(case: Case) -> str:
    name = engine_name(case)
    return name if case.compiler == "none" else f"{name}, {name_of(case.compiler)}"


def _compares_engines(ratio: RatioRecord) -> bool:
    """Tell groups that hold engines against each other by their survey's name; older ones by what differs."""
    return ratio.baseline.engine != ratio.candidate.engine or ratio.group.startswith("engines/")


def _compares_forms(ratio: RatioRecord) -> bool:
    """Tell pairs of Keras's layers on PyTorch with the native form, and nothing else changed."""
    return ratio.candidate == replace(ratio.baseline, variant=NATIVE) and ratio.baseline.as_published


def _native_blocks(title: str, ratios: Sequence[RatioRecord]) -> Iterable[Block]:
    if not ratios:
        return
    yield Paragraph(
        "What Keras's layers cost on PyTorch: the same model, batch, loss and floating-point operations as PyTorch's "
        "own users write it (plain modules, transformers, peft; autocast, fused Adam, channels last) against the Keras "
        "model on PyTorch, both uncompiled. A figure of Keras on PyTorch is no figure of PyTorch by this factor."
    )
    yield Table(
        caption=f"PyTorch against Keras on PyTorch on {title}",
        columns=(Column("workload"), Column("precision"), Column("throughput ratio", numeric=True)),
        rows=tuple(
            (
                Cell(
                    name_of(ratio.candidate.workload),
                    note=f"{name_of(ratio.candidate.placement)} · batch {ratio.candidate.batch_size}",
                ),
                name_of(ratio.candidate.precision),
                _ratio_cell(ratio),
            )
            for ratio in sorted(ratios, key=lambda ratio: (ratio.candidate.workload, ratio.candidate.precision))
        ),
    )


def _ratio_cell(ratio: RatioRecord) -> Cell:
    return Cell(ratio_words(ratio.ratio), note="" if ratio.warmup_ok else "not steady when timed")


def _scales(ratio: RatioRecord) -> bool:
    """Return whether one device stands against several of the same machine, for speed, not for function."""
    several = ratio.candidate.device_count > ratio.baseline.device_count == 1
    return several and not is_functional_check(ratio.candidate.placement)


def _scaling_blocks(context: Context, title: str, ratios: Sequence[RatioRecord]) -> Iterable[Block]:
    if not ratios:
        return
    diagnoser = context.diagnoser
    yield Paragraph(
        "Efficiency is the gain in throughput over the number of devices: 100 % means that N devices do N times the "
        "work. Strong scaling keeps the global batch, weak scaling the batch of each device. All-reduce is the summing "
        "of gradients over the devices, which every data-parallel step pays."
    )
    yield Table(
        caption=f"Several devices of {title}",
        columns=(
            Column("workload"),
            Column("engine and way"),
            Column("scaling"),
            Column("devices", numeric=True),
            Column("gain", numeric=True),
            Column("efficiency", numeric=True),
            Column("all-reduce", numeric=True),
        ),
        rows=tuple(_scaling_row(ratio, diagnoser.all_reduce(ratio)) for ratio in ratios),
    )


def _scaling_row(ratio: RatioRecord, share: AllReduceShare | None) -> tuple[Cell | str, ...]:
    case, gain = ratio.candidate, ratio.ratio
    count = case.device_count
    kind = {1: "strong", count: "weak"}.get(case.batch_size // ratio.baseline.batch_size, "mixed")
    low, high = (None if bound is None else bound / count for bound in (gain.low, gain.high))
    spread = "no interval" if low is None or high is None else f"{format_percent(low)} to {format_percent(high)}"
    return (
        Cell(name_of(case.workload), note=f"{name_of(case.precision)} · batch {case.batch_size}"),
        f"{_engine_words(case)}, {case.placement}",
        kind,
        str(count),
        ratio_words(gain),
        Cell(format_percent(gain.value / count), note=spread),
        _all_reduce_cell(share),
    )


def _all_reduce_cell(share: AllReduceShare | None) -> Cell | str:
    """Write a computed share with the badge of what was not measured; an unknown one with its reason."""
    if share is None:
        return Cell("none", note="no gradients are summed")
    if share.ratio is None:
        return Cell("", note=f"unknown: {share.how}")
    origin: Origin = "measured" if share.origin == "measured" else "predicted"
    return Cell(format_percent(share.ratio, 0), origin=origin, note=share.how)


def _is_fused(ratio: RatioRecord) -> bool:
    return "fused-norm" in (ratio.candidate.variant, ratio.baseline.variant)


def _fused_blocks(title: str, ratios: Sequence[RatioRecord]) -> Iterable[Block]:
    if not ratios:
        return
    yield Paragraph(
        "Why mixed precision gains little on convolutional models: Keras writes batch normalisation out as many "
        "memory-bound operations in float32. The variant `fused-norm` sends it to TensorFlow's one kernel; the figure "
        "as users get it stays the default. Legacy Keras (`tf_keras`), where it is compared, uses that kernel too."
    )
    yield Table(
        caption=f"Fused batch normalisation on {title}",
        columns=(Column("workload"), Column("compared"), Column("throughput ratio", numeric=True)),
        rows=tuple(
            (
                ratio.candidate.workload,
                f"{_form(ratio.candidate)} ÷ {_form(ratio.baseline)}",
                _ratio_cell(ratio),
            )
            for ratio in ratios
        ),
    )


def _form(case: Case) -> str:
    if case.engine == "python":
        return f"{case.precision}, legacy Keras"
    return f"{case.precision}, {'fused' if case.variant == 'fused-norm' else 'as Keras writes it'}"

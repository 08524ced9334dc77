"""Every paired comparison, ordered by the question it answers: one chart per machine, and a table for the details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from rtxbench.placement import is_functional_check
from rtxbench.records import RatioRecord
from rtxbench.report.labels import interval_text, machine_headings, plural, ratio_text
from rtxbench.report.parts import (
    Block,
    Cell,
    Column,
    Context,
    Interval,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
    Table,
)
from rtxbench.results.latest import latest_by_machine
from rtxbench.units import format_percent, format_ratio
from rtxbench.wording import engine_name, name_of, say_flag, say_metric, say_pair

__all__ = ["case_words", "differing", "ratios_section"]


class _Question(NamedTuple):
    """One question that paired comparisons answer."""

    id: str
    title: str
    fields: frozenset[str]
    """Pairs that differ in any of these answer it, unless an earlier question took them."""


_QUESTIONS: Final = (
    _Question("engine", "Which engine is faster?", frozenset({"engine", "compiler"})),
    _Question("devices", "Do several devices train faster?", frozenset({"device_count"})),
    _Question("gpu", "Is the GPU faster than the CPU?", frozenset({"placement"})),
    _Question("model", "Does a cheaper model or another layer train faster?", frozenset({"workload", "variant"})),
    _Question("precision", "Does a lower precision train faster?", frozenset({"precision"})),
    _Question("batch", "Does a larger batch train faster?", frozenset({"batch_size"})),
)
"""The first whose fields differ takes a pair."""
_ORDER: Final = ("precision", "devices", "gpu", "batch", "model", "engine", "quality")
"""The order on the page: what people ask first comes first."""
_QUALITY: Final = _Question("quality", "Is the result as good, and as soon?", frozenset())


def ratios_section(context: Context) -> Section | None:
    """Chart every paired ratio, the latest of each pair, by question; then list them. ``None`` without any."""
    latest = _latest(context)
    if not latest:
        return None
    thresholds = {
        record: verdict.threshold_ratio
        for verdict in context.verdicts
        if verdict.threshold_ratio is not None
        for record in verdict.evidence
    }
    blocks: list[Block] = [
        Paragraph(
            "Each row is A instead of B, timed alternately in one process so that disturbances hit both. The bar is "
            "the 95 % interval over fresh starts of the program. Dashed: what the claim needs. Hollow: not reliable "
            "enough for a verdict; the small print says why."
        )
    ]
    anchored = True
    for machine, heading in machine_headings(context, latest):
        records = latest[machine]
        plain = not context.machines[machine].gpus
        charted = [record for record in records if record.ratio.value > 0 and not _is_check(record)]
        groups = _groups(charted, thresholds, plain=plain, anchored=anchored)
        anchored = anchored and not groups
        title = context.titles[machine]
        blocks += heading
        blocks += [Intervals(caption="", groups=tuple(groups), better=_BETTER)] if groups else []
        blocks.append(_table(title, records, thresholds, plain=plain))
    if len(latest) > len(context.in_full):
        blocks.append(_on_every_machine(context, latest))
    return Section(id="ratios", title="Comparisons", blocks=tuple(blocks))


_BETTER: Final = "Right of 1×, the first named is better."


def case_words(text: str, *, plain: bool) -> str:
    """Leave out where a case ran on a machine that has one kind of device only."""
    return text.removesuffix(", on the CPU").replace(", on the CPU)", ")") if plain else text


def differing(record: RatioRecord) -> frozenset[str]:
    """Return the fields in which the two cases of a pair differ."""
    names = record.baseline.__struct_fields__
    return frozenset(name for name in names if getattr(record.baseline, name) != getattr(record.candidate, name))


def _latest(context: Context) -> dict[str, list[RatioRecord]]:
    """Map each machine to the latest record of each pair and metric; the reader's own machine comes first."""
    latest = latest_by_machine(
        context.runs,
        lambda loaded: loaded.of_kind(RatioRecord),
        lambda record: (record.candidate, record.baseline, record.metric),
    )
    return {machine: latest[machine] for machine in sorted(latest, key=lambda machine: machine != context.focus)}


def _question(record: RatioRecord) -> _Question:
    if record.metric != "throughput":
        return _QUALITY
    changed = differing(record)
    if engine_name(record.candidate) != engine_name(record.baseline):
        changed |= {"engine"}
    return next((question for question in _QUESTIONS if changed & question.fields), _QUALITY)


def _groups(
    records: Sequence[RatioRecord], thresholds: Mapping[str, float], *, plain: bool, anchored: bool
) -> list[IntervalGroup]:
    by_question: dict[_Question, list[RatioRecord]] = {}
    for record in records:
        by_question.setdefault(_question(record), []).append(record)
    return [
        IntervalGroup(
            question.title,
            tuple(_row(record, thresholds, plain=plain) for record in sorted(by_question[question], key=_by_ratio)),
            id=question.id if anchored else "",
        )
        for question in sorted(by_question, key=lambda question: _ORDER.index(question.id))
    ]


def _by_ratio(record: RatioRecord) -> tuple[str, float]:
    return (record.metric, -record.ratio.value)


def _row(record: RatioRecord, thresholds: Mapping[str, float], *, plain: bool) -> Interval:
    case = record.candidate
    void = any(flag.severity == "invalid" for flag in record.flags)
    return Interval(
        label=case_words(say_pair(case, record.baseline, record.metric), plain=plain),
        value=record.ratio.value,
        low=record.ratio.low,
        high=record.ratio.high,
        threshold=thresholds.get(record.record_id),
        tone=case.precision,
        weak=void or not record.warmup_ok or record.ratio.low is None,
        caution=_cautions(record),
        facets=(name_of(case.workload), name_of(case.precision), engine_name(case)),
    )


def _is_check(record: RatioRecord) -> bool:
    return any(is_functional_check(case.placement) for case in (record.candidate, record.baseline))


def _cautions(record: RatioRecord) -> str:
    parts = list(dict.fromkeys(say_flag(flag.code) for flag in record.flags))
    parts += [] if record.warmup_ok else ["not steady when timed"]
    parts += [f"one {record.replicate}, so no interval"] if record.ratio.low is None else []
    parts += ["functional check, no evidence of speed"] if _is_check(record) else []
    return "; ".join(parts)


_COLUMNS: Final = (
    Column("Comparison"),
    Column("Ratio", numeric=True),
    Column("Needed", numeric=True),
    Column("Smallest effect this run could see", numeric=True),
    Column("Cautions"),
)


def _table(title: str, records: Sequence[RatioRecord], thresholds: Mapping[str, float], *, plain: bool) -> Table:
    return Table(
        caption=f"{plural(len(records), 'comparison')} on {title}, with launches and smallest effects",
        columns=_COLUMNS,
        rows=tuple(_table_row(record, thresholds.get(record.record_id), plain=plain) for record in records),
        folded=True,
    )


def _table_row(record: RatioRecord, threshold: float | None, *, plain: bool) -> tuple[Cell | str, ...]:
    ratio, smallest = record.ratio, record.smallest_effect_ratio
    several = "launches" if record.replicate == "launch" else f"{record.replicate}s"
    interval = interval_text(ratio.low, ratio.high, ratio.confidence)
    metric = "" if record.metric == "throughput" else say_metric(record.metric)
    return (
        Cell(case_words(say_pair(record.candidate, record.baseline), plain=plain), note=metric),
        Cell(ratio_text(ratio.value, None, None), note=f"{interval}, {plural(ratio.n, record.replicate, several)}"),
        "" if threshold is None else format_ratio(threshold),
        "" if smallest is None else format_percent(smallest),
        _cautions(record),
    )


def _on_every_machine(context: Context, latest: Mapping[str, Sequence[RatioRecord]]) -> Table:
    """Make one row a comparison over all machines that made it: where the first is better, and how the ratios lie."""
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for machine, records in latest.items():
        for record in records:
            if record.ratio.value > 0 and not _is_check(record):
                said = say_pair(record.candidate, record.baseline)
                ratios.setdefault((said, record.metric), {})[machine] = record.ratio.value
    shared = sorted(ratios.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = tuple(_spread_row(*key, values, values.get(context.focus)) for key, values in shared if len(values) > 1)
    columns = (
        Column("Comparison"),
        Column("Better on", numeric=True),
        Column("Lowest", numeric=True),
        Column("Median", numeric=True),
        Column("Highest", numeric=True),
        Column("This machine", numeric=True),
    )
    caption = f"The same comparisons on {len(latest)} machines: each machine's latest ratio"
    return Table(caption=caption, columns=columns, rows=rows, folded=len(rows) > _ROWS_OPEN)


_ROWS_OPEN: Final = 12


def _spread_row(said: str, metric: str, values: Mapping[str, float], own: float | None) -> tuple[Cell | str, ...]:
    found = sorted(values.values())
    return (
        Cell(said, note="" if metric == "throughput" else say_metric(metric)),
        f"{sum(value > 1 for value in found)} of {len(found)}",
        format_ratio(found[0]),
        format_ratio(median(found)),
        format_ratio(found[-1]),
        "" if own is None else format_ratio(own),
    )

"""Paired comparisons: how much faster, with which certainty, against which threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from rtxbench.frames import rows
from rtxbench.placement import is_functional_check
from rtxbench.records import Case, RatioRecord
from rtxbench.report.base import Block, Cell, Column, Context, Figure, Paragraph, Section, Table
from rtxbench.report.drawing.bars_and_forest import ForestGroup, ForestRow, forest
from rtxbench.report.drawing.style import precision_color
from rtxbench.report.labels import (
    anchor,
    interval_text,
    machine_headings,
    machine_title,
    plural,
    ratio_text,
)
from rtxbench.units import format_percent, format_ratio

__all__ = ["ratios_section"]

_ROWS_PER_FIGURE: Final = 32


def ratios_section(context: Context) -> Section | None:
    """Every paired ratio, latest per pair: a forest plot and a table per machine. ``None`` where there is none."""
    pairs = _latest(context)
    if not pairs:
        return None
    thresholds = {
        record: verdict.threshold_ratio
        for verdict in context.verdicts
        if verdict.threshold_ratio is not None
        for record in verdict.evidence
    }
    blocks: list[Block] = [
        Paragraph(
            "Two cases measured in turn in the same processes, so that whatever the machine does meanwhile happens to "
            "both. Above 1× the first named is better. The interval covers process launches, not steps."
        )
    ]
    for machine, heading in machine_headings(context, {pair["machine"] for pair in pairs}):
        blocks.extend(heading)
        of_machine = [pair for pair in pairs if pair["machine"] == machine]
        title = machine_title(context.machines[machine])
        blocks.extend(_figures(title, machine, of_machine, thresholds))
        blocks.append(_table(title, of_machine, thresholds))
    return Section(id="ratios", title="Comparisons", blocks=tuple(blocks))


def _latest(context: Context) -> list[dict[str, Any]]:
    """Rows of the ratios frame with their records' cases, the latest of each pair and machine."""
    records = {
        (loaded.run.run_id, record.record_id): record
        for loaded in context.runs
        for record in loaded.of_kind(RatioRecord)
    }
    latest: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows(context.ratios):
        record = records[row["run_id"], row["record_id"]]
        key = (row["machine"], row["candidate"], row["baseline"], row["metric"])
        latest[key] = {**row, "candidate_case": record.candidate, "baseline_case": record.baseline}
    return list(latest.values())


def _figures(
    title: str, machine: str, pairs: Sequence[dict[str, Any]], thresholds: Mapping[str, float]
) -> list[Figure]:
    figures = []
    for metric in dict.fromkeys(pair["metric"] for pair in pairs):
        chosen = [pair for pair in pairs if pair["metric"] == metric and pair["ratio"] > 0 and not _is_check(pair)]
        chunks = _chunks(_groups(chosen, thresholds))
        for number, chunk in enumerate(chunks):
            suffix = f"-{number + 1}" if len(chunks) > 1 else ""
            figures.append(_figure(title, anchor(f"ratios-{metric}-{machine}{suffix}"), metric, chunk))
    return figures


def _figure(title: str, name: str, metric: str, groups: Sequence[ForestGroup]) -> Figure:
    words = metric.replace("_", " ")
    spoken = "; ".join(
        f"{group.title}: " + ", ".join(f"{row.label} {format_ratio(row.value)}" for row in group.rows)
        for group in groups
    )
    return Figure(
        name=name,
        build=partial(forest, tuple(groups), f"{words} ratio, first ÷ second (logarithmic axis)"),
        alt=f"Ratios of {words} on {title} with intervals. {spoken}.",
        caption=(
            f"Paired {words} ratios on {title}. Dot: geometric mean over launches or seeds; bar: its 95 % interval. "
            "Solid line: no difference. Dashed mark: what the claim needs, where one rests on this pair. *: with a "
            "caution, listed in the table. Pale: not steady, void, or one launch only; no verdict rests on it."
        ),
    )


def _groups(pairs: Sequence[dict[str, Any]], thresholds: Mapping[str, float]) -> list[ForestGroup]:
    by_comparison: dict[str, list[dict[str, Any]]] = {}
    for pair in pairs:
        by_comparison.setdefault(pair["comparison"], []).append(pair)
    return [
        ForestGroup(comparison, tuple(_row(pair, members, thresholds) for pair in members))
        for comparison, members in by_comparison.items()
    ]


def _row(pair: dict[str, Any], members: Sequence[dict[str, Any]], thresholds: Mapping[str, float]) -> ForestRow:
    namesakes = sum(member["workload"] == pair["workload"] for member in members)
    case: Case = pair["candidate_case"]
    return ForestRow(
        label=pair["workload"] if namesakes == 1 else _without_precision(case),
        value=pair["ratio"],
        low=pair["ratio_low"],
        high=pair["ratio_high"],
        threshold=thresholds.get(pair["record_id"]),
        color=precision_color(case.precision),
        marked=bool(_cautions(pair)),
        weak=pair["invalid"] or not pair["warmup_ok"] or pair["ratio_low"] is None,
    )


def _without_precision(case: Case) -> str:
    return " ".join(part for part in case.label.split("/") if part != case.precision)


def _chunks(groups: Sequence[ForestGroup]) -> list[list[ForestGroup]]:
    """Groups in figures of a readable height; a group too long for one figure is continued in the next."""
    pieces = [
        ForestGroup(
            group.title if start == 0 else f"{group.title} (continued)", group.rows[start : start + _ROWS_PER_FIGURE]
        )
        for group in groups
        for start in range(0, len(group.rows), _ROWS_PER_FIGURE)
    ]
    chunks: list[list[ForestGroup]] = []
    for piece in pieces:
        if not chunks or sum(len(group.rows) for group in chunks[-1]) + len(piece.rows) > _ROWS_PER_FIGURE:
            chunks.append([])
        chunks[-1].append(piece)
    return chunks


def _is_check(pair: dict[str, Any]) -> bool:
    return any(is_functional_check(pair[side].placement) for side in ("candidate_case", "baseline_case"))


def _cautions(pair: dict[str, Any]) -> str:
    parts = [pair["flags"]] if pair["flags"] else []
    if not pair["warmup_ok"]:
        parts.append("not steady when timed")
    if pair["ratio_low"] is None:
        parts.append(f"one {pair['replicate']}, so no interval")
    if _is_check(pair):
        parts.append("functional check, no evidence of speed")
    return "; ".join(parts)


_COLUMNS: Final = (
    Column("Workload"),
    Column("Comparison"),
    Column("Ratio", numeric=True),
    Column("Needed", numeric=True),
    Column("Smallest effect this run could see", numeric=True),
    Column("Cautions"),
)


def _table(title: str, pairs: Sequence[dict[str, Any]], thresholds: Mapping[str, float]) -> Table:
    return Table(
        caption=f"{plural(len(pairs), 'comparison')} on {title}",
        columns=_COLUMNS,
        rows=tuple(_table_row(pair, thresholds.get(pair["record_id"])) for pair in pairs),
        folded=True,
    )


def _table_row(pair: dict[str, Any], threshold: float | None) -> tuple[Cell | str, ...]:
    smallest = pair["smallest_effect_ratio"]
    interval = interval_text(pair["ratio_low"], pair["ratio_high"], pair["confidence_ratio"])
    several = f"{pair['replicate']}es" if pair["replicate"] == "launch" else f"{pair['replicate']}s"
    return (
        Cell(pair["workload"], note="" if pair["metric"] == "throughput" else pair["metric"].replace("_", " ")),
        Cell(pair["comparison"], note=f"{pair['candidate']} ÷ {pair['baseline']}"),
        Cell(
            ratio_text(pair["ratio"], None, None),
            note=f"{interval}, {plural(pair['replicates'], pair['replicate'], several)}",
        ),
        "" if threshold is None else format_ratio(threshold),
        "" if smallest is None else format_percent(smallest),
        _cautions(pair),
    )

"""The terminal's table of one run: plain text, one line per case."""

from pathlib import Path
from shutil import get_terminal_size

from rtxbench.placement import is_functional_check
from rtxbench.records import CaseRecord, Estimate, Measurement, RatioRecord
from rtxbench.results.store import load_run
from rtxbench.units import format_duration, format_power, format_quantity, format_ratio
from rtxbench.wording import say_headline

__all__ = ["headline", "summary_lines"]

_HEADER = ("case", "throughput", "step", "against its baseline (95 %)", "watts", "notes")
_GIVE_WAY = (4, 2, 5)
"""Columns that a narrow terminal leaves out, in this order; throughput and ratio always stay."""
_NARROWEST = 20
"""Characters that the first column keeps, however narrow the terminal is."""


def summary_lines(path: Path) -> list[str]:
    """Lines of an aligned table of every measured or failed case in a results file; skipped ones are counted.

    Raises:
        RecordError: the file cannot be read.
    """
    run = load_run(path)
    ratios = {(ratio.group, ratio.candidate): ratio for ratio in run.of_kind(RatioRecord)}
    cases = run.of_kind(CaseRecord)
    rows = [_row(case, ratios.get((case.group, case.case))) for case in cases if case.status != "skipped"]
    skipped = sum(case.status == "skipped" for case in cases)
    lines = _aligned([_HEADER, *rows])
    if not skipped:
        return lines
    reasons = dict.fromkeys(case.reason or "no reason recorded" for case in cases if case.status == "skipped")
    return [*lines, f"{skipped} case{'s' if skipped > 1 else ''} skipped: {'; '.join(reasons)}"]


def headline(path: Path) -> str:
    """Say what a run found, in the one sentence a reader quotes."""
    compared = load_run(path).of_kind(RatioRecord)
    said = say_headline(ratio for ratio in compared if not is_functional_check(ratio.candidate.placement))
    if said or not compared:
        return said or "This run compared nothing with anything."
    return "Nothing here has an interval: that takes more than one launch. Run it again with --profile quick or longer."


def _row(record: CaseRecord, ratio: RatioRecord | None) -> tuple[str, ...]:
    name = f"{record.group.split('/')[0]}: {record.case.label}"
    if record.measurement is None:
        return (name, "-", "-", "-", "-", f"failed: {record.reason}")
    measurement = record.measurement
    return (
        name,
        _throughput(measurement),
        format_duration(measurement.step_time_s.value),
        _against_baseline(ratio),
        _watts(record),
        _notes(record),
    )


def _against_baseline(ratio: RatioRecord | None) -> str:
    if ratio is None:
        return "baseline"
    return "trains: a check" if is_functional_check(ratio.candidate.placement) else _interval(ratio.ratio)


def _throughput(measurement: Measurement) -> str:
    """Show what the machine keeps up, where that was measured."""
    sustained = measurement.sustained
    if sustained is not None:
        return f"{format_quantity(sustained.throughput_per_s, '/s')} sustained"
    return format_quantity(measurement.throughput_per_s.value, "/s")


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{format_ratio(estimate.value)} (one launch: no interval)"
    return f"{format_ratio(estimate.value)} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _watts(record: CaseRecord) -> str:
    """Show the power of the arm alone; of interleaved blocks, sensors tell of all arms together."""
    sustained = record.measurement.sustained if record.measurement else None
    return "-" if sustained is None or sustained.power_w is None else format_power(sustained.power_w)


def _notes(record: CaseRecord) -> str:
    assert record.measurement is not None
    notes = [] if record.measurement.warmup_ok else ["warm-up not steady"]
    notes += sorted({f"{flag.code} ({flag.severity})" for flag in record.flags})
    return ", ".join(notes)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Align columns to the terminal: watts, step and notes give way in turn, then names are cut in their middle."""
    width = max(40, get_terminal_size(fallback=(10_000, 24)).columns)  # a file or pipe has all the room it needs
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    kept = list(range(len(widths)))
    for column in _GIVE_WAY:
        if sum(widths[number] for number in kept) + 2 * (len(kept) - 1) > width:
            kept.remove(column)
    rest = sum(widths[number] for number in kept[1:]) + 2 * (len(kept) - 1)
    widths[0] = max(_NARROWEST, min(widths[0], width - rest))
    shown = [[_cut(row[0], widths[0]), *(row[number] for number in kept[1:])] for row in rows]
    sizes = [widths[number] for number in kept]
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in shown]


def _cut(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return f"{text[: size - 1 - tail]}…{text[-tail:]}"

"""Show how far this machine can be trusted: rtxbench held against itself, apart from everything it measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from rtxbench.records import CaseRecord, Environment, Estimate, Observation, RatioRecord
from rtxbench.report.labels import interval_text, machine_headings, plural
from rtxbench.report.parts import (
    Block,
    Cell,
    Code,
    Column,
    Context,
    Interval,
    IntervalGroup,
    Intervals,
    Paragraph,
    Section,
    Table,
)
from rtxbench.report.titles import machine_title
from rtxbench.results.latest import latest_of
from rtxbench.results.store import PLANTED_SLOWDOWN_RATIO, LoadedRun
from rtxbench.units import format_duration, format_percent
from rtxbench.wording import name_of, say_flag

__all__ = ["trust_section"]

_COMMAND: Final = "pytest bench/bench_harness.py --benchmark-only --harness"
_BY_FIT: Final = "harness_steps:fit_"
"""Workloads of bench/harness_steps.py that train by ``model.fit``."""


class _Check(NamedTuple):
    """The true value that one kind of pair holds the instrument to."""

    title: str
    true_ratio: float | None
    """Ratio that an instrument without fault would show on a machine without noise; ``None`` where nobody knows."""
    meaning: str


_FIT: Final = _Check("`model.fit` against a bare loop", None, "what `fit` costs here; rtxbench does not train by it")
_CHECKS: Final[Mapping[str, _Check]] = {
    "bare-loop": _Check("rtxbench against a bare loop", 1.0, "a loop written by hand is no faster"),
    "native-loop": _Check("PyTorch under rtxbench against a loop by hand", 1.0, "a loop written by hand is no faster"),
    "a-a": _Check("A case against itself", 1.0, "no difference is seen where there is none"),
    "planted": _Check(
        f"A slow-down of {format_percent(PLANTED_SLOWDOWN_RATIO, None)} planted, against none",
        1 / (1 + PLANTED_SLOWDOWN_RATIO),
        "a difference that is there is seen, at its size",
    ),
    "recorder": _Check("Recorder running, against stopped", 1.0, "watching the hardware costs no speed"),
}
"""Second part of the group's name → what it checks."""


def trust_section(context: Context) -> Section | None:
    """Checks of the instrument per machine. ``None`` where no run holds any."""
    found = {machine: own for machine in context.machines if (own := _machine(context, machine))}
    if not found:
        return None
    blocks: list[Block] = [
        Paragraph(
            "rtxbench held against itself on this machine. Here the right answer is known: a bar that misses its mark, "
            "or is wide, shows how small a difference this machine could still detect. These are checks of the "
            "instrument: none of them enters a comparison, a verdict or a piece of advice."
        )
    ]
    for machine, heading in machine_headings(context, found):
        blocks += [*heading, *found[machine]]
    return Section(id="trust", title="How far this machine can be trusted", blocks=(*blocks, Code(_COMMAND)))


def _machine(context: Context, machine: str) -> list[Block]:
    runs = [loaded for loaded in context.runs if loaded.run.environment.machine == machine]
    environment = context.machines[machine]
    return [
        *_ratio_blocks(environment, _latest(runs)),
        *_failures(runs),
        *_cost_blocks(machine_title(environment), runs),
    ]


def _latest(runs: Sequence[LoadedRun]) -> list[RatioRecord]:
    """Return the latest pair of each check and case."""
    pairs = [r for loaded in runs for r in loaded.meant_for("harness") if isinstance(r, RatioRecord)]
    return latest_of(pairs, lambda record: (record.group, record.candidate, record.baseline))


def _check_of(record: RatioRecord) -> _Check:
    if record.candidate.workload.startswith(_BY_FIT):
        return _FIT
    name = record.group.split("/")[0]
    return _CHECKS.get(name, _Check(name, None, "a check this report does not know"))


def _workload(record: RatioRecord) -> str:
    """Return the workload behind the pair; a bare loop's own name is that of its function."""
    names = (record.group.partition("/")[2], record.candidate.workload)
    return name_of(next(name for name in names if name))


def _ratio_blocks(environment: Environment, records: Sequence[RatioRecord]) -> list[Block]:
    if not records:
        return []
    title = machine_title(environment)
    columns = (
        Column("Check"),
        Column("Ratio", numeric=True),
        Column("True value", numeric=True),
        Column("What it says"),
        Column("Smallest effect it could see", numeric=True),
        Column("Cautions"),
    )
    caption = f"{plural(len(records), 'check')} of the instrument on {title}, ratios of throughput"
    table = Table(caption=caption, columns=columns, rows=tuple(_row(record) for record in records), folded=True)
    return [_chart(records), table]


def _row(record: RatioRecord) -> tuple[Cell | str, ...]:
    check, estimate = _check_of(record), record.ratio
    interval = interval_text(estimate.low, estimate.high, estimate.confidence)
    smallest = record.smallest_effect_ratio
    return (
        Cell(check.title, note=f"{_workload(record)}: {check.meaning}"),
        Cell(_value_text(estimate.value), note=f"{interval}, {plural(estimate.n, record.replicate, 'launches')}"),
        "" if check.true_ratio is None else _value_text(check.true_ratio),
        _says(estimate, check.true_ratio),
        "" if smallest is None else format_percent(smallest),
        _cautions(record),
    )


def _value_text(ratio: float) -> str:
    return f"{ratio:.3f}×"


def _says(estimate: Estimate, true_ratio: float | None) -> str:
    """Return whether the interval holds the true value and, where that is not 1×, leaves out 1×."""
    if true_ratio is None:
        return "for comparison only"
    if estimate.low is None or estimate.high is None:
        return "cannot say: one launch has no interval"
    if not estimate.low <= true_ratio <= estimate.high:
        return f"misses the true value by {format_percent(abs(estimate.value / true_ratio - 1))}"
    if true_ratio != 1.0 and estimate.high >= 1.0:
        return "holds the true value, but cannot tell it from no difference"
    return f"holds the true value; the interval is {format_percent(estimate.high - estimate.low)} wide"


def _cautions(record: RatioRecord) -> str:
    said = dict.fromkeys(
        say_flag(flag.code) + (" (void)" if flag.severity == "invalid" else "") for flag in record.flags
    )
    return "; ".join((*said, *(() if record.warmup_ok else ("not steady when timed",))))


def _chart(records: Sequence[RatioRecord]) -> Intervals:
    rows = tuple(
        Interval(
            label=f"{_check_of(record).title}, {_workload(record)}",
            value=record.ratio.value,
            low=record.ratio.low,
            high=record.ratio.high,
            threshold=_check_of(record).true_ratio,
            weak=record.ratio.low is None or not record.warmup_ok or _is_void(record),
            caution=_cautions(record),
        )
        for record in records
        if record.ratio.value > 0
    )
    caption = "Dashed: the true value, known beforehand."
    return Intervals(caption=caption, groups=(IntervalGroup("Checks of the instrument", rows),), better="")


def _is_void(record: RatioRecord) -> bool:
    return any(flag.severity == "invalid" for flag in record.flags)


def _failures(runs: Sequence[LoadedRun]) -> list[Block]:
    """Checks that could not be made, each reason once."""
    reasons = dict.fromkeys(
        f"{record.group}, {record.case.workload}: {record.reason or 'no reason recorded'}"
        for loaded in runs
        for record in loaded.meant_for("harness")
        if isinstance(record, CaseRecord) and record.status != "measured"
    )
    return [Paragraph(f"This check failed: {reason}", "caution") for reason in reasons]


def _cost_blocks(title: str, runs: Sequence[LoadedRun]) -> list[Block]:
    """Report what the recorder takes of a core, and how punctual it is, as last measured."""
    latest = {
        record.metric: record
        for loaded in runs
        for record in loaded.meant_for("harness")
        if isinstance(record, Observation) and record.metric in _COSTS and record.values
    }
    if not latest:
        return []
    rows = tuple((name, text(latest[metric].values)) for metric, (name, text) in _COSTS.items() if metric in latest)
    columns = (Column("What the recorder costs"), Column("Measured", numeric=True))
    return [Table(caption=f"The recorder's own cost on {title}", columns=columns, rows=rows)]


def _jitter_text(values_s: Sequence[float]) -> str:
    ordered = sorted(values_s)
    p50, p95 = ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))]
    return f"{format_duration(p50)} median, {format_duration(p95)} at the 95th percentile"


_COSTS: Final[Mapping[str, tuple[str, Callable[[Sequence[float]], str]]]] = {
    "recorder_core_ratio": ("Share of one core", lambda values: format_percent(max(values), 2)),
    "sampling_jitter_s": ("Sampling jitter while every core is busy", _jitter_text),
}

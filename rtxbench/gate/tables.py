"""Print what the gate's other commands found: self-test rows, simulated rates, the series of ``rtxbench history``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtxbench.errors import UsageError
from rtxbench.gate.outcome import as_ratio, describe_change
from rtxbench.gate.replay import SelftestRow
from rtxbench.gate.series import Series, history_series
from rtxbench.gate.statistics.operating_characteristics import coverage_table, gate_table, pool_table, rule_table
from rtxbench.records import Estimate
from rtxbench.results.store import load_results
from rtxbench.units import format_change, format_count, format_percent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["render_pool", "render_rows", "render_rules", "render_simulation", "share_text", "show_history"]

_OWN_FOLDER: Final = Path(".rtxbench")


def show_history(paths: Sequence[Path], case: str | None, reference: str | None, *, as_json: bool) -> None:
    """Print every series that matches.

    Args:
        paths: results files or folders; none means the gate's own folder here, if there is one.
        case: only this case.
        reference: only points against commits that begin so.
        as_json: JSON instead of tables.

    Raises:
        UsageError: there is none.
        RecordError: a file is missing or malformed.
    """
    import msgspec
    from rich.console import Console

    searched = list(paths) or [_OWN_FOLDER]
    runs = load_results(searched) if paths or _OWN_FOLDER.exists() else []
    chosen = [
        series
        for series in history_series(runs)
        if (case is None or series.case == case) and (reference is None or series.reference.startswith(reference))
    ]
    if not chosen:
        raise UsageError(
            f"no gate is on record in {', '.join(map(str, searched))}.",
            next_step="Run `rtxbench gate --baseline REFERENCE --history` first, or name the folder of its records.",
        )
    if as_json:
        print(msgspec.json.encode(chosen).decode())
        return
    for series in chosen:
        Console().print(_table(series))


def render_rows(rows: Sequence[SelftestRow]) -> "Table":
    """Draw the self-test's result for a terminal (rich)."""
    from rich.table import Table

    table = Table(title="gate self-test: share called a regression (95 % interval)", title_justify="left")
    for heading in ("planted", "gates run", "regression", "launches", "replayed", "regression", "stored min:5%"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.planted.text,
            str(row.gates),
            share_text(row.regression),
            "–" if row.launches_mean is None else f"{row.launches_mean:.1f}",
            format_count(row.replayed_gates),
            share_text(row.replayed_regression),
            share_text(row.stored_baseline),
        )
    return table


def share_text(share: Estimate | None) -> str:
    """Write the share, and its interval on a line of its own."""
    if share is None or share.low is None or share.high is None:
        return "–"
    return f"{format_percent(share.value)}\n{100 * share.low:.1f}–{100 * share.high:.1f}"


def render_simulation(gates: int) -> "list[Table]":
    """Coverage of the interval, then rates of the gate and of a stored baseline, per noise regime."""
    from rich.table import Table

    cover = Table(title="simulated: coverage of the 95 % interval over launches", title_justify="left")
    for heading in ("regime", "launches", "covers (95 %)"):
        cover.add_column(heading, justify="right")
    for row in coverage_table():
        cover.add_row(row.regime, str(row.launches), share_text(row.share))
    rates = Table(title=f"simulated: {format_count(gates)} gates each, share called a regression", title_justify="left")
    for heading in ("regime", "slow-down", "gate", "inconclusive", "launches", "stored baseline, min:5%"):
        rates.add_column(heading, justify="right")
    for rate in gate_table(gates):
        rates.add_row(
            rate.regime,
            format_percent(rate.slowdown_ratio, 0),
            share_text(rate.regression),
            format_percent(rate.inconclusive.value),
            f"{rate.launches_mean:.1f}",
            share_text(rate.stored_baseline_alarm),
        )
    return [cover, rates]


def render_rules(gates: int) -> "Table":
    """Draw the gate's rule beside the first edition's, per regime and slow-down."""
    from rich.table import Table

    title = f"simulated, {format_count(gates)} gates each: regression / pass / inconclusive %, launches"
    table = Table(title=title, title_justify="left")
    for heading in ("noise of a process", "slow-down", "first edition", "this gate", "one pair a launch"):
        table.add_column(heading, justify="left" if heading.startswith("noise") else "right")
    for row in rule_table(gates):
        rates = (rate.text for rate in (row.former, row.present, row.slow_start))
        table.add_row(row.regime, format_percent(row.slowdown_ratio, 0), *rates)
    return table


def render_pool(gates: int) -> "Table":
    """Draw gates over a pool, machines ignored and as a random effect."""
    from rich.table import Table

    title = f"simulated pools, {format_count(gates)} gates each: regression / pass / inconclusive %, launches"
    table = Table(title=title, title_justify="left")
    for heading in ("machines", "their own effect", "slow-down", "machines ignored", "random effect"):
        table.add_column(heading, justify="right")
    for row in pool_table(gates):
        effect, planted = format_percent(row.machine_deviation), format_percent(row.slowdown_ratio, 0)
        table.add_row(str(row.machines), effect, planted, row.ignored.text, row.random_effect.text)
    return table


def _table(series: Series) -> "Table":
    from rich.table import Table

    title = f"{series.case} on {series.machine}, step time against {series.reference[:10]}"
    table = Table(title=title, title_justify="left")
    for heading in ("commit", "measured", "step time (90 % interval)", "outcome", "level changed"):
        table.add_column(heading)
    steps = {step.first_point: step for step in series.steps}
    for index, point in enumerate(series.points):
        step = steps.get(index)
        change = "" if step is None else f"{format_change(step.change_ratio)} from here"
        commit = point.commit[:10] + ("+" if point.dirty else "")
        table.add_row(commit, point.finished_at, describe_change(as_ratio(point.log_ratio)), point.outcome, change)
    return table

"""``rtxbench selftest statistics``: the simulated promises as tables."""

from typing import TYPE_CHECKING

from rtxbench.gate.operating_characteristics import coverage_table, gate_table
from rtxbench.gate.selftest import share_text
from rtxbench.units import format_percent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["render_simulation"]


def render_simulation(gates: int) -> "list[Table]":
    """Coverage of the interval, then rates of the gate, per noise regime."""
    from rich.table import Table

    cover = Table(title="simulated: coverage of the 95 % interval over launches", title_justify="left")
    for heading in ("regime", "launches", "covers (95 %)"):
        cover.add_column(heading, justify="right")
    for row in coverage_table():
        cover.add_row(row.regime, str(row.launches), share_text(row.share))
    rates = Table(title=f"simulated: {gates:,} gates each, share called a regression", title_justify="left")
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

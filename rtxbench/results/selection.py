"""Choose from exported tables the records that a report is about, so that a million are as soon told as a thousand.

DuckDB reads the flat columns; only what it chooses is decoded, through the same boundary as a results file. Of the
reader's machine come its latest records, all of them up to a limit; of every other machine (again up to a limit, those
with most records first) the latest of each comparison with both its cases, the fastest case of each workload, and the
latest of each observation. The rest is counted, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rtxbench.errors import RecordError
from rtxbench.results.query import database_errors, opened
from rtxbench.results.store import LoadedRun, run_of_lines

if TYPE_CHECKING:
    import duckdb

__all__ = ["MOST_MACHINES", "MOST_OWN_RECORDS", "Selection", "select_runs"]

MOST_OWN_RECORDS: Final = 10_000
MOST_MACHINES: Final = 100
"""Machines beside the reader's: what a page holds readably."""


class Selection(NamedTuple):
    """The chosen runs, and a sentence on what they were chosen from."""

    runs: tuple[LoadedRun, ...]
    focus: str
    """The machine that is told in full."""
    sentence: str
    """Empty where everything was chosen."""


def select_runs(tables: Path, here: str = "") -> Selection:
    """Read the records of a report from a folder of exported tables.

    Args:
        tables: written by `rtxbench.results.tables.export`.
        here: slug of the reader's machine; that with most records where it is not among them.

    Raises:
        RecordError: the tables are empty, damaged, or hold a record that cannot be.
    """
    with opened([tables]) as connection, database_errors(tables):
        machines = connection.execute(_MACHINES).fetchall()
        if not machines:
            raise RecordError(f"{tables} holds no record.", next_step="Export results that hold some.")
        names = [str(machine) for machine, _, _ in machines]
        focus = here if here in names else names[0]
        chosen = [focus, *[name for name in names if name != focus][:MOST_MACHINES]]
        parameters = {"focus": focus, "machines": chosen, "most": MOST_OWN_RECORDS}
        connection.execute(_CHOSEN, parameters)
        runs = tuple(_runs(connection, tables))
    whole, kept = sum(int(count) for _, count, _ in machines), sum(len(run.records) for run in runs)
    sentence = (
        f"{kept:,} of {whole:,} records of {len(chosen):,} of {len(machines):,} machines were read for this page: of "
        "this machine the latest, of the others the latest of each comparison and observation and the fastest of each "
        f"case. `rtxbench query` reads all of {tables}."
    )
    return Selection(runs, focus, sentence if kept < whole else "")


_MACHINES: Final = """
    select machine, sum(records) as records, max(started_at) as latest
    from runs group by machine order by records desc, machine
"""

_CHOSEN: Final = """
    create temp table chosen as
    with pairs as (
        select machine, baseline_record, candidate_record, record_id from ratios
        where machine in (select unnest($machines)) and purpose = 'result' and machine <> $focus
        qualify row_number() over (
            partition by machine, candidate, baseline, metric order by finished_at desc, run_id desc, record_id
        ) = 1
    ), fastest as (
        select machine, record_id from cases
        where machine in (select unnest($machines)) and purpose = 'result' and machine <> $focus and status = 'measured'
        qualify row_number() over (
            partition by machine, workload, precision, placement, device_count
            order by throughput_per_s desc, record_id
        ) = 1
    ), seen as (
        select machine, record_id from observations
        where machine in (select unnest($machines)) and purpose = 'result' and machine <> $focus
        qualify row_number() over (
            partition by machine, topic, metric, "case", labels order by finished_at desc, run_id desc, record_id
        ) = 1
    ), own as (
        select machine, record_id, finished_at, run_id from cases where machine = $focus
        union all select machine, record_id, finished_at, run_id from ratios where machine = $focus
        union all select machine, record_id, finished_at, run_id from observations where machine = $focus
    )
    select distinct machine, record_id from (
        select machine, record_id from pairs
        union all select machine, baseline_record from pairs
        union all select machine, candidate_record from pairs
        union all select machine, record_id from fastest
        union all select machine, record_id from seen
        union all (select machine, record_id from own order by finished_at desc, run_id desc, record_id limit $most)
    )
"""

_RECORDS: Final = """
    select run_id, record from {table} semi join chosen using (machine, record_id) order by run_id, record_id
"""

_HEADERS: Final = """
    select run_id, record from runs
    where run_id in (
        select run_id from cases semi join chosen using (machine, record_id)
        union select run_id from ratios semi join chosen using (machine, record_id)
        union select run_id from observations semi join chosen using (machine, record_id)
    )
    order by started_at, run_id
"""


def _runs(connection: duckdb.DuckDBPyConnection, tables: Path) -> Iterable[LoadedRun]:
    """Load the chosen records as runs, in order of start; each line is checked like one of a file."""
    lines: dict[str, list[str]] = {}
    for table in ("cases", "ratios", "observations"):
        for run_id, record in connection.execute(_RECORDS.format(table=table)).fetchall():
            lines.setdefault(str(run_id), []).append(str(record))
    headers: Mapping[str, str] = dict(connection.execute(_HEADERS).fetchall())
    for run_id, header in headers.items():
        yield run_of_lines(tables / f"{run_id}.jsonl", [header, *lines.get(run_id, [])])

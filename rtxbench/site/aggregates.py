"""Figures that the pages are made of: DuckDB takes them from the tables, so that memory does not grow with records.

A machine counts once in every figure, whatever it sent: first the median of its records of one exact case, then
quantiles over machines. One machine that sends a thousand runs, or figures out of this world, moves a median little.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rtxbench.placement import PLACEMENTS, is_functional_check
from rtxbench.site.machines import LONGEST, Machine
from rtxbench.site.rows import (
    Case,
    Comparison,
    Figures,
    Month,
    Paired,
    Quantiles,
    SpreadOver,
    Standing,
    Successor,
    VersionFigures,
)
from rtxbench.verdicts.statistics.spread import LEAST_MACHINES, log_throughput, spread_of

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "MOST_VERSIONS",
    "MOST_WORKLOADS",
    "comparisons",
    "figures",
    "months",
    "of_machines",
    "prepare",
    "rank",
    "spreads",
    "successors",
    "version_figures",
]


MOST_WORKLOADS: Final = 1_000
"""Workloads with a page: those that most machines ran. One stranger's file may name a hundred thousand."""
MOST_VERSIONS: Final = 500
"""Engine versions with a page, likewise."""
_CASE: Final = "device, device_count, workload, precision, engine, compiler, batch_size, placement, variant"
_QUANTILES: Final = "[0, 0.1, 0.5, 0.9, 1]"
_LARGEST: Final = "1e30"
"""Largest figure of a record (`rtxbench.fields.Figure`): a forged table may hold others."""


def prepare(connection: duckdb.DuckDBPyConnection, machines: Sequence[Machine]) -> None:
    """Make the tables that the functions below read: of every machine and exact case one row."""
    columns = {name: [getattr(one, name) for one in machines] for name in ("slug", "card", "cards", "processor")}
    unnested = ", ".join(f"unnest(${name}::varchar[]) as {name}" for name in columns)
    connection.execute(f"create table devices as select {unnested}", columns)
    checks = [name for name in PLACEMENTS if is_functional_check(name)]
    connection.execute(_POPULAR, {"workloads": MOST_WORKLOADS})
    connection.execute(_VERSIONS, {"versions": MOST_VERSIONS})
    connection.execute(_STANDING, {"checks": checks})
    connection.execute(_BEST)
    connection.execute(_PAIRED)


_ON_DEVICE: Final = """
    case when {placement} = 'cpu' or card = '' then processor when {count} > 1 and cards <> '' then cards else card end
"""
_POPULAR: Final = """
    create table popular as
    select workload from (
        select workload, machine from cases where purpose = 'result'
        union all select workload, machine from ratios where purpose = 'result'
    ) group by workload order by count(distinct machine) desc, workload limit $workloads
"""
_VERSIONS: Final = """
    create table versions as
    with every as (
        select run_id, machine, unnest(['tensorflow', 'jax', 'torch']) as engine,
            unnest([
                json_extract_string(record, '$.environment.packages.tensorflow'),
                json_extract_string(record, '$.environment.packages.jax'),
                json_extract_string(record, '$.environment.packages.torch')
            ]) as version
        from runs
    ), popular_versions as (
        select engine, version from every where version is not null
        group by engine, version order by count(distinct machine) desc, engine, version limit $versions
    )
    select run_id, engine, version from every semi join popular_versions using (engine, version)
"""
_STANDING: Final = f"""
    create table standing as
    select machine, {_ON_DEVICE.format(placement="placement", count="device_count")} as device, device_count,
        left(workload, {LONGEST}) as workload, precision, left(engine, {LONGEST}) as engine,
        left(compiler, {LONGEST}) as compiler, batch_size, placement, left(coalesce(variant, ''), {LONGEST}) as variant,
        left(coalesce(version, ''), {LONGEST}) as version, left(finished_at, 7) as month,
        median(throughput_per_s) as speed, count(*) as records,
        arg_max(throughput_low_per_s, finished_at || record_id) as low,
        arg_max(throughput_high_per_s, finished_at || record_id) as high,
        arg_max(confidence_ratio, finished_at || record_id) as confidence,
        arg_max(launches, finished_at || record_id) as launches
    from cases semi join popular using (workload) join devices on slug = machine
        left join versions using (run_id, engine)
    where purpose = 'result' and status = 'measured' and not invalid and throughput_per_s > 0
        and throughput_per_s <= {_LARGEST} and placement not in (select unnest($checks::varchar[]))
    group by all
"""
_BEST: Final = f"""
    create table best as
    with whole as (
        select machine, {_CASE}, median(speed) as speed, sum(records) as records from standing group by all
    )
    select * from whole where variant in ('', 'native')
    qualify row_number() over (
        partition by machine, device, device_count, workload, precision
        order by speed desc, engine, compiler, batch_size
    ) = 1
"""
_PAIRED: Final = f"""
    create table paired as
    select machine, {_ON_DEVICE.format(placement="split_part(candidate, '/', 3)", count="1")} as device,
        left(workload, {LONGEST}) as workload, left(comparison, {LONGEST}) as comparison,
        left(candidate, {LONGEST}) as candidate, ratio, ratio_low, ratio_high
    from ratios semi join popular using (workload) join devices on slug = machine
    where purpose = 'result' and metric = 'throughput' and not invalid and ratio > 0 and ratio <= {_LARGEST}
    qualify row_number() over (
        partition by machine, candidate, baseline order by finished_at desc, run_id desc, record_id
    ) = 1
"""


def figures(connection: duckdb.DuckDBPyConnection) -> list[Figures]:
    """Take quantiles over machines of each device, workload and precision."""
    rows = connection.execute(
        f"""
        with counted as (
            select device, device_count, workload, precision, engine, batch_size, count(*) as owners from best
            group by all
        ), usual as (
            select * from counted
            qualify row_number() over (
                partition by device, device_count, workload, precision order by owners desc, engine, batch_size
            ) = 1
        ), over_machines as (
            select device, device_count, workload, precision, count(*) as machines,
                quantile_cont(speed, {_QUANTILES}) as speed
            from best group by all
        )
        select device, device_count, workload, precision, machines, speed, engine, batch_size
        from over_machines join usual using (device, device_count, workload, precision) order by all
        """
    ).fetchall()
    return [Figures._make((*row[:5], _quantiles(row[5]), *row[6:])) for row in rows]


def spreads(connection: duckdb.DuckDBPyConnection) -> Iterator[SpreadOver]:
    """Part the spread over equal machines into that between and that within them, exact case by exact case."""
    cursor = connection.execute(
        f"""
        with whole as (
            select {_CASE}, machine, median(speed) as speed, arg_max(low, month) as low, arg_max(high, month) as high,
                arg_max(confidence, month) as confidence, arg_max(launches, month) as launches
            from standing group by all
        )
        select * from whole qualify count(*) over (partition by {_CASE}) >= {LEAST_MACHINES} order by all
        """
    )
    for key, rows in itertools.groupby(_streamed(cursor), key=lambda row: row[:9]):
        members = [row[10:] for row in rows]
        logs = [log for member in members if (log := log_throughput(*member)) is not None]
        if len(logs) >= LEAST_MACHINES:
            spread = spread_of(logs)
            values = sorted(log.value for log in logs)
            yield SpreadOver(
                Case(*key),
                len(logs),
                math.exp(values[len(values) // 2]),
                math.exp(values[-1] - values[0]),
                spread.between,
                spread.between_low,
                spread.between_high,
                spread.within,
            )


def comparisons(connection: duckdb.DuckDBPyConnection) -> list[Comparison]:
    """Take quantiles over machines of each paired comparison; a machine with several takes part with their median."""
    rows = connection.execute(
        f"""
        with one as (
            select machine, device, workload, comparison, median(ratio) as ratio from paired group by all
        )
        select device, workload, comparison, count(*) as machines, quantile_cont(ratio, {_QUANTILES})
        from one group by all order by all
        """
    ).fetchall()
    return [Comparison._make((*row[:4], _quantiles(row[4]))) for row in rows]


def of_machines(
    connection: duckdb.DuckDBPyConnection, slugs: Sequence[str]
) -> tuple[dict[str, list[Standing]], dict[str, list[Paired]]]:
    """Read the standings and comparisons of a few machines: machine → its rows."""
    standings: dict[str, list[Standing]] = {}
    for row in connection.execute(_PLACES, {"slugs": list(slugs)}).fetchall():
        standings.setdefault(row[0], []).append(Standing(row[0], Case(*row[1:10]), *row[10:]))
    pairs: dict[str, list[Paired]] = {}
    query = "select * from paired where machine in (select unnest($slugs::varchar[])) order by all"
    for row in connection.execute(query, {"slugs": list(slugs)}).fetchall():
        pairs.setdefault(row[0], []).append(Paired._make((*row[:6], *map(_finite, row[6:]))))
    return standings, pairs


_PLACES: Final = f"""
    select machine, {_CASE}, speed, records, others, machines, place from places
    where machine in (select unnest($slugs::varchar[])) order by all
"""


def rank(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table `of_machines` reads: each machine's place among those of its device, exact case by exact case."""
    connection.execute(
        f"""
        create table places as
        with whole as (
            select machine, {_CASE}, median(speed) as speed, cast(sum(records) as bigint) as records
            from standing group by all
        )
        select *, median(speed) over same as others, count(*) over same as machines,
            rank() over (partition by {_CASE} order by speed desc) as place
        from whole window same as (partition by {_CASE})
        """
    )


def version_figures(connection: duckdb.DuckDBPyConnection) -> list[VersionFigures]:
    """Take quantiles over machines for each version of an engine."""
    rows = connection.execute(
        f"""
        with one as (
            select machine, engine, version, device, device_count, workload, precision, max(speed) as speed
            from standing where version <> '' and variant in ('', 'native') group by all
        )
        select engine, version, device, device_count, workload, precision, count(*) as machines,
            quantile_cont(speed, {_QUANTILES})
        from one group by all order by all
        """
    ).fetchall()
    return [VersionFigures._make((*row[:7], _quantiles(row[7]))) for row in rows]


def successors(connection: duckdb.DuckDBPyConnection) -> list[Successor]:
    """Compare every two versions of an engine on the machines that ran the same exact case with both."""
    rows = connection.execute(
        f"""
        with one as (
            select machine, {_CASE}, version, median(speed) as speed from standing where version <> '' group by all
        )
        select a.engine, a.version, b.version, count(distinct a.machine), count(*),
            quantile_cont(a.speed / b.speed, {_QUANTILES})
        from one a join one b using (machine, {_CASE}) where a.version <> b.version group by all order by all
        """
    ).fetchall()
    return [Successor._make((*row[:5], _quantiles(row[5]))) for row in rows]


def months(connection: duckdb.DuckDBPyConnection) -> list[Month]:
    """Compare every month with each machine's own first month; a text that is no month counts nowhere."""
    rows = connection.execute(
        f"""
        with one as (
            select month, machine, {_CASE}, median(speed) as speed, sum(records) as records from standing
            where regexp_full_match(month, '[0-9]{{4}}-(0[1-9]|1[0-2])') group by all
        ), against as (
            select *, speed / first_value(speed) over own as ratio, min(month) over own as begun from one
            window own as (
                partition by machine, {_CASE} order by month rows between unbounded preceding and unbounded following
            )
        )
        select month, count(distinct machine), cast(sum(records) as bigint),
            quantile_cont(ratio, {_QUANTILES}) filter (month > begun), count(distinct machine) filter (month > begun)
        from against group by month order by month
        """
    ).fetchall()
    return [Month(row[0], row[1], row[2], _quantiles(row[3]) if row[4] else None, row[4]) for row in rows]


def _quantiles(values: Sequence[float]) -> Quantiles:
    return Quantiles(*(float(f"{value:.6g}") for value in values))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _streamed(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(10_000):
        yield from rows

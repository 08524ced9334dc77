"""``rtxbench export``, ``query`` and ``site``: results as Parquet tables, SQL over them, and static pages of them."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export", "query", "site"]

_DEFAULT = Path("results")


def export(
    results: Annotated[list[Path] | None, typer.Argument(help="Results files or folders. Default: results/.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the tables.")] = Path("tables"),
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write results as Parquet, one folder a table and machine; what has not changed since last time is kept.

    `rtxbench query` and `rtxbench report` read the folder; so does every program that reads Parquet.
    """
    import msgspec

    from rtxbench.errors import RecordError
    from rtxbench.results.tables import export as export_tables

    done = export_tables(results or [_DEFAULT], out)
    for error in done.unreadable:
        typer.secho(f"left out: {error}", fg=typer.colors.YELLOW, err=True)
    if as_json:
        document = {**done._asdict(), "out": str(out), "unreadable": [str(error) for error in done.unreadable]}
        typer.echo(msgspec.json.encode(document).decode())
    else:
        typer.echo(
            f"{done.records:,} records of {done.machines_written} machines written to {out}; "
            f"{done.machines_unchanged} machines unchanged.\n"
            f'next: rtxbench query "select machine, count(*) from cases group by all" {out}'
        )
    if done.unreadable:
        raise typer.Exit(RecordError.exit_code)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over cases, ratios, observations and runs.")],
    results: Annotated[
        list[Path] | None, typer.Argument(help="Results, or tables of `rtxbench export`. Default: results/.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, every row.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every row.")] = False,
    most_rows: Annotated[int, typer.Option("--rows", min=1, help="Most rows of the printed table.")] = 40,
) -> None:
    """Ask the results anything in SQL, read only. docs/columns.md explains the columns.

    Example: `rtxbench query "select workload, precision, max(throughput_per_s) from cases group by all order by all"`.
    """
    from rtxbench.results.query import ask
    from rtxbench.results.query_text import as_csv_text, as_json_text, as_table_text

    answer = ask(sql, results or [_DEFAULT], None if as_csv or as_json else most_rows)
    if as_csv:
        typer.echo(as_csv_text(answer), nl=False)
    elif as_json:
        typer.echo(as_json_text(answer))
    else:
        typer.echo(as_table_text(answer))


def site(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Results, or tables of `rtxbench export`. Default: results/.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the pages.")] = Path("site"),
    tables: Annotated[
        Path | None, typer.Option("--tables", help="Folder of the tables made on the way. Default: OUT.tables.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if any file cannot be read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write static pages by card, workload, machine and engine version, with search, spread and history.

    A second run rewrites only what changed. Example: `rtxbench site results/ --out site/`, then open site/index.html.
    """
    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from rtxbench.errors import RecordError
    from rtxbench.results.store import find_result_files
    from rtxbench.results.tables import export, is_tables
    from rtxbench.site.build import build_site

    sources = results or [_DEFAULT]
    unreadable: tuple[RecordError, ...] = ()
    with Progress(console=Console(stderr=True), disable=as_json, transient=True) as bar:
        if len(sources) == 1 and is_tables(sources[0]):
            tables = sources[0]
        else:
            tables = tables or out.with_name(f"{out.name}.tables")
            read = bar.add_task("reading results", total=len(find_result_files(sources)))
            unreadable = export(sources, tables, lambda count: bar.advance(read, count), strict=strict).unreadable
        task = bar.add_task("pages")
        built = build_site(tables, out, lambda done, count: bar.update(task, completed=done, total=count))
    for error in unreadable:
        typer.secho(f"left out: {error}", fg=typer.colors.YELLOW, err=True)
    if as_json:
        document = {**built._asdict(), "out": str(out), "unreadable": [str(error) for error in unreadable]}
        typer.echo(msgspec.json.encode(document).decode())
    else:
        typer.echo(
            f"{built.written + built.kept:,} pages: {built.written:,} written, {built.kept:,} kept, {built.removed:,} "
            f"removed. Open: {out / 'index.html'}"
        )
    if unreadable:
        raise typer.Exit(RecordError.exit_code)

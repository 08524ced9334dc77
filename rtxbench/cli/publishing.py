"""``rtxbench site``: static pages of many machines' results."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["site"]


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

    sources = results or [Path("results")]
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

"""The report's command line, the same behind ``python -m rtxbench.report`` and ``rtxbench report``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtxbench.errors import RecordError

if TYPE_CHECKING:
    from rtxbench.report.render.output import LoadedRuns, Report

__all__ = ["report_command"]


def report_command(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results, or a folder of `rtxbench export`. Default: this machine's under results/."),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="PATH-OR-URL", help="Compare with these results too (repeatable)."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every machine under results/, not this one alone.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("report"),
    claims: Annotated[
        Path | None,
        typer.Option("--claims", help="Judge your own claims too (TOML; see `rtxbench claims --template`)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print written files and verdicts as JSON.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if any file cannot be read.")] = False,
    png: Annotated[bool, typer.Option("--png", help="Write every figure as PNG, too.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every written file.")] = False,
) -> None:
    """Write the report on this machine: one self-contained HTML page, Markdown, CSV and figures.

    Examples: `rtxbench report --open`; `rtxbench report --all`; `rtxbench report --with friends/results`.
    """
    from rtxbench.report.drawing.pool import drawing_processes
    from rtxbench.report.render.output import build_context, write_report
    from rtxbench.report.sections.answers.summary import tally_sentence
    from rtxbench.verdicts.claims import load_claims

    loaded, here, foreign = _chosen(results or [], beside or [], every=every, strict=strict)
    judged = load_claims() + (load_claims(claims) if claims else [])
    with drawing_processes() as processes:
        context = build_context(
            loaded.runs, judged, here=here, foreign=foreign, unreadable=loaded.unreadable, excerpt=loaded.excerpt
        )
        report = write_report(context, out, processes=processes, png=png)
    if as_json:
        _print_json(report.files, report.verdicts)
    else:
        _print_summary(report, tally_sentence(context), verbose=verbose)
    if show:
        import webbrowser

        webbrowser.open(report.files[0].resolve().as_uri())
    if loaded.unreadable:
        for error in loaded.unreadable:
            typer.secho(f"left out: {error}", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(RecordError.exit_code)


def _chosen(
    results: Sequence[Path], beside: Sequence[str], *, every: bool, strict: bool
) -> "tuple[LoadedRuns, str, bool]":
    """Return the runs to report on, the reader's machine, and whether none of them is of it.

    Named results are taken as they are. Otherwise this machine's own come alone, and others only where it has none.
    """
    from rtxbench.report.render.output import DEFAULT_RESULTS, load_runs
    from rtxbench.report.render.shared import fetched
    from rtxbench.results.tables import is_tables

    with fetched(beside) as others:
        from rtxbench.hardware.environment import describe

        if results:
            here = describe().machine if is_tables(results[0]) else ""
            return load_runs([*results, *others], strict=strict, here=here), "", False
        here = describe().machine
        own = DEFAULT_RESULTS / here
        if own.is_dir() and not every:
            found = load_runs([own, *others], strict=strict)
        else:
            found = load_runs([DEFAULT_RESULTS, *others] if others else [], strict=strict)
    return found, here, all(loaded.run.environment.machine != here for loaded in found.runs)


def _print_json(files: tuple[Path, ...], verdicts: tuple[object, ...]) -> None:
    import msgspec

    document = {"files": [str(path) for path in files], "verdicts": verdicts}
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _print_summary(report: "Report", sentence: str, *, verbose: bool) -> None:
    """Print notes, the written files where asked for, the answers in a sentence, and where the page is."""
    for note in report.notes:
        typer.secho(f"note: {note}", fg=typer.colors.YELLOW, err=True)
    for path in report.files if verbose else ():
        typer.echo(path)
    typer.echo(f"{sentence} Page: {report.files[0]}")

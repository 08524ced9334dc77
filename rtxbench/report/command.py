"""The report's command line, the same behind ``python -m rtxbench.report`` and ``rtxbench report``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report_command"]


def report_command(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Results files or folders, of one machine or several. Default: results/")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("report"),
    claims: Annotated[
        Path | None,
        typer.Option("--claims", help="Judge your own claims too (TOML; see `rtxbench claims --template`)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print written files and verdicts as JSON.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the report: one self-contained HTML page, Markdown, CSV and figures."""
    from rtxbench.report.drawing.pool import drawing_processes
    from rtxbench.report.render.output import build_context, load_runs, write_report
    from rtxbench.verdicts.claims import load_claims

    runs = load_runs(results or [])
    judged = load_claims() + (load_claims(claims) if claims else [])
    with drawing_processes() as processes:
        report = write_report(build_context(runs, judged), out, processes=processes)
    if as_json:
        _print_json(report.files, report.verdicts)
    else:
        _print_paths(report.files, report.notes)
    if show:
        import webbrowser

        webbrowser.open(report.files[0].resolve().as_uri())


def _print_json(files: tuple[Path, ...], verdicts: tuple[object, ...]) -> None:
    import msgspec

    document = {"files": [str(path) for path in files], "verdicts": verdicts}
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _print_paths(files: tuple[Path, ...], notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.secho(f"note: {note}", fg=typer.colors.YELLOW, err=True)
    for path in files:
        typer.echo(path)

"""The ``rtxbench`` command: one thin function per subcommand, each importing what it needs when it is called."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rtxbench import __version__
from rtxbench.errors import RtxbenchError
from rtxbench.report.command import report_command

__all__ = ["app", "main"]

app = typer.Typer(
    name="rtxbench",
    help="Is what is said about training on NVIDIA RTX cards true on this machine, and which card to buy?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtxbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command()
def run(
    claim: Annotated[list[str] | None, typer.Option(help="Only this claim (repeatable).")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="Only this workload (repeatable).")] = None,
    profile: Annotated[str, typer.Option(help="smoke, quick, standard or full.")] = "quick",
    engine: Annotated[str, typer.Option(help="tensorflow, jax or torch.")] = "tensorflow",
    compiler: Annotated[list[str] | None, typer.Option(help="none, xla or inductor (repeatable).")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Global batch size instead of the default.")] = None,
    budget: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Time limit of one group.")] = None,
    logical_devices: Annotated[
        int, typer.Option(metavar="N", help="Also check MirroredStrategy on N logical CPU devices.")
    ] = 0,
    results: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("results"),
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what an earlier run finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON instead of a table.")] = False,
) -> None:
    """Measure training throughput and store the records."""
    from rtxbench.measure.command import run_plan
    from rtxbench.measure.profiles import profile_named
    from rtxbench.measure.suite import Request
    from rtxbench.measure.table import summary_lines

    request = Request(
        profile=profile,
        engine=engine,
        claims=tuple(claim or ()),
        workloads=tuple(workload or ()),
        compilers=tuple(compiler or ()),
        logical_devices=logical_devices,
        batch_size=batch_size,
    )
    chosen = profile_named(profile)
    chosen = chosen if budget is None else chosen.with_budget(budget)
    path = run_plan(request, chosen, results, sys.argv, resume=resume, quiet=as_json)
    if as_json:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    typer.echo("\n".join(summary_lines(path)))
    typer.echo(f"\nrecords: {path}\nnext:    python -m rtxbench.report")


app.command("report")(report_command)


@app.command()
def claims(
    claim_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this claim, in full.")] = None,
    file: Annotated[Path | None, typer.Option(help="A claims file of your own (TOML) instead of the suite's.")] = None,
    results: Annotated[list[Path] | None, typer.Option(help="Judge these results (files or folders).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print a claims file to start from.")] = False,
) -> None:
    """List the claims, judge them on results, or check a claims file of your own."""
    from rtxbench.analysis.claims import TEMPLATE, load_claims, select_claims
    from rtxbench.analysis.listing import claims_json, claims_text
    from rtxbench.analysis.verdicts import judge
    from rtxbench.store import load_results

    if template:
        typer.echo(TEMPLATE, nl=False)
        return
    every = load_claims(file)
    chosen = select_claims(every, claim_id)
    known = {claim.id for claim in chosen}
    judged = judge(load_results(results), every) if results else []
    verdicts = [verdict for verdict in judged if verdict.claim in known]
    detailed = claim_id is not None
    typer.echo(claims_json(chosen, verdicts) if as_json else claims_text(chosen, verdicts, detailed=detailed))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what was found, what keeps training off the card, and what to install; exit code 3 if there is a fault."""
    import msgspec

    from rtxbench.hardware.doctor import as_text, examine
    from rtxbench.hardware.installation import inspect_installation

    findings = examine(inspect_installation())
    typer.echo(msgspec.json.encode(findings).decode() if as_json else as_text(findings))
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(3)


def main() -> None:
    """Run the command line; deliberate errors become one message and their exit code."""
    try:
        app()
    except RtxbenchError as error:
        typer.secho(f"rtxbench: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.secho("rtxbench: interrupted; finished records are kept.", fg=typer.colors.RED, err=True)
        sys.exit(130)

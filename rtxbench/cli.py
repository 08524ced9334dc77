"""The ``rtxbench`` command: one thin function per subcommand, each importing what it needs when it is called."""

import sys
from typing import Annotated

import typer

from rtxbench import __version__
from rtxbench.errors import RtxbenchError

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


def main() -> None:
    """Run the command line; deliberate errors become one message and their exit code."""
    try:
        app()
    except RtxbenchError as error:
        typer.secho(f"rtxbench: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)


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

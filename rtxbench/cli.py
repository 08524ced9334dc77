"""The ``rtxbench`` command: one thin function per subcommand, each importing what it needs when it is called."""

import sys
from pathlib import Path
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


@app.command()
def gate(
    baseline: Annotated[str, typer.Option(help="Revision, folder, or A...B for a merge base.")],
    candidate: Annotated[str, typer.Option(help="Revision or folder; '.' is the folder as it is.")] = ".",
    cases: Annotated[list[str] | None, typer.Option(help="module:function that returns a step; repeatable.")] = None,
    margin: Annotated[str | None, typer.Option(help="Slow-down that must not go through [default: 5%].")] = None,
    budget: Annotated[str | None, typer.Option(help="Time to spend at most [default: 10m].")] = None,
    python: Annotated[str | None, typer.Option(help="Interpreter of both arms.")] = None,
    baseline_python: Annotated[str | None, typer.Option(help="Interpreter of the baseline alone.")] = None,
    candidate_python: Annotated[str | None, typer.Option(help="Interpreter of the candidate alone.")] = None,
    install: Annotated[
        bool | None,
        typer.Option(
            "--install/--no-install",
            help="Build an environment per arm [default: only where their dependencies differ].",
        ),
    ] = None,
    extra: Annotated[list[str] | None, typer.Option(help="Extra of the project to install too; repeatable.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the outcome as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary for a pull request.")] = None,
    results: Annotated[Path, typer.Option(help="Folder for records.")] = Path(".rtxbench"),
    history: Annotated[bool, typer.Option(help="Add the outcome to this machine's history.")] = False,
    recorder: Annotated[bool, typer.Option(help="Watch the hardware while measuring.")] = True,
) -> None:
    """Does the candidate train slower than the baseline? Exit code 0 pass, 1 regression, 6 inconclusive."""
    from rtxbench.gate import command

    request = command.Request(
        baseline=baseline,
        candidate=candidate,
        cases=tuple(cases or ()),
        margin=margin,
        budget=budget,
        baseline_python=baseline_python or python,
        candidate_python=candidate_python or python,
        install=install,
        extras=tuple(extra or ()),
        results_dir=results,
        history=history,
        record_hardware=recorder,
        json_path=json,
        markdown_path=markdown,
    )
    raise typer.Exit(command.gate(request))


def main() -> None:
    """Run the command line; deliberate errors become one message and their exit code."""
    try:
        app()
    except RtxbenchError as error:
        typer.secho(f"rtxbench: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)

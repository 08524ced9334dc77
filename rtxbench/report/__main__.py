"""``python -m rtxbench.report``: the report without the rest of the command line."""

import sys

import typer

from rtxbench.errors import RtxbenchError
from rtxbench.report.command import report_command

__all__ = ["main"]


def main() -> None:
    """Write the report; deliberate errors become one message and their exit code."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    app.command(name="python -m rtxbench.report")(report_command)
    try:
        app()
    except RtxbenchError as error:
        typer.secho(f"rtxbench: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

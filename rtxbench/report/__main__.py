"""``python -m rtxbench.report``: the report without the rest of the command line."""

from rtxbench import leave_working_folder

leave_working_folder()

import typer  # noqa: E402

from rtxbench.exits import exit_codes  # noqa: E402
from rtxbench.report.command import report_command  # noqa: E402

__all__ = ["main"]


def main() -> None:
    """Write the report; deliberate errors become one message and their exit code."""
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    app.command(name="python -m rtxbench.report")(report_command)
    with exit_codes():
        app()


if __name__ == "__main__":
    main()

"""``rtxbench trace``: record any command, or hold two recordings side by side."""

from pathlib import Path
from typing import Annotated, Final

import typer

from rtxbench.errors import UsageError

__all__ = ["trace"]

_PICTURES: Final = (".png", ".svg", ".pdf")


def trace(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="What to run, after two dashes.")],
    out: Annotated[Path | None, typer.Option(help="Trace file to write; by default a new one in this folder.")] = None,
    interval_s: Annotated[float, typer.Option(help="Sampling interval, seconds.")] = 0.1,
    figure: Annotated[Path | None, typer.Option(help="Also draw the timeline (.png, .svg or .pdf).")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write every sample as CSV.")] = None,
    profile: Annotated[
        bool, typer.Option(help="Also profile some training steps of PyTorch or TensorFlow: input, operators, Python.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, the last line printed.")] = False,
) -> None:
    """Record GPU and host while any command runs, and say what held it back. Its exit code is passed through.

    `rtxbench trace compare BEFORE.trace.jsonl AFTER.trace.jsonl` says what differs between two recordings.
    """
    import secrets
    import time

    import msgspec

    from rtxbench.diagnosis.facts import recording_diagnosis
    from rtxbench.hardware.trace import load_trace
    from rtxbench.tracing.command import record_command, report_text
    from rtxbench.tracing.profile import profile_diagnosis
    from rtxbench.tracing.table import write_csv

    if _is_comparison(command):
        _compare(Path(command[1]), Path(command[2]), as_json=as_json)
        return
    _check_files(csv, figure)
    # The second alone would meet the trace of a command that was killed within it.
    path = out or Path(f"rtxbench-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}.trace.jsonl")
    report = record_command(command, path, interval_s, profile=profile)
    diagnosis = profile_diagnosis(report.profile) or recording_diagnosis(report.hardware)
    if diagnosis is not None:
        report = msgspec.structs.replace(report, cause=diagnosis.text, next_step=diagnosis.next_step)
    if csv is not None:
        write_csv(load_trace(path), report.window_ns, csv)
    if figure is not None:
        from rtxbench.report.sections.appendix.recording import save_recording

        save_recording(report, figure)
    typer.echo(msgspec.json.encode(report).decode() if as_json else f"\n{report_text(report)}", err=not as_json)
    raise typer.Exit(report.exit_code)


def _is_comparison(command: list[str]) -> bool:
    """Tell two recordings from a program that is called compare, too."""
    return command[0] == "compare" and len(command) == 3 and all(name.endswith(".jsonl") for name in command[1:])


def _compare(before: Path, after: Path, *, as_json: bool) -> None:
    import msgspec

    from rtxbench.tracing.compare import compare_traces, comparison_text

    found = compare_traces(before, after)
    typer.echo(msgspec.json.encode(found).decode() if as_json else comparison_text(found))


def _check_files(csv: Path | None, figure: Path | None) -> None:
    """Say what cannot be written before the command runs for hours, not after."""
    for asked in filter(None, (csv, figure)):
        if not asked.parent.is_dir():
            raise UsageError(
                f"there is no folder {asked.parent}.", next_step=f"Make it, or put {asked.name} elsewhere."
            )
    if figure is not None and figure.suffix not in _PICTURES:
        raise UsageError(f"{figure.name} is no picture.", next_step=f"Name it {', '.join(_PICTURES)}.")

"""``rtxbench health``, ``diff`` and ``share``: is it as fast as it should be, what differs, and a file for others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtxbench.units import format_bytes

if TYPE_CHECKING:
    from rtxbench.records import Environment

__all__ = ["diff", "health", "share"]


def health(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Results of one machine. Default: this machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say whether this machine is as fast as it should be; exit code 1 if something is low.

    Measured ceilings against paper rates, training speed against published figures of the same card, PCIe link, power
    limit, clock and temperature. Example: `rtxbench health results/my-machine`.
    """
    import msgspec

    from rtxbench.diagnosis.health import health_of, health_text
    from rtxbench.hardware.environment import describe
    from rtxbench.results.store import load_results, set_apart

    if results:
        runs = load_results(results)
        environment = runs[-1].run.environment if runs else describe()
    else:
        environment = describe()
        own = Path("results") / environment.machine
        runs = set_apart(load_results([own])) if own.is_dir() else []
    findings = health_of(environment, runs)
    if as_json:
        typer.echo(msgspec.json.encode([finding._asdict() for finding in findings]).decode())
    else:
        typer.echo("" if runs else "next: rtxbench run --profile quick (15 to 20 minutes)\n", nl=False)
        typer.echo(health_text(findings))
    if any(finding.state == "low" for finding in findings):
        raise typer.Exit(1)


def diff(
    first: Annotated[str, typer.Argument(help="Results file or folder, or `here` for this machine as it is now.")],
    second: Annotated[str, typer.Argument(help="Likewise.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Say what differs between the environments of two runs or machines, and which difference is known to matter.

    Example: `rtxbench diff results/old.jsonl here`.
    """
    import msgspec

    from rtxbench.hardware.differences import differences, differences_text

    found = differences(_environment(first), _environment(second))
    typer.echo(msgspec.json.encode(found).decode() if as_json else differences_text(found))


def _environment(place: str) -> "Environment":
    from rtxbench.errors import UsageError
    from rtxbench.hardware.environment import describe
    from rtxbench.results.store import load_results

    if place == "here":
        return describe()
    runs = load_results([Path(place)]) if Path(place).exists() else []
    if not runs:
        raise UsageError(f"no results lie under {place}.", next_step="Name a results file, a folder, or `here`.")
    return max(runs, key=lambda loaded: loaded.run.started_at).run.environment


def share(
    run: Annotated[Path, typer.Argument(help="The results file to share.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("shared"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Write one results file with nothing personal in it, after showing what it holds, and where to send it.

    Example: `rtxbench share results/my-machine/20260314T090000.jsonl`.
    """
    from rtxbench.cli.shared_file import anonymous, describe_shared, issue_address, shared_name
    from rtxbench.results.store import load_run

    shared = anonymous(load_run(run))
    typer.echo(describe_shared(shared))
    target = out / shared_name(shared)
    if not yes and not typer.confirm(f"Write {target}?"):
        raise typer.Exit(1)
    out.mkdir(parents=True, exist_ok=True)
    target.write_bytes(shared)
    typer.echo(f"wrote {target} ({format_bytes(len(shared))})\nnext: attach it to {issue_address()}")
    typer.echo(f"Others compare with it by `rtxbench report --with {target}`.")

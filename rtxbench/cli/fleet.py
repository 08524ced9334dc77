"""``rtxbench fleet``: measure on many machines of a Ray cluster, see how far that is, and what differs between them."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fleet"]

fleet = typer.Typer(help="Measure on many machines of a Ray cluster.", no_args_is_help=True, rich_markup_mode=None)

_Address = Annotated[
    str, typer.Option(help="`auto` on a node of the cluster, or HOST:PORT of its head.", envvar="RAY_ADDRESS")
]
_Environment = Annotated[
    Path | None, typer.Option(help="Requirements that each node installs for this sweep (a lock file, for example).")
]


@fleet.command("run")
def run(
    address: _Address = "auto",
    claim: Annotated[list[str] | None, typer.Option(help="Only this claim (repeatable).")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="Only this workload (repeatable).")] = None,
    profile: Annotated[str, typer.Option(help="smoke, quick, standard or full.")] = "quick",
    engine: Annotated[str, typer.Option(help="tensorflow, jax, torch or all.")] = "tensorflow",
    budget: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Time limit of one group.")] = None,
    results: Annotated[Path, typer.Option(help="Folder the records come home to.")] = Path("results"),
    environment: _Environment = None,
    share: Annotated[bool, typer.Option("--share", help="Equal machines share the cases.")] = False,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a lost machine at the end.")] = 60.0,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what an earlier sweep brought home.")] = False,
) -> None:
    """Measure the suite on every machine of the cluster, one group at a time on each; records come home once.

    Example: `rtxbench fleet run --address auto --profile standard`.
    """
    from rtxbench.fleet.board import FleetBoard
    from rtxbench.fleet.cluster import connected
    from rtxbench.fleet.jobs import Sweep
    from rtxbench.fleet.sweep import Fleet
    from rtxbench.planning.suite import check

    sweep = Sweep(
        profile=profile,
        engine=engine,
        claims=tuple(claim or ()),
        workloads=tuple(workload or ()),
        budget_s=budget,
    )
    check(sweep.request)
    try:
        with connected(address, environment) as cluster, FleetBoard() as board:
            outcome = Fleet(
                cluster, sweep, results, resume=resume, share=share, patience_s=patience, told=board.told
            ).run()
    except KeyboardInterrupt:
        typer.secho(f"rtxbench: interrupted; what came home is kept in {results}/. Go on with --resume.", err=True)
        raise typer.Exit(130) from None
    for line in (*outcome.failed, *(f"{left}: not measured, its machine is gone" for left in outcome.left)):
        typer.echo(line, err=True)
    typer.echo(f"{outcome.done} jobs are home in {results}/.\nnext:    rtxbench report {results} --open")
    if outcome.failed or outcome.left:
        typer.echo("Run it again with --resume to measure what is missing.", err=True)
        raise typer.Exit(4)


@fleet.command("doctor")
def doctor(address: _Address = "auto", environment: _Environment = None) -> None:
    """Say what differs between the machines of the cluster, and which difference is known to matter."""
    from rtxbench.fleet.checkup import checkup_lines
    from rtxbench.fleet.cluster import connected

    with connected(address, environment) as cluster:
        typer.echo("\n".join(checkup_lines(cluster)))


@fleet.command("status")
def status(
    address: _Address = "auto",
    results: Annotated[Path, typer.Option(help="Folder the records come home to.")] = Path("results"),
) -> None:
    """List the cluster's machines, which of them is busy, and what the sweeps in a results folder have brought home."""
    from rtxbench.fleet.checkup import status_lines
    from rtxbench.fleet.cluster import connected

    with connected(address) as cluster:
        typer.echo("\n".join(status_lines(cluster, results)))

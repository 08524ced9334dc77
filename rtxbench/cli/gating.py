"""The gate's subcommands: ``rtxbench gate``, ``selftest`` and ``history``. Each imports what it needs when called."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["gate", "history", "selftest"]

_Margins = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[[CASE/]WHAT=]RATIO",
        help="Increase that must not go through: 5%, peak-memory=3%, train:bert/first-step=50%; repeatable.",
    ),
]

_Cases = Annotated[
    list[str] | None,
    typer.Option(help="module:function that returns a step; repeatable (default: those in pyproject.toml)."),
]
_Pool = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Spread launches over the equal machines of this Ray cluster.")
]


def gate(
    baseline: Annotated[str, typer.Option(help="Revision, folder, or A...B for a merge base.")],
    candidate: Annotated[str, typer.Option(help="Revision or folder; '.' is the folder as it is.")] = ".",
    cases: _Cases = None,
    margin: _Margins = None,
    evidence: Annotated[float | None, typer.Option(help="e-value that fails a case (default 100).")] = None,
    budget: Annotated[str | None, typer.Option(help="Time to spend at most (default 10m).")] = None,
    python: Annotated[str | None, typer.Option(help="Interpreter of both arms.")] = None,
    baseline_python: Annotated[str | None, typer.Option(help="Interpreter of the baseline alone.")] = None,
    candidate_python: Annotated[str | None, typer.Option(help="Interpreter of the candidate alone.")] = None,
    install: Annotated[
        bool | None, typer.Option("--install/--no-install", help="Environments: always, never (default: if needed).")
    ] = None,
    profile: Annotated[str, typer.Option(help="Length of a launch: standard, gpu, quick or smoke.")] = "standard",
    extra: Annotated[list[str] | None, typer.Option(help="Extra of the project to install too; repeatable.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the outcome as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary for a pull request.")] = None,
    results: Annotated[Path, typer.Option(help="Folder for records.")] = Path(".rtxbench"),
    history: Annotated[bool, typer.Option(help="Add the outcome to this machine's history.")] = False,
    recorder: Annotated[bool, typer.Option(help="Watch the hardware while measuring.")] = True,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Refuse if another rtxbench measures here.")] = False,
    pool: _Pool = None,
) -> None:
    """Is the candidate slower, or does it need more? Exit code 0 pass, 1 regression, 6 inconclusive."""
    from rtxbench.gate import runner
    from rtxbench.gate.launching import gate_profile
    from rtxbench.gate.settings import Asked
    from rtxbench.hardware.machine_lock import measuring_alone

    request = runner.GateRequest(
        baseline=baseline,
        candidate=candidate,
        asked=Asked(tuple(cases or ()), tuple(margin or ()), evidence, budget),
        baseline_python=baseline_python or python,
        candidate_python=candidate_python or python,
        install=install,
        extras=tuple(extra or ()),
        results_dir=results,
        history=history,
        record_hardware=recorder,
        json_path=json,
        markdown_path=markdown,
        profile=gate_profile(profile),
        pool=pool,
    )
    # Each machine of a pool holds its own lock, this one too if it is of the pool.
    alone = measuring_alone(lambda text: typer.echo(f"rtxbench: {text}", err=True), wait=not no_wait)
    with nullcontext() if pool else alone:
        raise typer.Exit(runner.gate(request))


selftest = typer.Typer(help="Does rtxbench itself keep its promises on this machine?", invoke_without_command=True)


@selftest.command("gate")
def selftest_gate(
    gates: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PLANTED=]N",
            help="Gates to run: 20 (unplanted), 5%=10, peak-memory=5%=3, first-step=50%=3; repeatable.",
        ),
    ] = None,
    case: Annotated[str | None, typer.Option(help="module:function to gate against itself.")] = None,
    profile: Annotated[str, typer.Option(help="Length of a launch: standard, gpu, quick or smoke.")] = "standard",
    replay: Annotated[list[Path] | None, typer.Option(help="Measure nothing: sum up these results.")] = None,
    replayed: Annotated[int, typer.Option(min=1, help="Gates to replay from the launches on record.")] = 1000,
    results: Annotated[Path, typer.Option(help="Folder of the records; a self-test found there goes on.")] = Path(
        "results"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON instead of a table.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Draw the rates (.png or .svg).")] = None,
    simulate: Annotated[
        int | None, typer.Option(min=100, help="Measure nothing: simulate N gates a row, the former rule beside this.")
    ] = None,
) -> None:
    """Run gates on unchanged code and on planted slow-downs; append each, then show false alarms and power."""
    import msgspec
    from rich.console import Console

    from rtxbench.gate import selftest as module
    from rtxbench.gate import tables
    from rtxbench.gate.launching import gate_profile
    from rtxbench.gate.runner import parse_plan

    if simulate is not None:
        Console().print(tables.render_rules(simulate), tables.render_pool(simulate))
        return
    if replay:
        rows = module.replay_files(replay, replayed)
    else:
        plan = parse_plan(gates) if gates else dict(module.DEFAULT_PLAN)
        request = module.SelftestRequest(
            plan=plan, case=case, results_dir=results, profile=gate_profile(profile), replayed=replayed
        )
        rows, path = module.run_selftest(request, lambda line: typer.echo(line, err=True))
        typer.echo(f"records: {path}", err=True)
    if as_json:
        typer.echo(msgspec.json.encode(rows))
    else:
        Console().print(tables.render_rows(rows))
    if figure:
        from rtxbench.report.drawing.gate import save_rates

        save_rates(rows, figure)


@selftest.command("statistics")
def selftest_statistics(
    gates: Annotated[int, typer.Option(min=100, help="Simulated gates per regime and slow-down.")] = 1000,
    verdicts: Annotated[int, typer.Option(min=100, help="Simulated verdicts per regime, rule and true ratio.")] = 2000,
) -> None:
    """Simulate: how often verdicts and gates are false or right, in mild and in hard regimes of noise."""
    from rich.console import Console

    from rtxbench.gate.tables import render_simulation
    from rtxbench.verdicts.statistics.simulation import render_verdict_table

    Console().print(render_verdict_table(verdicts), *render_simulation(gates))


def history(
    results: Annotated[list[Path] | None, typer.Argument(help="Results files or folders.")] = None,
    case: Annotated[str | None, typer.Option(help="Only this case.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only points against this commit.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the series as JSON.")] = False,
) -> None:
    """Show how step time moved over commits, and at which commits its level changed."""
    from rtxbench.gate.tables import show_history

    show_history(results or [], case, reference, as_json=as_json)

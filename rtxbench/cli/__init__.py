"""The ``rtxbench`` command: one thin function per subcommand, each importing what it needs when it is called.

No work is done here: a command reads its options, calls a room and prints.
"""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from rtxbench import __version__
from rtxbench.cli.buying import advise
from rtxbench.cli.card import selftest_gpu
from rtxbench.cli.checkup import doctor
from rtxbench.cli.fleet import fleet
from rtxbench.cli.gating import gate, history, selftest
from rtxbench.cli.planning import plan
from rtxbench.cli.querying import export, query, site
from rtxbench.cli.robustness import (
    selftest_hostile,
    selftest_kills,
    selftest_load,
    selftest_payloads,
    selftest_promises,
)
from rtxbench.cli.sharing import diff, health, share
from rtxbench.cli.tracing import trace
from rtxbench.exits import exit_codes
from rtxbench.report.command import report_command

__all__ = ["app", "main"]

app = typer.Typer(
    name="rtxbench",
    help="Is what is said about training on NVIDIA RTX cards true on this machine, and which card to buy?",
    epilog="Start here: `rtxbench doctor`, then `rtxbench run --profile quick`, then `rtxbench report --open`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help costs a third of the start
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


_Model = Annotated[
    str | None, typer.Option(metavar="FILE.PY:FUNCTION", help="Measure your own model instead of the suite's.")
]
_Engine = Annotated[
    str | None, typer.Option(help="tensorflow (default), jax, torch or all; of your own model: what it imports.")
]
_Logical = Annotated[int, typer.Option(metavar="N", help="Also check data parallelism on N logical CPU devices.")]
_Search = Annotated[
    bool, typer.Option("--search", help="Find the fastest setting of --model that trains to the same loss.")
]


_Nodes = Annotated[
    str,
    typer.Option(
        metavar="launcher|HOST:PORT",
        help="One job over several machines: those of torchrun, srun or TF_CONFIG, or of a Ray cluster.",
    ),
]
_NodesWait = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long the other nodes are waited for.")]
_Form = Annotated[str, typer.Option(help="On torch: native, or keras for Keras's layers on it.")]


@app.command()
def run(
    claim: Annotated[list[str] | None, typer.Option(help="Only this claim (repeatable).")] = None,
    file: Annotated[Path | None, typer.Option(help="Measure the claims of your own file (TOML).")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="Only this workload (repeatable).")] = None,
    model: _Model = None,
    profile: Annotated[str, typer.Option(help="smoke, quick, standard or full.")] = "quick",
    engine: _Engine = None,
    compiler: Annotated[list[str] | None, typer.Option(help="none, xla or inductor (repeatable).")] = None,
    form: _Form = "native",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Global batch size instead of the default.")] = None,
    budget: Annotated[float | None, typer.Option(min=1, metavar="SECONDS", help="Time limit of one group.")] = None,
    logical_devices: _Logical = 0,
    results: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("results"),
    search: _Search = False,
    nodes: _Nodes = "",
    nodes_wait: _NodesWait = 120.0,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what an earlier run finished.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Refuse if another rtxbench measures here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON instead of a table.")] = False,
) -> None:
    """Measure training throughput and store the records.

    Profiles: smoke 10 s (no verdict), quick 15 to 20 min. Example: `rtxbench run --claim tensor-cores`.
    """
    from rtxbench.cli.running import run_plan
    from rtxbench.measure.groups import Request
    from rtxbench.measure.profiles import profile_named

    request = Request(
        profile=profile,
        model=model,
        engine=engine or ("" if model else "tensorflow"),
        claims=tuple(claim or ()),
        claims_file=file,
        workloads=tuple(workload or ()),
        compilers=tuple(compiler or ()),
        form=form,
        logical_devices=logical_devices,
        batch_size=batch_size,
        search=search,
        nodes=nodes,
        nodes_wait_s=nodes_wait,
    )
    chosen = profile_named(profile) if budget is None else profile_named(profile).with_budget(budget)
    try:
        path = run_plan(request, chosen, results, sys.argv, resume=resume, quiet=as_json, wait=not no_wait)
    except KeyboardInterrupt:  # Typer would say no more than "Aborted!"
        typer.secho(f"rtxbench: interrupted; finished cases are kept in {results}/. Go on with --resume.", err=True)
        raise typer.Exit(130) from None
    _print_run(path, as_json=as_json)


def _print_run(path: Path | None, *, as_json: bool) -> None:
    from rtxbench.cli.running import closing_lines

    if path is not None:  # a node that only lent its ranks has none
        typer.echo(path.read_text(encoding="utf-8").rstrip() if as_json else "\n".join(closing_lines(path)))


app.command(name="report")(report_command)


@app.command()
def claims(
    claim_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this claim, in full.")] = None,
    file: Annotated[Path | None, typer.Option(help="A claims file of your own (TOML) instead of the suite's.")] = None,
    results: Annotated[list[Path] | None, typer.Option(help="Judge these results (files or folders).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print a claims file to start from.")] = False,
) -> None:
    """List the claims, judge them on results, or check a claims file of your own."""
    from rtxbench.results.store import load_results, set_apart
    from rtxbench.verdicts.claims import TEMPLATE, load_claims, select_claims
    from rtxbench.verdicts.external_evidence import known_elsewhere
    from rtxbench.verdicts.judge import judge
    from rtxbench.verdicts.listing import claims_json, claims_text

    if template:
        typer.echo(TEMPLATE, nl=False)
        return
    every = load_claims(file)
    chosen = select_claims(every, claim_id)
    known = {claim.id for claim in chosen}
    runs = set_apart(load_results(results)) if results else []
    verdicts = [verdict for verdict in (judge(runs, every) if runs else []) if verdict.claim in known]
    if as_json:
        typer.echo(claims_json(chosen, verdicts, known_elsewhere(chosen, runs)))
    elif claim_id is not None:
        typer.echo(claims_text(chosen, verdicts, detailed=True, elsewhere=known_elsewhere(chosen, runs)))
    else:
        typer.echo(claims_text(chosen, verdicts))


@app.command()
def cards(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this card, in full.")] = None,
    cards_file: Annotated[Path | None, typer.Option(help="A CSV file with cards of your own.")] = None,
    header: Annotated[bool, typer.Option("--header", help="Print the columns of a cards file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the catalogue of cards, or one card with its sources and what of it is unverified."""
    from rtxbench.catalog.cards import COLUMNS, find_card, load_cards
    from rtxbench.catalog.cards_text import card_text, cards_json, cards_table, host_lines
    from rtxbench.hardware.environment import cpu, gpus

    if header:
        typer.echo(",".join(COLUMNS))
        return
    known = load_cards(cards_file)
    chosen = list(known.values()) if name is None else [find_card(name, known)]
    if as_json:
        typer.echo(cards_json(chosen))
    else:
        here = f"{cards_table(known)}\n{host_lines(cpu(), gpus({}), known)}" if name is None else card_text(chosen[0])
        typer.echo(here)


@app.command()
def merge(
    results: Annotated[list[Path], typer.Argument(help="Results files or folders, from any machine.")],
    out: Annotated[Path, typer.Option(help="Folder that gets results/<machine>/<run>.jsonl.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Bring results from several machines into one folder: each run once, machines apart, nothing overwritten."""
    import msgspec

    from rtxbench.results.merge import merge_results

    merged = merge_results(results, out)
    if as_json:
        typer.echo(msgspec.json.encode(msgspec.to_builtins(merged, enc_hook=str)))
        return
    for path in merged.written:
        typer.echo(f"wrote      {path}")
    for path in merged.present:
        typer.echo(f"there      {path}")
    for path in merged.duplicates:
        typer.echo(f"duplicate  {path}")
    typer.echo(f"{len(merged.written)} runs of {len(merged.machines)} machines\nnext:      rtxbench report {out}")


app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(trace)
app.command()(doctor)
app.command()(health)
app.command()(diff)
app.command()(share)
app.command()(export)
app.command()(query)
app.command()(site)
app.command(name="gate")(gate)
app.command(name="advise")(advise)
selftest.callback()(selftest_promises)
selftest.command("hostile")(selftest_hostile)
selftest.command("kills")(selftest_kills)
selftest.command("payloads")(selftest_payloads)
selftest.command("load")(selftest_load)
selftest.command("gpu")(selftest_gpu)
app.add_typer(selftest, name="selftest")
app.add_typer(fleet, name="fleet")
app.command(name="history")(history)
app.command(name="plan")(plan)


_IN_SHORT: Final = {
    "report": "Write the report on this machine as one page.",
    "claims": "List the claims, or judge them on results.",
    "cards": "List the catalogue of cards, or one with its sources.",
    "merge": "Bring results of several machines into one folder.",
    "trace": "Record GPU and host while any command runs.",
    "doctor": "Say what keeps training off the card, and what to do.",
    "health": "Say whether this machine is as fast as it should be.",
    "diff": "Say what differs between two runs or machines.",
    "share": "Write one results file with nothing personal in it.",
    "export": "Write results as Parquet.",
    "site": "Write static pages for many machines.",
    "gate": "Say whether a commit trains slower or needs more.",
    "advise": "Say which card to buy.",
    "history": "Show how step time moved over commits.",
    "plan": "Say what a run would measure, and how long.",
    "fleet": "Measure on many machines of a Ray cluster.",
}
"""Command → its line in the list of commands, where its own first sentence is too long for 80 columns."""

for _command in app.registered_commands:
    _name = _command.name or (_command.callback.__name__ if _command.callback else "")
    _command.short_help = _IN_SHORT.get(_name)


def main() -> None:
    """Run the command line; deliberate errors become one message and their exit code."""
    with exit_codes():
        app()

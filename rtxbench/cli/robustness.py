"""``rtxbench selftest hostile``, ``kills`` and ``load``: mutated files, killed processes, many records."""

from typing import Annotated, Final

import typer

__all__ = ["selftest_hostile", "selftest_kills", "selftest_load", "selftest_payloads", "selftest_promises"]

_MARKS: Final[dict[bool | None, str]] = {True: "holds ", False: "BROKEN", None: "  --  "}


def selftest_promises(context: typer.Context) -> None:
    """Ask every self-test in its quick form (a minute or two) and say what holds on this machine."""
    if context.invoked_subcommand is not None:
        return
    from rtxbench.exits import FAULT
    from rtxbench.robustness.promises import PROMISES, ask

    answers = []
    for promise in PROMISES:
        held = ask(promise)
        answers.append(held.holds)
        typer.echo(f"{_MARKS[held.holds]}  {promise.title}: {held.sentence}")
        if held.holds is False:
            typer.echo(f"        Look closer: {promise.long_form}")
    untried = f", {answers.count(None)} could not be tried" if None in answers else ""
    typer.echo(
        f"{answers.count(True)} of {len(answers)} promises hold here{untried}; docs/reliability.md has the long forms."
    )
    if False in answers:
        raise typer.Exit(FAULT)


def selftest_hostile(
    mutants: Annotated[int, typer.Option(min=1, help="How many mutants of a real results file.")] = 300,
    first: Annotated[int, typer.Option(min=0, help="Number of the first; the same number is the same mutant.")] = 0,
    reader: Annotated[
        list[str] | None, typer.Option(help="Only this reader (repeatable): load, claims, merge, report …")
    ] = None,
    lines: Annotated[int | None, typer.Option(min=1, help="Records per mutant; all kinds where left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Send mutated results files through every reader: each must answer or refuse in one sentence, never break."""
    import msgspec
    from rich.progress import Progress

    from rtxbench.exits import FAULT
    from rtxbench.lookup import named
    from rtxbench.robustness.readers import READERS, send_mutants

    chosen = tuple(reader or READERS)
    for name in chosen:
        named(READERS, name, "reader")
    with Progress(disable=as_json) as progress:
        task = progress.add_task("mutants", total=mutants)
        outcome = send_mutants(
            range(first, first + mutants),
            chosen,
            most_lines=lines,
            progress=lambda done: progress.update(task, completed=done),
        )
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        for name in chosen:
            answered, refused = outcome.answered.get(name, 0), outcome.refused.get(name, 0)
            typer.echo(f"{name:8} {answered:8} answered {refused:8} refused {mutants - answered - refused:4} faults")
        for fault in outcome.faults[:20]:
            typer.echo(f"fault: mutant {fault.mutant}, {fault.reader}: {fault.where}", err=True)
    if outcome.faults:
        raise typer.Exit(FAULT)


def selftest_payloads(
    files: Annotated[int, typer.Option(min=1, help="How many results files with code in their texts.")] = 20,
    first: Annotated[int, typer.Option(min=0, help="Number of the first; the same number is the same file.")] = 0,
    browser: Annotated[str, typer.Option(help="Program to open the pages with; a Chromium is looked for.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Open reports of poisoned results files in a real browser: nothing of what strangers wrote may run there."""
    import msgspec
    from rich.progress import Progress

    from rtxbench.exits import FAULT
    from rtxbench.robustness.payloads import find_browser, open_poisoned
    from rtxbench.robustness.readers import write_page

    with Progress(disable=as_json) as progress:
        task = progress.add_task("files", total=files)
        outcome = open_poisoned(
            range(first, first + files),
            write_page,
            find_browser(browser),
            progress=lambda done: progress.update(task, completed=done),
        )
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        typer.echo(f"{outcome.pages} pages with {outcome.payloads} payloads opened: {len(outcome.executed)} executed")
    if outcome.executed:
        raise typer.Exit(FAULT)


def selftest_kills(
    kills: Annotated[int, typer.Option(min=1, help="How many commands to kill.")] = 10,
    first: Annotated[int, typer.Option(min=0, help="Number of the first; the same number is the same trial.")] = 0,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Only this command (repeatable): trace, merge, report, gate, run, bench.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line per trial.")] = False,
) -> None:
    """Kill commands at random moments: no finished record may be lost and no process left behind."""
    import msgspec
    from rich.progress import track

    from rtxbench.exits import FAULT
    from rtxbench.lookup import named
    from rtxbench.robustness.kills import kill_trials
    from rtxbench.robustness.scenarios import SCENARIOS

    chosen = tuple(scenario or SCENARIOS)
    for name in chosen:
        named(SCENARIOS, name, "scenario")
    trials = []
    numbers = range(first, first + kills)
    for trial in track(kill_trials(numbers, chosen), "killing", total=kills, disable=as_json):
        trials.append(trial)
        if as_json:
            typer.echo(msgspec.json.encode(trial).decode())
        for problem in trial.problems:
            typer.echo(f"trial {trial.number}, {trial.scenario} {' '.join(trial.signals)}: {problem}", err=True)
    hit = sum(bool(trial.signals) for trial in trials)
    bad = sum(bool(trial.problems) for trial in trials)
    if not as_json:
        typer.echo(f"{len(trials)} commands, {hit} of them killed before they ended; {bad} with a problem")
    if bad:
        raise typer.Exit(FAULT)


def selftest_load(
    size: Annotated[
        list[int] | None, typer.Option(min=1, help="Records (repeatable). Default: 1,000 to 100,000.")
    ] = None,
    machines: Annotated[int, typer.Option(min=1, help="How many machines they are of.")] = 4,
    command: Annotated[
        list[str] | None, typer.Option(help="Only this command (repeatable): claims, report, query.")
    ] = None,
    tables: Annotated[
        bool, typer.Option("--tables", help="Measure `report` and `query` on exported Parquet; 1,000,000 and more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line a measurement.")] = False,
) -> None:
    """Measure how judging and the report grow with the number of records: time, memory, size of the page.

    The records are made up, in a temporary folder. Wall time counts where nothing else runs; compare processor time.
    """
    import tempfile
    from pathlib import Path

    import msgspec

    from rtxbench.lookup import named
    from rtxbench.robustness.load import COMMANDS, load_curve

    chosen = tuple(command or (("report", "query") if tables else ("claims", "report")))
    for name in chosen:
        named(COMMANDS, name, "command")
    sizes = size or ((1_000_000, 10_000_000) if tables else (1_000, 10_000, 100_000))
    if not as_json:
        typer.echo("command     records machines  input MB   wall s    CPU s  peak MiB  page kB")
    with tempfile.TemporaryDirectory() as folder:
        for point in load_curve(sizes, chosen, Path(folder), machines, tables=tables):
            if as_json:
                typer.echo(msgspec.json.encode(point._asdict()).decode())
                continue
            page = "" if point.page_bytes is None else f"{point.page_bytes / 1e3:.0f}"
            typer.echo(
                f"{point.command:8} {point.records:10} {point.machines:8} {point.input_bytes / 1e6:9.1f} "
                f"{point.wall_s:8.1f} {point.cpu_s:8.1f} {point.peak_bytes / 2**20:9.0f} {page:>8}"
            )

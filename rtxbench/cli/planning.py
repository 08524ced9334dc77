"""``rtxbench plan``: what a run would measure, on this machine or with a card one does not own."""

from typing import Annotated

import typer

__all__ = ["plan"]


def plan(
    card: Annotated[str | None, typer.Option(help="A card of the catalogue, such as 'RTX 4070'.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many of it.")] = 1,
    memory: Annotated[float | None, typer.Option(min=1, help="GiB of each, for a laptop's edition.")] = None,
    profile: Annotated[str, typer.Option(help="smoke, quick, standard or full.")] = "quick",
    engine: Annotated[str, typer.Option(help="tensorflow, jax, torch or all.")] = "tensorflow",
    claim: Annotated[list[str] | None, typer.Option(help="Only this claim (repeatable).")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="With --nodes: this workload (repeatable).")] = None,
    nodes: Annotated[int, typer.Option(min=2, help="One job over so many ranks, one on each machine.")] = 2,
    link: Annotated[
        str | None, typer.Option(metavar="SPEED", help="Predict what --nodes gain over a link such as 10Gbit.")
    ] = None,
) -> None:
    """Say what `rtxbench run` would measure: groups, arms, memory and time, all predicted. Nothing is started."""
    from dataclasses import replace

    from rtxbench.catalog.cards import find_card, load_cards
    from rtxbench.diagnosis.scaling import link_named
    from rtxbench.hardware.environment import cpu, describe
    from rtxbench.measure.groups import Request
    from rtxbench.measure.profiles import profile_named
    from rtxbench.planning.imagined import environment_with, machine_of, plan_text, refused_engines
    from rtxbench.planning.nodes import link_lines, node_groups
    from rtxbench.planning.suite import plan as plan_of

    request = Request(profile=profile, engine=engine, claims=tuple(claim or ()))
    bytes_each = None if memory is None else int(memory * 2**30)
    if card is None:
        environment = describe()
    else:
        environment = environment_with(find_card(card, load_cards()), count, cpu(), bytes_each)
    if link is not None:
        wanted = replace(request, workloads=tuple(workload or ()))
        groups = node_groups(wanted, environment, nodes)
        typer.echo("\n".join(link_lines(groups, machine_of(environment), link_named(link))))
        return
    groups = plan_of(request, environment, refused_engines(environment))
    typer.echo(plan_text(groups, environment, profile_named(profile)))

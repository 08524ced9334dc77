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
) -> None:
    """Say what `rtxbench run` would measure: groups, arms, memory and time, all predicted. Nothing is started."""
    from rtxbench.catalog.cards import find_card, load_cards
    from rtxbench.hardware.environment import cpu, describe
    from rtxbench.measure.groups import Request
    from rtxbench.measure.profiles import profile_named
    from rtxbench.planning.imagined import environment_with, plan_text, refused_engines
    from rtxbench.planning.suite import plan as plan_of

    request = Request(profile=profile, engine=engine, claims=tuple(claim or ()))
    bytes_each = None if memory is None else int(memory * 2**30)
    if card is None:
        environment = describe()
    else:
        environment = environment_with(find_card(card, load_cards()), count, cpu(), bytes_each)
    groups = plan_of(request, environment, refused_engines(environment))
    typer.echo(plan_text(groups, environment, profile_named(profile)))

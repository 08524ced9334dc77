"""``rtxbench doctor``: what keeps training off the card, and whether the machine is as fast as it should be.

Both judges are asked here, in the command line's layer: the doctor knows installations and no measurement, the
diagnosis knows measurements and no installation.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtxbench.diagnosis.health import HealthFinding

__all__ = ["doctor"]

_NO_RECORDS = "[ -- ] Speed: not measured here yet. After a run, `rtxbench health` says whether it is as it should be."


def doctor(
    engine: Annotated[str | None, typer.Option(help="Judge by what this engine needs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what was found, what keeps training off the card, what to install, and whether the machine is fast enough.

    Exit code 3 if there is a fault; a slow machine is a warning, and `rtxbench health` has all of its figures.
    """
    import msgspec

    from rtxbench.diagnosis.health import health_sentence
    from rtxbench.doctor.checks import as_text, examine
    from rtxbench.doctor.installation import inspect_installation
    from rtxbench.lookup import named

    if engine is not None:
        named(dict.fromkeys(("tensorflow", "jax", "torch")), engine, "engine")
    findings = examine(inspect_installation(), engine)
    health = _health_here()
    if as_json:
        sentence = None if health is None else health_sentence(health)
        points = None if health is None else [finding._asdict() for finding in health]
        said = {"findings": findings, "health_sentence": sentence, "health": points}
        typer.echo(msgspec.json.encode(said).decode())
    else:
        typer.echo(as_text(findings, engine, also=_health_lines(health)))
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(3)


def _health_here() -> "tuple[HealthFinding, ...] | None":
    """Judge this machine by its own records; ``None`` where there are none that can be read."""
    from rtxbench.diagnosis.health import health_of
    from rtxbench.hardware.environment import describe
    from rtxbench.results.store import load_readable, set_apart

    environment = describe()
    own = Path("results") / environment.machine
    runs = set_apart(load_readable([own])[0]) if own.is_dir() else []  # a broken file is the report's to name
    return health_of(environment, runs) if runs else None


def _health_lines(health: "Sequence[HealthFinding] | None") -> list[str]:
    """Write each low point with its cure, or that there is none."""
    from rtxbench.diagnosis.health import health_sentence

    if health is None:
        return [_NO_RECORDS]
    low = [finding for finding in health if finding.state == "low"]
    lines = [] if low else [f"[ ok ] Speed: {health_sentence(health)}"]
    for finding in low:
        lines.append(f"[warn] Speed, {finding.subject}: {finding.text}")
        lines += [f"       → {finding.next_step}"] if finding.next_step else []
    return lines

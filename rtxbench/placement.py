"""Where a case's training step runs."""

from dataclasses import dataclass
from typing import Final

from rtxbench.errors import UsageError

__all__ = ["PLACEMENTS", "Placement", "placement_named"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One row of `PLACEMENTS`."""

    name: str
    device_kind: str
    """cpu or gpu: which default batch sizes and precisions apply."""
    isolated: bool
    """Whether each arm needs a worker process of its own (two distribution strategies poison one process)."""
    description: str


PLACEMENTS: Final[dict[str, Placement]] = {
    row.name: row
    for row in (
        Placement(name="cpu", device_kind="cpu", isolated=False, description="the host processor"),
        Placement(name="gpu", device_kind="gpu", isolated=False, description="one GPU"),
        Placement(
            name="mirrored",
            device_kind="gpu",
            isolated=True,
            description="MirroredStrategy over several GPUs: one replica each, gradients all-reduced",
        ),
        Placement(
            name="mirrored-logical",
            device_kind="cpu",
            isolated=True,
            description="MirroredStrategy over logical CPU devices: a functional check, never evidence of scaling",
        ),
    )
}


def placement_named(name: str) -> Placement:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return PLACEMENTS[name]
    except KeyError:
        raise UsageError(f"unknown placement {name!r}.", next_step=f"Choose one of: {', '.join(PLACEMENTS)}.") from None

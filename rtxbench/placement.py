"""Where a case's training step runs."""

from dataclasses import dataclass
from typing import Final

from rtxbench.lookup import named

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
    all_reduces: bool = False
    """Whether every step sums the gradients of all devices: what data parallelism pays."""
    engines: tuple[str, ...] = ("tensorflow", "jax", "torch")
    """Engines that have this way of running."""


PLACEMENTS: Final[dict[str, Placement]] = {
    row.name: row
    for row in (
        Placement(name="cpu", device_kind="cpu", isolated=False, description="the host processor"),
        Placement(name="gpu", device_kind="gpu", isolated=False, description="one GPU"),
        Placement(
            name="mirrored",
            device_kind="gpu",
            engines=("tensorflow",),
            isolated=True,
            all_reduces=True,
            description="MirroredStrategy over several GPUs: one replica each, gradients all-reduced",
        ),
        Placement(
            name="mirrored-logical",
            device_kind="cpu",
            engines=("tensorflow",),
            isolated=True,
            all_reduces=True,
            description="MirroredStrategy over logical CPU devices: a functional check, never evidence of scaling",
        ),
        Placement(
            name="data-parallel",
            device_kind="gpu",
            engines=("jax",),
            isolated=True,
            all_reduces=True,
            description="keras.distribution.DataParallel: one compiled program over several GPUs, the batch split",
        ),
        Placement(
            name="data-parallel-logical",
            device_kind="cpu",
            engines=("jax",),
            isolated=True,
            all_reduces=True,
            description="data-parallel over logical CPU devices: a functional check, never evidence of scaling",
        ),
        Placement(
            name="model-parallel",
            device_kind="gpu",
            engines=("jax",),
            isolated=True,
            description="keras.distribution.ModelParallel: every large variable split over several GPUs",
        ),
        Placement(
            name="model-parallel-logical",
            device_kind="cpu",
            engines=("jax",),
            isolated=True,
            description="model-parallel over logical CPU devices: a functional check, never evidence of scaling",
        ),
        Placement(
            name="ddp",
            device_kind="gpu",
            engines=("torch",),
            isolated=True,
            all_reduces=True,
            description="DistributedDataParallel: one process per GPU, gradients all-reduced",
        ),
        Placement(
            name="ddp-logical",
            device_kind="cpu",
            engines=("torch",),
            isolated=True,
            all_reduces=True,
            description="ddp over CPU processes: a functional check, never evidence of scaling",
        ),
    )
}


def placement_named(name: str) -> Placement:
    """The row of that name.

    Raises:
        UsageError: there is none.
    """
    return named(PLACEMENTS, name, "placement")

"""Placements: the devices a case's training step runs on, and how it is spread over them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from rtxbench.errors import UnavailableError
from rtxbench.lookup import named

__all__ = ["PLACEMENTS", "Placement", "batch_sharing_placement", "is_functional_check", "placement_named"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One row of `PLACEMENTS`."""

    name: str
    strategy: str
    """Way in which work is spread over devices. An engine dispatches on it and refuses one that it does not know."""
    device_kind: str
    """cpu or gpu: which default batch sizes and precisions apply."""
    engines: tuple[str, ...] = ()
    """Engines that carry out the strategy; empty: every engine does."""
    all_reduces: bool = False
    """Every step sums the gradients of all devices: the price of data parallelism."""
    over_network: bool = False
    """Its ranks are processes on several machines; a network of CPU nodes is a real one, and no functional check."""
    functional_check: bool = False
    """The devices are logical shares of one processor: proof that the code runs, never evidence of speed."""

    def runs_on(self, engine: str) -> bool:
        """Return whether the engine carries out this placement's strategy."""
        return not self.engines or engine in self.engines

    @property
    def isolated(self) -> bool:
        """Return whether each arm needs a worker process of its own: two distribution strategies poison one process."""
        return self.strategy != "single"


def _over_network(name: str, engine: str) -> tuple[Placement, Placement]:
    """Return the rows of one engine's data parallelism over several machines: one rank per GPU, or one per CPU."""
    on_gpus = Placement(
        name=name, strategy=name, device_kind="gpu", engines=(engine,), all_reduces=True, over_network=True
    )
    return on_gpus, replace(on_gpus, name=f"{name}-cpu", device_kind="cpu")


def _with_functional_check(row: Placement) -> tuple[Placement, Placement]:
    """Pair a multi-GPU placement with the one that checks it on logical devices of one CPU."""
    return row, replace(row, name=f"{row.name}-logical", device_kind="cpu", functional_check=True)


PLACEMENTS: Final[Mapping[str, Placement]] = MappingProxyType(
    {
        row.name: row
        for row in (
            Placement(name="cpu", strategy="single", device_kind="cpu"),
            Placement(name="gpu", strategy="single", device_kind="gpu"),
            # MirroredStrategy: one replica per GPU.
            *_with_functional_check(
                Placement(
                    name="mirrored", strategy="mirrored", device_kind="gpu", engines=("tensorflow",), all_reduces=True
                )
            ),
            # keras.distribution.DataParallel: one compiled program over all GPUs, the batch split.
            *_with_functional_check(
                Placement(
                    name="data-parallel",
                    strategy="data-parallel",
                    device_kind="gpu",
                    engines=("jax",),
                    all_reduces=True,
                )
            ),
            # keras.distribution.ModelParallel: every large variable split over all GPUs.
            *_with_functional_check(
                Placement(name="model-parallel", strategy="model-parallel", device_kind="gpu", engines=("jax",))
            ),
            # DistributedDataParallel: one process per GPU.
            *_with_functional_check(
                Placement(name="ddp", strategy="ddp", device_kind="gpu", engines=("torch",), all_reduces=True)
            ),
            # Several machines: DistributedDataParallel, jax.distributed with DataParallel, MultiWorkerMirroredStrategy.
            *_over_network("ddp-nodes", "torch"),
            *_over_network("data-parallel-nodes", "jax"),
            *_over_network("multi-worker", "tensorflow"),
        )
    }
)


def placement_named(name: str) -> Placement:
    """Look up a placement by name.

    Raises:
        UsageError: there is none of that name.
    """
    return named(PLACEMENTS, name, "placement")


def is_functional_check(name: str) -> bool:
    """Return whether a placement proves only that the code runs; false for a name this version lacks."""
    row = PLACEMENTS.get(name)
    return row is not None and row.functional_check


def batch_sharing_placement(
    engine: str, *, functional_check: bool = False, over_network: bool = False, device_kind: str | None = None
) -> str:
    """Name the placement by which an engine shares one batch over several devices.

    Args:
        engine: that trains.
        functional_check: on logical devices of one processor.
        over_network: on several machines.
        device_kind: cpu or gpu, where both can.

    Raises:
        UnavailableError: the engine has none.
    """
    for row in PLACEMENTS.values():
        wanted = (functional_check, over_network) == (row.functional_check, row.over_network)
        if wanted and row.runs_on(engine) and row.all_reduces and device_kind in (None, row.device_kind):
            return row.name
    able = {name for row in PLACEMENTS.values() if row.all_reduces for name in row.engines}
    raise UnavailableError(
        f"{engine} cannot share a batch over devices.",
        next_step=f"Choose one of: {', '.join(sorted(able))}.",
    )

"""A training step over several nodes, as the worker of rank 0 sees it: a `TrainStep` like any other."""

import math
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from msgspec.structs import replace

from rtxbench.engines.contract import EngineFigure
from rtxbench.engines.nodes.group import BUILD_SILENCE_LIMIT_S, RankGroup
from rtxbench.engines.nodes.membership import nodes_of
from rtxbench.engines.nodes.messages import (
    BuildShare,
    Done,
    Facts,
    Figure,
    Member,
    Probed,
    ProbeLink,
    RunShare,
    TellFacts,
)
from rtxbench.errors import UnavailableError
from rtxbench.machine import Node
from rtxbench.placement import placement_named
from rtxbench.records import Case

__all__ = ["NodesStep", "RunsOnNodes"]

_NOT_SAID: Final = Figure(value=None, how="the ranks did not say")


@runtime_checkable
class RunsOnNodes(Protocol):
    """A `TrainStep` that several machines run together."""

    def nodes(self) -> Sequence[Node]:
        """Describe the node of every rank, in their order."""

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Time all-reduces of so many bytes over the same ranks, by the same means as the gradients'."""


class NodesStep:
    """One case trained by one rank per device on several nodes. Construction starts the ranks and builds their shares.

    Raises:
        UnavailableError: this run has one node, or the ranks cannot share the batch.
        MeasurementError: a rank did not come, failed or was lost; the message names its node.
    """

    def __init__(self, case: Case, seed: int) -> None:
        if case.batch_size % case.device_count:
            raise UnavailableError(
                f"{case.device_count} ranks cannot share {case.batch_size} examples.",
                next_step="Choose a batch size they divide.",
            )
        nodes = nodes_of()
        self._count = case.device_count
        self._kind = placement_named(case.placement).device_kind
        self._group = RankGroup(case.engine, nodes, case.device_count)
        self._devices = self._group.devices
        systems = [hello.system for hello in self._group.hellos]
        addresses = tuple(hello.address for hello in self._group.hellos)
        members = [
            Member(
                rank=rank,
                addresses=addresses,
                device=device,
                threads=max(1, hello.cores // systems.count(hello.system)),
            )
            for rank, (hello, device) in enumerate(zip(self._group.hellos, self._group.devices, strict=True))
        ]
        shares = [BuildShare(case=case, seed=seed, member=member) for member in members]
        self._group.ask(shares, Done, BUILD_SILENCE_LIMIT_S)

    def activate(self) -> None:
        """Switch nothing: every rank set its switches when it was built; a group trains one case only."""

    def run(self, steps: int) -> None:
        """Run ``steps`` steps on every rank; returns when all have finished the last one."""
        self._group.ask([RunShare(steps=steps)] * self._count, Done)

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        facts = self._facts(thorough=False)
        return facts.loss if facts.finite else math.nan

    def flops(self) -> EngineFigure:
        """Count the floating-point operations of one step over all ranks."""
        return _figure(self._facts(thorough=True).flops)

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots on one rank; each holds all of them."""
        return _figure(self._facts(thorough=True).state)

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one rank's gradients."""
        return _figure(self._facts(thorough=True).gradient)

    def notes(self) -> dict[str, str]:
        """Note what rank 0 notes."""
        return self._facts(thorough=True).notes

    def nodes(self) -> Sequence[Node]:
        """Describe the node of every rank, in their order."""
        return [
            replace(node, device=f"{self._kind}:{n}") for node, n in zip(self._group.nodes, self._devices, strict=True)
        ]

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Time all-reduces over the ranks; each counts by the rank that took longest."""
        probe = ProbeLink(size_bytes=size_bytes, repeats=repeats)
        answers = self._group.ask([probe] * self._count, Probed)
        return [max(times) for times in zip(*(answer.seconds for answer in answers), strict=True)]

    def close(self) -> None:
        """End every rank."""
        self._group.end()

    def _facts(self, *, thorough: bool) -> Facts:
        (facts,) = self._group.ask([TellFacts(thorough=thorough)], Facts, BUILD_SILENCE_LIMIT_S)
        return facts


def _figure(figure: Figure | None) -> EngineFigure:
    known = figure or _NOT_SAID
    return EngineFigure(known.value, known.how)

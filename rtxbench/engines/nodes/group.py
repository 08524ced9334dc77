"""All ranks of one step, as rank 0's worker drives them: every request goes to all, and a lost one ends them all.

::

    worker ── socket pair ──► rank 0, its child       each rank meets the others by its framework's own means
       ├───── TCP ─► agent ─► rank 1, on its node     (NCCL, gloo, gRPC); here go requests, replies and signs of life
       └───── TCP ─► agent ─► rank 2, on its node

The worker itself takes part in no collective, so it is never stuck in one: a rank that dies, that is cut off, or that
is stopped (no sign of life for `SILENCE_LIMIT_S`) is named, and all others are ended with it.
"""

import os
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any, Final, TypeVar

import msgspec

from rtxbench.engines.nodes.links import PEER_LIMIT_S, Link, dialled
from rtxbench.engines.nodes.membership import RANK_MODULE, Agent, Nodes
from rtxbench.engines.nodes.messages import RANK_REPLIES, Beat, Hello, Refused, StartRank
from rtxbench.errors import MeasurementError, RtxbenchError, UnavailableError
from rtxbench.machine import Node
from rtxbench.processes import ChildProcess

__all__ = ["BUILD_SILENCE_LIMIT_S", "SILENCE_LIMIT_S", "RankGroup"]

SILENCE_LIMIT_S: Final = float(PEER_LIMIT_S)
"""Of a rank at work, which says every second that it lives."""
BUILD_SILENCE_LIMIT_S: Final = 90.0
"""While it imports its framework, which may hold the interpreter for long."""
_BEATEN_SINCE_S: Final = 1.5
"""A rank that has given a sign of life this long after another failed was not what made that one fail."""
_POLL_S: Final = 0.5
_Reply = TypeVar("_Reply", bound=msgspec.Struct)


class _Rank:
    """One rank as the group sees it."""

    def __init__(self, number: int, link: Link, where: str) -> None:
        self.number = number
        self.link = link
        self.where = where
        """Name for a message: the host's once it is known, else the address."""
        self.heard_at = time.monotonic()
        self.hello: Hello | None = None


class RankGroup:
    """The ranks of one step. Construction starts them; `end` ends them.

    Args:
        engine: whose ranks.
        nodes: of this run.
        count: ranks wanted.

    Raises:
        MeasurementError: too few nodes came, or one does not start its rank.
    """

    def __init__(self, engine: str, nodes: Nodes, count: int) -> None:
        self._lost: RtxbenchError | None = None
        self._ranks: list[_Rank] = []
        self._local: ChildProcess | None = None
        if count > 1 + len(nodes.agents):
            raise MeasurementError(
                f"{count} ranks are wanted and {1 + len(nodes.agents)} came{nodes.absent and ': '}{nodes.absent}.",
                next_step="Start rtxbench on every node; docs/nodes.md says how.",
            )
        try:
            self._ranks.append(self._started_here(engine, nodes))
            for number, agent in enumerate(nodes.agents[: count - 1], start=1):
                self._ranks.append(_started_there(engine, number, agent, nodes.token))
            for rank, hello in zip(self._ranks, self._receive(Hello, BUILD_SILENCE_LIMIT_S), strict=True):
                rank.hello, rank.where = hello, hello.node.host
        except BaseException:
            self.end()
            raise
        devices = (nodes.device, *(agent.device for agent in nodes.agents))
        self.devices = devices[:count]
        """Number of each rank's device on its node."""

    @property
    def hellos(self) -> list[Hello]:
        """First messages of the ranks, in their order."""
        return [rank.hello for rank in self._ranks if rank.hello is not None]

    @property
    def nodes(self) -> list[Node]:
        """Descriptions of the ranks' nodes, in their order."""
        return [msgspec.structs.replace(hello.node, rank=n) for n, hello in enumerate(self.hellos)]

    def ask(
        self,
        requests: Sequence[msgspec.Struct],
        expected: type[_Reply],
        silence_limit_s: float | None = None,
    ) -> list[_Reply]:
        """Send each rank its request and wait for all replies, in the ranks' order; fewer requests, fewer ranks.

        Args:
            requests: of rank 0, 1, …
            expected: kind of reply.
            silence_limit_s: after which a rank without a sign of life is lost; `SILENCE_LIMIT_S` if not given.

        Raises:
            MeasurementError: a rank was lost, now or before, or one failed: the message names its node.
        """
        if self._lost is not None:
            raise self._lost
        asked = self._ranks[: len(requests)]
        for rank, request in zip(asked, requests, strict=True):
            rank.heard_at = time.monotonic()
            try:
                rank.link.send(request)
            except OSError as error:
                raise self._losing(rank, "its connection is gone") from error
        return self._receive(expected, silence_limit_s or SILENCE_LIMIT_S, asked)

    def end(self) -> None:
        """End every rank: the one here at once, the others by the end of their connection."""
        for rank in self._ranks:
            rank.link.close()
        if self._local is not None:
            self._local.end()
            self._local = None

    def _started_here(self, engine: str, nodes: Nodes) -> _Rank:
        ours, theirs = socket.socketpair()
        with theirs:
            self._local = ChildProcess(
                [sys.executable, "-P", "-m", RANK_MODULE, engine, str(theirs.fileno())],
                {**os.environ, "KERAS_BACKEND": engine, "RTXBENCH_RANK_ADDRESS": nodes.address},
                piped=False,
                own_group=False,  # a rank must not outlive this process, which the coordinator may kill
                descriptors=(theirs.fileno(),),
            )
        return _Rank(0, Link(ours.detach(), RANK_REPLIES), "this node")

    def _receive(
        self, expected: type[_Reply], silence_limit_s: float, asked: Sequence[_Rank] | None = None
    ) -> list[_Reply]:
        waiting = {rank.link.connection: rank for rank in (self._ranks if asked is None else asked)}
        replies: dict[int, Any] = {}
        failed: tuple[float, _Rank, Refused] | None = None
        while waiting:
            for ready in wait(list(waiting), _POLL_S):
                rank = waiting[ready]  # type: ignore[index]  # what was waited for is a connection
                message = self._heard(rank)
                if isinstance(message, Beat):
                    continue
                del waiting[ready]  # type: ignore[arg-type]
                replies[rank.number] = message
                if isinstance(message, Refused):
                    failed = failed or (time.monotonic(), rank, message)
            self._refuse_silent(list(waiting.values()), silence_limit_s)
            if failed is not None and all(r.heard_at > failed[0] + _BEATEN_SINCE_S for r in waiting.values()):
                break  # whoever is left lives, and hangs in a collective that lacks the one that failed
        if failed is not None:
            raise self._failing(failed[1], failed[2])
        ordered = [replies[number] for number in sorted(replies)]
        if not all(isinstance(reply, expected) for reply in ordered):
            raise MeasurementError("a rank answered something else.", next_step="Use one rtxbench on every node.")
        return ordered

    def _heard(self, rank: _Rank) -> Any:
        try:
            message = rank.link.receive()
        except (EOFError, OSError) as error:
            raise self._losing(rank, "its process ended, or its network was cut") from error
        rank.heard_at = time.monotonic()
        return message

    def _refuse_silent(self, waiting: Sequence[_Rank], limit_s: float) -> None:
        for rank in waiting:
            if time.monotonic() - rank.heard_at > limit_s:
                raise self._losing(rank, f"no sign of life for {limit_s:.0f} s")

    def _losing(self, rank: _Rank, how: str) -> RtxbenchError:
        if rank.number == 0 and self._local is not None and self._local.wait(1):
            how = f"its process died ({self._local.ending()})"
        self._lost = MeasurementError(
            f"rank {rank.number} of {len(self._ranks)} on {rank.where} was lost: {how}.",
            next_step="See what ended it on that node; the other arms were measured on.",
        )
        self.end()
        return self._lost

    def _failing(self, rank: _Rank, refused: Refused) -> RtxbenchError:
        kind = UnavailableError if refused.kind == UnavailableError.__name__ else MeasurementError
        self._lost = kind(f"rank {rank.number} on {rank.where}: {refused.message}", next_step=refused.next_step)
        self.end()
        return self._lost


def _started_there(engine: str, number: int, agent: Agent, token: str) -> _Rank:
    where = f"{agent.host}:{agent.port}"
    try:
        link = Link(dialled(agent.host, agent.port, token), RANK_REPLIES)
        link.send(StartRank(engine=engine))
    except OSError as error:
        raise MeasurementError(
            f"rank {number} on {agent.host} does not start: nothing answers at {where} ({error}).",
            next_step="See whether rtxbench still runs on that node.",
        ) from error
    return _Rank(number, link, agent.host)

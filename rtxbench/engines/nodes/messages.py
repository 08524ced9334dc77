"""Messages between rank 0's worker, the ranks, and the agents that start them: JSON, one struct each."""

from typing import Final, TypeAlias

import msgspec

from rtxbench.machine import Node
from rtxbench.records import Case

__all__ = [
    "AGENT_REQUESTS",
    "HUB_MESSAGES",
    "RANK_REPLIES",
    "RANK_REQUESTS",
    "Beat",
    "BuildShare",
    "Done",
    "End",
    "Facts",
    "Figure",
    "Hello",
    "Member",
    "ProbeLink",
    "Probed",
    "RankReply",
    "Refused",
    "Register",
    "RunShare",
    "StartRank",
    "TellFacts",
]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """The place of one rank among the others."""

    rank: int
    addresses: tuple[str, ...]
    """``HOST:PORT`` of every rank in order: a port that was free on its node; ranks meet at the first."""
    device: int = 0
    """Number of the rank's device on its node."""
    threads: int = 1
    """Cores of its node divided by the ranks on it."""

    @property
    def world(self) -> int:
        """Ranks in all."""
        return len(self.addresses)


class StartRank(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Start a rank of this engine, which then speaks on this connection. Asked of an agent."""

    engine: str


class Register(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Offer ranks: an agent's first message to rank 0."""

    rank: int
    host: str
    port: int
    device: int = 0


class End(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End: there is nothing more to measure. Not answered."""


class BuildShare(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Meet the other ranks and build this one's share of the case. Answered by `Done`."""

    case: Case
    seed: int
    member: Member


class RunShare(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run so many steps together with the other ranks. Answered by `Done`."""

    steps: int


class ProbeLink(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All-reduce so many bytes ``repeats`` times, by the means of the training step. Answered by `Probed`."""

    size_bytes: int
    repeats: int


class TellFacts(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tell what is known of the share. Answered by `Facts`; ``thorough`` adds what must be counted."""

    thorough: bool = False


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First message of a rank."""

    node: Node
    address: str
    """``HOST:PORT``, a port free on its node."""
    system: str
    """The running system's own number: ranks that share it share their cores."""
    cores: int


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Sign of life of a rank at work."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request was carried out."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A value or ``None``, and its method or the reason."""

    value: float | None
    how: str


class Facts(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Facts about a rank's share of the step."""

    loss: float | None
    finite: bool = True
    """False where the loss is no number, which JSON cannot carry."""
    flops: Figure | None = None
    state: Figure | None = None
    gradient: Figure | None = None
    notes: dict[str, str] = {}


class Probed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Seconds of each all-reduce, on this rank."""

    seconds: tuple[float, ...]


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request failed."""

    kind: str
    message: str
    next_step: str


RankRequest: TypeAlias = BuildShare | RunShare | ProbeLink | TellFacts | End
RankReply: TypeAlias = Hello | Beat | Done | Facts | Probed | Refused

RANK_REQUESTS: Final[msgspec.json.Decoder[RankRequest]] = msgspec.json.Decoder(RankRequest)
RANK_REPLIES: Final[msgspec.json.Decoder[RankReply]] = msgspec.json.Decoder(RankReply)
AGENT_REQUESTS: Final[msgspec.json.Decoder[StartRank]] = msgspec.json.Decoder(StartRank)
HUB_MESSAGES: Final[msgspec.json.Decoder[Register | End]] = msgspec.json.Decoder(Register | End)

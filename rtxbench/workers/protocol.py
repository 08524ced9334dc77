"""Messages between the coordinator and its workers: one JSON line each, requests down stdin, replies up stdout.

`Ready`, `Failed` and `Close` are every worker's; the others are the measuring worker's. Trials and the diagnosis have
messages of their own (`rtxbench.trials.messages`, `rtxbench.diagnosis.worker`).
"""

from typing import Final, TypeAlias

import msgspec

from rtxbench.machine import Node
from rtxbench.records import Case

__all__ = [
    "MEASURING_REPLIES",
    "MEASURING_REQUESTS",
    "Block",
    "Build",
    "Built",
    "Close",
    "Describe",
    "Described",
    "Failed",
    "Ready",
    "Reply",
    "Request",
    "Timed",
    "encode",
]


class Build(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Build the case as arm ``arm`` and run its first step. Answered by `Built`."""

    arm: str
    case: Case
    seed: int


class Block(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Run ``lead_in`` untimed steps, then ``steps`` timed ones, synchronised at both ends. Answered by `Timed`."""

    arm: str
    steps: int
    lead_in: int = 0


class Describe(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask what is known of the arm after its blocks. ``thorough`` adds FLOPs and the precision's proof."""

    arm: str
    thorough: bool = False


class Close(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End the process. Not answered."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First line of a worker that started: what its engine rests on and which devices it sees."""

    engine: str
    versions: dict[str, str]
    devices: tuple[tuple[str, str], ...]
    """(kind, name) of each."""


class Built(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The arm stands and has run one step."""

    build_s: float
    first_step_s: float


class Timed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Start and end of the timed steps, ``time.monotonic_ns``."""

    start_ns: int
    end_ns: int


class Described(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Facts about an arm. A ``None`` has its reason in ``missing``."""

    loss: float | None
    peak_memory_bytes: float | None
    """Need of the arm alone, where it was the first of its process."""
    peak_memory_method: str | None = None
    flops_per_step: float | None = None
    flops_method: str | None = None
    matmul_relative_error: float | None = None
    convolution_relative_error: float | None = None
    notes: dict[str, str] = {}
    nodes: tuple[Node, ...] = ()
    """Of a step that several machines run, in the order of the ranks."""
    missing: dict[str, str] = {}


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request failed; the worker lives on and answers further ones."""

    kind: str
    """Name of the error class of `rtxbench.errors`, or of the foreign exception."""
    message: str
    next_step: str


Request: TypeAlias = Build | Block | Describe | Close
Reply: TypeAlias = Ready | Built | Timed | Described | Failed

MEASURING_REQUESTS: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
MEASURING_REPLIES: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)


def encode(message: msgspec.Struct) -> bytes:
    """Write one message as one line of JSON; a decoder of the union it belongs to reads it."""
    return msgspec.json.encode(message) + b"\n"

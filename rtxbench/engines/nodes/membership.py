"""The nodes a run has, as its worker processes learn of them: by one environment variable."""

import os
from collections.abc import Mapping
from typing import Final

import msgspec

from rtxbench.errors import UnavailableError

__all__ = ["MACHINE_VARIABLE", "NODES_VARIABLE", "RANK_MODULE", "Agent", "Nodes", "nodes_of"]

RANK_MODULE: Final = "rtxbench.engines.nodes.rank"
"""The program of one rank."""

NODES_VARIABLE: Final = "RTXBENCH_NODES"
MACHINE_VARIABLE: Final = "RTXBENCH_NODE_MACHINE"
"""The fingerprint of a rank's machine: whoever starts ranks has found it out once."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One node's offer to start a rank."""

    host: str
    port: int
    device: int = 0


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything rank 0's worker needs to reach the others."""

    address: str
    """Rank 0's own, as the others reach it."""
    token: str
    agents: tuple[Agent, ...]
    """Of ranks 1, 2, …, without those that did not come."""
    device: int = 0
    absent: str = ""
    """Ranks that did not come, in a sentence."""


def nodes_of(environ: Mapping[str, str] = os.environ) -> Nodes:
    """Read the nodes of this run.

    Raises:
        UnavailableError: it has only one.
    """
    text = environ.get(NODES_VARIABLE)
    if text is None:
        raise UnavailableError(
            "this run has one node only.",
            next_step="Start it on several with --nodes; docs/nodes.md says how (torchrun, srun, Ray).",
        )
    return msgspec.json.decode(text, type=Nodes)

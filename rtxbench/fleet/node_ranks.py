"""Agents for a job over several nodes, carried to the nodes of a Ray cluster: one whole machine each."""

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from rtxbench.errors import UnavailableError
from rtxbench.fleet.cluster import connected
from rtxbench.fleet.node import as_started
from rtxbench.hardware.environment import describe
from rtxbench.nodes.agent import serve_ranks
from rtxbench.nodes.launcher import Seat

__all__ = ["by_ray", "lend"]


@contextmanager
def by_ray(address: str, limit_s: float, told: Callable[[str], None]) -> Iterator[tuple[Seat, str]]:
    """Send an agent to every other node of a cluster; yield rank 0's seat and the run's token.

    Every agent has its machine to itself. This process must run on a node of the cluster: it is rank 0.

    Args:
        address: ``auto``, or ``HOST:PORT`` of the cluster's head.
        limit_s: how long an agent waits for rank 0.
        told: given what happens, a sentence each.

    Raises:
        UnavailableError: no cluster answers, it has one node, or this process is on none of them.
    """
    token = secrets.token_hex(16)
    with connected(address) as cluster:
        here = cluster.here()
        nodes = cluster.nodes()
        mine = next((node for node in nodes if node.node_id == here), None)
        others = [node for node in nodes if node.node_id != here]
        if mine is None or not others:
            raise UnavailableError(
                f"the cluster at {address} has no second node beside this one.",
                next_step="Run on one of its nodes, and join the others: `ray start --address HOST:6379`.",
            )
        world = 1 + len(others)
        seat = Seat(0, world, mine.address, _free_port())
        seats = [seat._replace(rank=rank) for rank in range(1, world)]
        streams = [
            cluster.start(node, lend, msgspec.json.encode(one), token, limit_s)
            for node, one in zip(others, seats, strict=True)
        ]
        told(f"sent an agent to {', '.join(node.address for node in others)}")
        try:
            yield seat, token
        finally:
            for stream in streams:
                stream.cancel()


def lend(seat_json: bytes, token: str, limit_s: float) -> Iterator[bytes]:
    """Serve ranks on this node until rank 0 has ended. Ray runs it; it yields nothing that anybody reads."""
    as_started()
    seat = msgspec.json.decode(seat_json, type=Seat)
    serve_ranks(seat, token, describe().machine, limit_s)
    yield b""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])

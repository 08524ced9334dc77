"""Rank 0's hub: the agents of the other nodes join it, and learn by it that the run is over."""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import msgspec

from rtxbench.engines.nodes.links import Link, accepted
from rtxbench.engines.nodes.membership import MACHINE_VARIABLE, NODES_VARIABLE, Agent, Nodes
from rtxbench.engines.nodes.messages import HUB_MESSAGES, End, Register
from rtxbench.errors import UnavailableError
from rtxbench.nodes.launcher import Seat

__all__ = ["gathered"]


@contextmanager
def gathered(
    seat: Seat, token: str, machine: str, join_limit_s: float, told: Callable[[str], None] = lambda text: None
) -> Iterator[Nodes]:
    """Wait for the other nodes, and let this process's workers know of them; at the end every agent ends.

    A node that does not come in time is left out: a case that needs it fails with that reason, others are measured.

    Args:
        seat: rank 0's.
        token: of the run.
        machine: fingerprint of this machine.
        join_limit_s: how long the others are waited for.
        told: given what happens, a sentence each.

    Raises:
        UnavailableError: the port is taken.
    """
    links: dict[int, Link] = {}
    agents: dict[int, Agent] = {}
    try:
        with _listening(seat.port) as hub:
            _await_agents(hub, seat, token, join_limit_s, links, agents, told)
        absent = [str(rank) for rank in range(1, seat.world) if rank not in agents]
        missing = f"rank {', '.join(absent)} did not come within {join_limit_s:.0f} s" if absent else ""
        if missing:
            told(missing)
        nodes = Nodes(
            address=_own_address(seat, links),
            token=token,
            agents=tuple(agents[rank] for rank in sorted(agents)),
            device=seat.device,
            absent=missing,
        )
        os.environ[NODES_VARIABLE] = msgspec.json.encode(nodes).decode()  # every worker inherits it
        os.environ[MACHINE_VARIABLE] = machine
        yield nodes
    finally:
        for name in (NODES_VARIABLE, MACHINE_VARIABLE):
            os.environ.pop(name, None)
        for link in links.values():
            with suppress(OSError):
                link.send(End())
            link.close()


def _own_address(seat: Seat, links: Mapping[int, Link]) -> str:
    """Take the address that an agent reached: a host's own name may well resolve to its loopback."""
    for link in links.values():
        with socket.socket(fileno=os.dup(link.connection.fileno())) as joined:
            return str(joined.getsockname()[0])
    return seat.address


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise UnavailableError(
            f"port {port}, where the other nodes join, cannot be listened at: {error.strerror}.",
            next_step="Set RTXBENCH_NODES_PORT to a free port, the same on every node.",
        ) from error


def _await_agents(
    hub: socket.socket,
    seat: Seat,
    token: str,
    limit_s: float,
    links: dict[int, Link],
    agents: dict[int, Agent],
    told: Callable[[str], None],
) -> None:
    deadline = time.monotonic() + limit_s
    while len(agents) < seat.world - 1:
        hub.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            caller, _ = hub.accept()
            link = Link(accepted(caller, token), HUB_MESSAGES)
            joined = link.receive()
        except TimeoutError:
            return
        except (OSError, EOFError, UnavailableError) as error:
            told(f"a caller was turned away: {error}")
            continue
        if not isinstance(joined, Register) or not 0 < joined.rank < seat.world or joined.rank in agents:
            told("a caller was turned away: its rank is taken, or none of this run's")
            link.close()
            continue
        links[joined.rank] = link
        agents[joined.rank] = Agent(host=joined.host, port=joined.port, device=joined.device)
        told(f"rank {joined.rank} joined from {joined.host}")

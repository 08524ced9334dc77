"""One node's agent: it joins rank 0, and starts a rank each time that rank 0's worker asks for one.

It listens at a port of its own; a connection that proves the run's token is handed to a fresh process, as inetd does.
It ends when rank 0 says so or is gone, and its ranks with it.
"""

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable

from rtxbench.engines.nodes.links import Link, accepted, dialled
from rtxbench.engines.nodes.membership import MACHINE_VARIABLE, RANK_MODULE
from rtxbench.engines.nodes.messages import AGENT_REQUESTS, HUB_MESSAGES, Register, StartRank
from rtxbench.errors import RtxbenchError, UnavailableError
from rtxbench.nodes.launcher import Seat
from rtxbench.processes import ChildProcess
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import process_environment

__all__ = ["serve_ranks"]

_RETRY_S = 0.5


def serve_ranks(
    seat: Seat, token: str, machine: str, join_limit_s: float, told: Callable[[str], None] = lambda text: None
) -> None:
    """Offer this node's device until rank 0 says that it is over, or is gone.

    Args:
        seat: this process's.
        token: of the run.
        machine: fingerprint of this machine.
        join_limit_s: how long rank 0 is waited for.
        told: given what happens, a sentence each.

    Raises:
        UnavailableError: rank 0 does not answer, or knows another token.
    """
    hub = Link(_joined(seat, token, join_limit_s), HUB_MESSAGES)
    with socket.socket(fileno=os.dup(hub.connection.fileno())) as joined:
        here = joined.getsockname()[0]
    with socket.create_server((here, 0), family=socket.AF_INET6 if ":" in here else socket.AF_INET) as offered:
        hub.send(Register(rank=seat.rank, host=here, port=offered.getsockname()[1], device=seat.device))
        told(f"rank {seat.rank} of {seat.world} waits for rank 0's cases")
        with contextlib.closing(_Ranks(token, machine, told)) as ranks:
            _serve(hub, offered, ranks)
    hub.close()
    told("rank 0 has ended")


def _joined(seat: Seat, token: str, limit_s: float) -> int:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return dialled(seat.address, seat.port, token)
        except OSError as error:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"rank 0 does not answer at {seat.address}:{seat.port} ({error}).",
                    next_step="Start rtxbench on it as well, and open that port between the nodes.",
                ) from error
        time.sleep(_RETRY_S)


def _serve(hub: Link, offered: socket.socket, ranks: "_Ranks") -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(offered, selectors.EVENT_READ)
        selector.register(hub.connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not offered:
                    return  # rank 0 says End, or its connection ended: nothing else ever comes
                with contextlib.suppress(OSError):  # the caller went away
                    ranks.start(offered.accept()[0])


class _Ranks:
    """The ranks that were started here and may still run."""

    def __init__(self, token: str, machine: str, told: Callable[[str], None]) -> None:
        self._token = token
        self._machine = machine
        self._told = told
        self._running: list[ChildProcess] = []

    def start(self, caller: socket.socket) -> None:
        """Hand a connection to a fresh rank, if the caller proves the token."""
        self._reap()
        try:
            link = Link(accepted(caller, self._token), AGENT_REQUESTS)
        except UnavailableError as error:
            self._told(str(error))
            return
        with contextlib.closing(link), contextlib.suppress(EOFError, RtxbenchError):
            request: StartRank = link.receive()
            self._running.append(self._started(request.engine, link.connection.fileno()))

    def _started(self, engine: str, descriptor: int) -> ChildProcess:
        spec = worker_spec(engine)
        return ChildProcess(
            [spec.python, "-P", "-m", RANK_MODULE, engine, str(descriptor)],
            process_environment(spec) | {MACHINE_VARIABLE: self._machine},
            piped=False,
            descriptors=(descriptor,),
        )

    def _reap(self) -> None:
        for rank in [rank for rank in self._running if rank.status() is not None]:
            if rank.status():
                self._told(f"a rank ended: {rank.ending()}")
            rank.end()
            self._running.remove(rank)

    def close(self) -> None:
        """End every rank."""
        for rank in self._running:
            rank.wait(1)  # those whose connection has ended end themselves
            rank.end()

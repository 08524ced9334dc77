"""Ranks whose step is a barrier between them: everything of a job over several nodes except the training.

``python -m tests.fake_ranks ENGINE DESCRIPTOR`` is a rank, ``… agent PORT RANK WORLD`` an agent that starts such ranks,
``… lead PORT WORLD`` a rank 0 that runs steps until it is killed. A barrier that loses a rank hangs for ever, as
collectives may.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from rtxbench.engines.contract import EngineFigure
from rtxbench.engines.nodes import group, rank
from rtxbench.engines.nodes.messages import Member
from rtxbench.errors import UnavailableError
from rtxbench.nodes import agent, hub
from rtxbench.nodes.launcher import Seat
from rtxbench.records import Case

TOKEN = "a token of some length"
MODULE = "tests.fake_ranks"


class FakeShare:
    """Meets the others at rank 0's address; a step is a byte from each to rank 0 and one back."""

    def __init__(self, case: Case, member: Member) -> None:
        host, _, port = member.addresses[0].rpartition(":")
        self._member, self._case, self.steps = member, case, 0
        if member.rank == 0:
            with socket.create_server((host, int(port))) as meeting:
                self._others = [meeting.accept()[0] for _ in range(member.world - 1)]
        else:
            self._others = [_connected(host, int(port))]

    def activate(self) -> None:
        pass

    def run(self, steps: int) -> None:
        if self._case.batch_size == 666 and self._member.rank == 1:
            raise UnavailableError("no such device.", next_step="Add one.")
        for _ in range(steps):
            if self._member.rank == 0:
                for other in self._others:
                    _byte(other)
                for other in self._others:
                    other.sendall(b"x")
            else:
                self._others[0].sendall(b"x")
                _byte(self._others[0])
            time.sleep(0.002)
        self.steps += steps

    def loss(self) -> float | None:
        return 1.0 / self.steps if self.steps else None

    def flops(self) -> EngineFigure:
        return EngineFigure(10.0, "counted")

    def state_bytes(self) -> EngineFigure:
        return EngineFigure(None, "nothing is trained")

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        return [size_bytes * (1 + self._member.rank)] * repeats


class FakeEngine:
    """Builds `FakeShare`."""

    def build_share(self, case: Case, seed: int, member: Member) -> FakeShare:
        return FakeShare(case, member)


def _byte(other: socket.socket) -> None:
    try:
        if other.recv(1):
            return
    except OSError:
        pass
    time.sleep(3600)


def _connected(host: str, port: int) -> socket.socket:
    for _ in range(200):
        try:
            return socket.create_connection((host, port))
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(port)


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def started(*arguments: object) -> "subprocess.Popen[bytes]":
    """Start this module as a program."""
    command = [sys.executable, "-m", MODULE, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


@contextmanager
def agents(port: int, *ranks: int, world: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Agents of these ranks; whoever is left is killed."""
    processes = [started("agent", port, rank, world) for rank in ranks]
    try:
        yield processes
    finally:
        for process in processes:
            for child in descendants(process):
                child.kill()
            process.kill()
            process.communicate()


def descendants(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Processes that a process has started, and those that these have."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def seat(port: int, rank_number: int, world: int) -> Seat:
    """The place of a rank on the loopback."""
    return Seat(rank_number, world, "127.0.0.1", port)


def main(arguments: Sequence[str]) -> None:
    name, *rest = arguments
    group.RANK_MODULE = agent.RANK_MODULE = MODULE  # type: ignore[misc]
    if name == "agent":
        port, number, world = map(int, rest)
        agent.serve_ranks(seat(port, number, world), TOKEN, f"machine{number}", 30)
    elif name == "lead":
        port, world = map(int, rest)
        with hub.gathered(seat(port, 0, world), TOKEN, "machine0", 30) as nodes:
            lead(nodes, world)
    else:
        rank.main(lambda _name: FakeEngine())


def lead(nodes: Any, world: int) -> None:
    from rtxbench.engines.nodes.step import NodesStep

    step = NodesStep(Case(workload="mlp", batch_size=8 * world, device_count=world, placement="multi-worker-cpu"), 0)
    print("leading", flush=True)
    while True:
        step.run(100)


if __name__ == "__main__":
    main(sys.argv[1:])

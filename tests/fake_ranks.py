"""Ranks whose step is a barrier between them: everything of a job over several nodes except the training.

``python -m tests.fake_ranks ENGINE DESCRIPTOR`` is a rank, ``… agent PORT RANK WORLD`` an agent that starts such ranks,
``… lead PORT WORLD`` a rank 0 that runs steps until it is killed, ``… measure ADDRESS PORT RANK WORLD`` one process of
a whole run: a session with the real protocol, workers and records. A barrier that loses a rank hangs for ever, as
collectives may.
"""

import dataclasses
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace

from rtxbench.engines.contract import Device, EngineFigure, TrainStep
from rtxbench.engines.nodes import group, rank
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.step import NodesStep
from rtxbench.errors import UnavailableError
from rtxbench.measure.paired.arms import Arm
from rtxbench.measure.profiles import profile_named
from rtxbench.measure.session import Session
from rtxbench.measure.worker import Worker
from rtxbench.nodes import agent, hub
from rtxbench.nodes.launcher import Seat
from rtxbench.records import Case
from rtxbench.workers.process import WorkerSpec
from rtxbench.workers.protocol import MEASURING_REQUESTS
from rtxbench.workers.serving import serve

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


class FakeStep:
    """A step of one process: a short sleep."""

    def activate(self) -> None:
        pass

    def run(self, steps: int) -> None:
        time.sleep(0.002 * steps)

    def loss(self) -> float | None:
        return 1.0

    def flops(self) -> EngineFigure:
        return EngineFigure(10.0, "counted")

    def state_bytes(self) -> EngineFigure:
        return EngineFigure(None, "nothing is trained")


class FakeEngine:
    """Builds `FakeShare` in a rank, and in a worker what drives the ranks."""

    name = "torch"

    def versions(self) -> dict[str, str]:
        return {}

    def devices(self) -> list[Device]:
        return [Device("cpu", "cpu")]

    def build(self, case: Case, seed: int) -> TrainStep:
        return FakeStep() if case.device_count == 1 else NodesStep(case, seed)

    def matmul_error(self, case: Case) -> EngineFigure:
        return EngineFigure(1e-7, "none")

    convolution_error = matmul_error

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
    elif name == "measure":
        measure(seat(int(rest[1]), int(rest[2]), int(rest[3]))._replace(address=rest[0]))
    elif name == "worker":
        serve("torch", MEASURING_REQUESTS, lambda engine: Worker(engine).answer, load=lambda _name: FakeEngine())
    elif name == "lead":
        port, world = map(int, rest)
        with hub.gathered(seat(port, 0, world), TOKEN, "machine0", 30) as nodes:
            lead(nodes, world)
    else:
        rank.main(lambda _name: FakeEngine())


def measure(place: Seat) -> None:
    """Be one process of a run over several nodes: its first one measures three cases, the others lend ranks."""
    if place.rank > 0:
        agent.serve_ranks(place, TOKEN, f"machine{place.rank}", 60)
        return
    one = Case(workload="mlp", batch_size=8 * place.world, engine="torch")
    strong = replace(one, placement="ddp-nodes-cpu", device_count=place.world)
    cases = (one, strong, replace(strong, batch_size=8 * place.world**2))
    spec = WorkerSpec(engine="torch", command=("-m", MODULE, "worker"))
    arms = [Arm(case=case, spec=spec, isolated=case is not one) for case in cases]
    profile = dataclasses.replace(profile_named("smoke"), launches_min=2, launches_max=2, retries=0)
    with (
        hub.gathered(place, TOKEN, "machine0", 60, lambda text: print(text, flush=True)),
        Session(Path("results"), profile, ("fake",), record_hardware=False) as session,
    ):
        session.measure_arms({"nodes/mlp": arms})


def lead(nodes: Any, world: int) -> None:
    step = NodesStep(Case(workload="mlp", batch_size=8 * world, device_count=world, placement="multi-worker-cpu"), 0)
    print("leading", flush=True)
    while True:
        step.run(100)


if __name__ == "__main__":
    main(sys.argv[1:])

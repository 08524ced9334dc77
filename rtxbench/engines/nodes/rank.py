"""The process of one rank: ``python -m rtxbench.engines.nodes.rank ENGINE DESCRIPTOR``.

It was given a connection to rank 0's worker, which says what to build and how many steps to run. While it works it
says every second that it lives; when the connection ends it ends, whatever it is at, and with whoever started it.
"""

import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import psutil

from rtxbench.engines import load_engine
from rtxbench.engines.contract import EngineFigure, HasNotes, TrainStep
from rtxbench.engines.nodes.links import Link
from rtxbench.engines.nodes.membership import MACHINE_VARIABLE
from rtxbench.engines.nodes.messages import (
    RANK_REQUESTS,
    Beat,
    BuildShare,
    Done,
    End,
    Facts,
    Figure,
    Hello,
    Member,
    Probed,
    ProbeLink,
    Refused,
    RunShare,
    TellFacts,
)
from rtxbench.engines.step_work import CountsGradients
from rtxbench.errors import RtxbenchError, UnavailableError
from rtxbench.machine import Node
from rtxbench.processes import end_with_parent
from rtxbench.records import Case

__all__ = ["JoinsNodes", "Rank", "Share", "main", "network_of"]

_BEAT_S: Final = 1.0
_SYSTEM: Final = Path("/proc/sys/kernel/random/boot_id")


class Share(TrainStep, Protocol):
    """One rank's share of a training step."""

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Sum so many bytes ``repeats`` times together with the other ranks; seconds of each."""


class JoinsNodes(Protocol):
    """An engine whose processes can train one case together over several machines."""

    def build_share(self, case: Case, seed: int, member: Member) -> Share:
        """Meet the other ranks and build this one's share of the case."""


class Rank:
    """Answers requests with one engine. Knows nothing of connections."""

    def __init__(self, engine_name: str, load: Callable[[str], Any] = load_engine) -> None:
        self._engine_name = engine_name
        self._load = load
        self._share: Share | None = None

    def answer(self, request: Any) -> msgspec.Struct:
        """Do what is asked.

        Raises:
            RtxbenchError: it cannot be done.
        """
        if isinstance(request, BuildShare):
            self._share = self._built(request)
            return Done()
        assert self._share is not None, "a share is built before it is run"
        match request:
            case RunShare():
                self._share.run(request.steps)
                return Done()
            case ProbeLink():
                return Probed(seconds=tuple(self._share.all_reduce_s(request.size_bytes, request.repeats)))
            case TellFacts():
                return _facts(self._share, thorough=request.thorough)
        raise AssertionError(request)

    def _built(self, request: BuildShare) -> Share:
        engine: JoinsNodes = self._load(self._engine_name)
        if not hasattr(engine, "build_share"):
            raise UnavailableError(
                f"engine {self._engine_name} cannot train over several nodes.",
                next_step="Choose tensorflow, jax or torch.",
            )
        share = engine.build_share(request.case, request.seed, request.member)
        share.activate()
        return share


def _facts(share: Share, *, thorough: bool) -> Facts:
    loss = share.loss()
    finite = loss is None or math.isfinite(loss)
    if not thorough:
        return Facts(loss=loss if finite else None, finite=finite)
    gradient = share.gradient_bytes() if isinstance(share, CountsGradients) else None
    return Facts(
        loss=loss if finite else None,
        finite=finite,
        flops=_figure(share.flops()),
        state=_figure(share.state_bytes()),
        gradient=None if gradient is None else _figure(gradient),
        notes=share.notes() if isinstance(share, HasNotes) else {},
    )


def _figure(figure: EngineFigure) -> Figure:
    return Figure(value=figure.value, how=figure.how)


def serve(link: Link, rank: Rank) -> None:
    """Answer requests until the connection ends."""
    alive = _SignsOfLife(link)
    while True:
        try:
            request = link.receive()
        except (EOFError, OSError):
            return
        if isinstance(request, End):
            return
        with alive.at_work():
            try:
                reply = rank.answer(request)
            except Exception as error:  # frameworks raise anything; rank 0 stores it as the case's reason
                reply = _refused(error)
        try:
            link.send(reply)
        except OSError:
            return


class _SignsOfLife:
    """A thread that says every second that the rank lives, while it works; idle, its system's keepalive does."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._busy = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Give signs of life within the context."""
        self._busy.set()
        try:
            yield
        finally:
            self._busy.clear()

    def _beat(self) -> None:
        while self._busy.wait():
            time.sleep(_BEAT_S)
            try:
                if self._busy.is_set():
                    self._link.send(Beat())
            except OSError:
                os._exit(1)  # rank 0 is gone, and the main thread may hang in a collective for ever


def _refused(error: Exception) -> Refused:
    if isinstance(error, RtxbenchError):
        return Refused(kind=type(error).__name__, message=error.message, next_step=error.next_step)
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return Refused(
        kind=type(error).__name__,
        message=f"{type(error).__name__}: {first}",
        next_step="Run `rtxbench doctor` on that node.",
    )


def hello(address: str, machine: str = "") -> Hello:
    """Describe this rank's node; its place among the ranks is known to rank 0 alone."""
    interface, speed, why = network_of(address)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    return Hello(
        node=Node(
            rank=0,
            host=socket.gethostname(),
            machine=machine,
            interface=interface,
            link_bit_per_s=speed,
            missing={} if why is None else {"link_bit_per_s": why},
        ),
        address=f"{address}:{port}",
        system=_SYSTEM.read_text(encoding="ascii").strip() if _SYSTEM.exists() else socket.gethostname(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def network_of(address: str) -> tuple[str | None, float | None, str | None]:
    """Find the interface that has an address, and its speed in bit/s or the reason why it is unknown."""
    for name, found in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in found):
            mbit_per_s = psutil.net_if_stats()[name].speed
            if mbit_per_s > 0:
                return name, mbit_per_s * 1e6, None
            return name, None, f"the driver of {name} reports no speed"
    return None, None, f"no interface of this node has the address {address}"


def main(load: Callable[[str], Any] = load_engine) -> None:
    """Serve as one rank on an inherited connection, with the engine that ``load`` gives."""
    engine_name, descriptor = sys.argv[1:]
    end_with_parent(os.getppid())
    with socket.socket(fileno=os.dup(int(descriptor))) as control:
        here = control.getsockname()
    address = os.environ.get("RTXBENCH_RANK_ADDRESS") or here[0]
    interface = network_of(address)[0]
    if interface is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)  # else gloo takes what the host's name resolves to
    link = Link(int(descriptor), RANK_REQUESTS)
    link.send(hello(address, os.environ.get(MACHINE_VARIABLE, "")))
    serve(link, Rank(engine_name, load))
    os._exit(0)  # a framework's own teardown waits for ranks that are gone


if __name__ == "__main__":
    main()

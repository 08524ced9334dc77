"""Who measures which launch: two in a row on each machine of the pool, several machines at a time.

A machine measures one launch at a time. While one launch is waited for, the next ones of the same case are begun on
machines that are free, so that a pool of four takes a quarter of the time; what a decision no longer needs is given up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from rtxbench import __version__
from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.fleet.cluster import Cluster, Lost, Node, Stream, connected
from rtxbench.fleet.jobs import ClusterMachine, NodeDescription, with_unique_names
from rtxbench.gate.pool.node import Asked, Failed, Measured, answer, launch
from rtxbench.gate.session import ProcessPair
from rtxbench.gate.statistics.decision import LAUNCHES_MOST
from rtxbench.gate.statistics.operating_characteristics import pool_turn
from rtxbench.machine import Environment

__all__ = ["Pool", "equal_machines", "pooled"]


def equal_machines(cluster: Cluster) -> tuple[list[tuple[Node, ClusterMachine]], list[str]]:
    """Choose the largest set of equal machines, by their hardware's fingerprint.

    Returns:
        The machines, and the addresses of the others, which are left out.

    Raises:
        UnavailableError: fewer than two are equal, or one has another version of rtxbench.
    """
    nodes = cluster.nodes()
    replies = zip(nodes, cluster.ask_all(nodes, answer), strict=True)
    answers = [
        (node, msgspec.json.decode(raw, type=NodeDescription)) for node, raw in replies if not isinstance(raw, Lost)
    ]
    versions = {reply.version for _, reply in answers} - {__version__}
    if versions:
        raise UnavailableError(
            f"machines of the pool have rtxbench {', '.join(sorted(versions))}, this one {__version__}.",
            next_step="Install one version everywhere.",
        )
    kinds: dict[str, list[tuple[Node, NodeDescription]]] = {}
    for node, reply in answers:
        kinds.setdefault(_kind(reply.environment), []).append((node, reply))
    chosen = max(kinds.values(), key=len, default=[])
    if len(chosen) < 2:
        raise UnavailableError(
            f"the cluster has no two equal machines ({len(answers)} answered).",
            next_step="Gate on this machine (without --pool), or start Ray on machines of one kind.",
        )
    named = with_unique_names([(node.node_id, node.address, reply) for node, reply in chosen])
    others = [node.address for node in nodes if node not in {node for node, _ in chosen}]
    return list(zip((node for node, _ in chosen), named, strict=True)), others


def _kind(environment: Environment) -> str:
    """Say what machines must share: processor, memory in GiB, and cards with theirs."""
    cpu = environment.cpu
    cards = sorted(f"{gpu.name}/{gpu.memory_bytes}" for gpu in environment.gpus)
    return f"{cpu.name}/{cpu.logical_cores}/{cpu.usable_cores}/{cpu.memory_bytes >> 30}/{'+'.join(cards)}"


class Pool:
    """Equal machines that measure launches. Made by `pooled`.

    Args:
        cluster: where they are.
        machines: at least two.
        parcel: both trees (`rtxbench.gate.pool.parcel`).
        asked: what every launch has in common; case and number are filled in.
    """

    def __init__(
        self, cluster: Cluster, machines: Sequence[tuple[Node, ClusterMachine]], parcel: bytes, asked: Asked
    ) -> None:
        self._cluster, self._machines, self._parcel, self._asked = cluster, list(machines), parcel, asked
        self._running: dict[tuple[str, int], Stream] = {}
        self._done: dict[tuple[str, int], tuple[ProcessPair, ...]] = {}

    @property
    def environment(self) -> Environment:
        """Of the first machine; the others are equal to it in all that their kind is made of."""
        return self._machines[0][1].answer.environment

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the machines, in the order of their turns."""
        return tuple(machine.name for _, machine in self._machines)

    def machine_of(self, number: int) -> str:
        """Name the machine whose turn a launch is."""
        return self.names[pool_turn(number, len(self._machines))]

    def measure(self, case: str, number: int) -> tuple[ProcessPair, ...]:
        """Return one launch, and have the ones after it begun where a machine is free.

        Raises:
            MeasurementError: an arm failed, or the machine was lost.
        """
        while (case, number) not in self._done:
            self._begin(case, number)
            for stream in self._cluster.ready(list(self._running.values()), limit_s=1.0):
                self._take(stream)
        return self._done.pop((case, number))

    def close(self) -> None:
        """Give up what is under way."""
        for stream in self._running.values():
            stream.cancel()
        self._running.clear()

    def _begin(self, case: str, number: int) -> None:
        count = len(self._machines)
        busy = {pool_turn(running, count) for _, running in self._running}
        for ahead in range(number, min(number + 2 * count, LAUNCHES_MOST + 1)):
            key, turn = (case, ahead), pool_turn(ahead, count)
            if turn in busy or key in self._done or key in self._running:
                continue
            busy.add(turn)
            asked = msgspec.structs.replace(self._asked, case=case, number=ahead)
            node = self._machines[turn][0]
            self._running[key] = self._cluster.start(node, launch, self._parcel, msgspec.json.encode(asked))

    def _take(self, stream: Stream) -> None:
        key = next(key for key, own in self._running.items() if own is stream)
        raw = stream.next()
        del self._running[key]
        if raw is None or isinstance(raw, Lost):
            raise MeasurementError(
                f"{self.machine_of(key[1])} was lost while it measured launch {key[1]} of {key[0]}.",
                next_step="Gate again, without that machine if it does not come back.",
            )
        reply = msgspec.json.decode(raw, type=Measured | Failed)
        if isinstance(reply, Failed):
            raise MeasurementError(f"{self.machine_of(key[1])}: {reply.message}", next_step=reply.next_step)
        self._done[key] = reply.pairs


@contextmanager
def pooled(address: str, parcel: bytes, asked: Asked) -> Iterator[tuple[Pool, list[str]]]:
    """Connect to a cluster and take its equal machines as a pool.

    Yields:
        The pool, and the addresses of machines that are unlike it.

    Raises:
        UnavailableError: Ray is not installed, no cluster answers, or no two of its machines are equal.
    """
    with connected(address) as cluster:
        machines, others = equal_machines(cluster)
        pool = Pool(cluster, machines, parcel, asked)
        try:
            yield pool, others
        finally:
            pool.close()

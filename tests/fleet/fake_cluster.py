"""A cluster without Ray: nodes that answer, run jobs piece by piece, die and come back as a test says."""

import random
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from rtxbench import __version__
from rtxbench.fleet.cluster import Lost, Node
from rtxbench.fleet.jobs import Finished, Home, Job, NodeDescription, Progress
from rtxbench.machine import Cpu, Environment
from rtxbench.records import SCHEMA_VERSION, Case, CaseRecord, Run

ENVIRONMENT = Environment(
    machine="test-cpu-00aa11",
    cpu=Cpu(name="Test CPU", physical_cores=2, logical_cores=2, memory_bytes=2**34),
)


class FakeStream:
    """What one job sends; at ``dies_at`` items the node is gone."""

    def __init__(self, node: Node, items: Iterator[bytes], dies_at: int | None) -> None:
        self.node, self.items, self.left, self.cancelled = node, items, dies_at, False

    def next(self) -> bytes | Lost | None:
        if self.left is not None:
            if self.left == 0:
                return Lost("NodeDiedError")
            self.left -= 1
        return next(self.items, None)

    def cancel(self) -> None:
        self.cancelled = True


class FakeCluster:
    """Nodes by address, each with the same jobs.

    Args:
        addresses: of the nodes.
        jobs: that every node lists.
        deaths: called for each start with (node, job); says after how many items the node dies, ``None``: it lives.
        stop_after: raise KeyboardInterrupt at that many waits, as Ctrl-C would.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        jobs: Sequence[Job],
        deaths: Callable[[Node, Job], int | None] = lambda node, job: None,
        stop_after: int | None = None,
        seed: int = 0,
    ) -> None:
        self.addresses, self.jobs, self.deaths, self.stop_after = list(addresses), tuple(jobs), deaths, stop_after
        self.random = random.Random(seed)
        self.births = dict.fromkeys(self.addresses, 0)
        self.busy: set[str] = set()
        self.runs_started = 0
        self.streams: list[FakeStream] = []

    def nodes(self) -> list[Node]:
        """A node that died comes back, under another id, at the next look."""
        return [Node(f"{a}-{self.births[a]}", a, 2.0, 0.0) for a in self.addresses]

    def ask_all(self, nodes: Sequence[Node], function: object, *arguments: object) -> list[bytes | Lost]:
        return [
            msgspec.json.encode(NodeDescription(environment=ENVIRONMENT, version=__version__, jobs=self.jobs))
            for _ in nodes
        ]

    def start(self, node: Node, function: object, sweep: bytes, job: bytes, suffix: str) -> FakeStream:
        assert node.address not in self.busy, "a machine was given two jobs at once"
        self.busy.add(node.address)
        self.runs_started += 1
        decoded = msgspec.json.decode(job, type=Job)
        items = job_items(decoded, f"run{self.runs_started:04d}", suffix)
        stream = FakeStream(node, items, self.deaths(node, decoded))
        self.streams.append(stream)
        return stream

    def ready(self, streams: Sequence[FakeStream], limit_s: float) -> list[FakeStream]:
        if self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after < 0:
                raise KeyboardInterrupt
        chosen = self.random.choice(list(streams))
        items = chosen.items
        if chosen.left == 0:  # it dies now, and Ray would start it anew under another id
            self.births[chosen.node.address] += 1
            self.busy.discard(chosen.node.address)
        elif (following := next(items, None)) is None:
            self.busy.discard(chosen.node.address)
        else:
            chosen.items = _chain(following, items)
            if isinstance(msgspec.json.decode(following, type=Progress | Home | Finished), Finished):
                self.busy.discard(chosen.node.address)
        return [chosen]


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def job_items(job: Job, run_id: str, suffix: str, machine: str | None = None) -> Iterator[bytes]:
    """What a node sends of a job: progress, the file in two pieces, the file whole, the end."""
    content = run_file(job, run_id, machine or f"{ENVIRONMENT.machine}-{suffix}")
    name = f"{run_id}.jsonl"
    half = content.index(b"\n") + 10
    yield msgspec.json.encode(Progress(text=f"{job.name}: launch 1"))
    yield msgspec.json.encode(Home(name=name, offset_bytes=0, content=content[:half]))
    yield msgspec.json.encode(Home(name=name, offset_bytes=half, content=content[half:]))
    yield msgspec.json.encode(Home(name=name, offset_bytes=0, content=content))
    yield msgspec.json.encode(Finished(status=0, complaint=""))


def run_file(job: Job, run_id: str, machine: str) -> bytes:
    """A results file with one record."""
    run = Run(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        started_at="2026-01-01T00:00:00+00:00",
        monotonic_ns=0,
        realtime_ns=0,
        environment=replace(ENVIRONMENT, machine=machine),
        command=("rtxbench", "run"),
        profile="smoke",
        rtxbench_version=__version__,
    )
    case = Case(workload="mlp", precision="float32", placement="cpu", batch_size=8, engine="tensorflow")
    record = CaseRecord(
        record_id=f"{run_id}-{job.claim}",
        run_id=run_id,
        group=job.name,
        case=case,
        status="failed",
        reason="made for a test",
        finished_at="2026-01-01T00:00:01+00:00",
    )
    return msgspec.json.encode(run) + b"\n" + msgspec.json.encode(record) + b"\n"

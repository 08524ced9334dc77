"""Launches over a pool: who measures which, several at a time, and what a lost or unlike machine does."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from rtxbench import __version__
from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.fleet.cluster import Lost, Node
from rtxbench.fleet.jobs import NodeDescription
from rtxbench.gate.pool.machines import Pool, equal_machines
from rtxbench.gate.pool.node import Asked, Failed, Measured, launch
from rtxbench.gate.pool.parcel import packed, unpacked
from rtxbench.gate.session import ProcessPair, Settings, run_session
from rtxbench.machine import Environment
from tests.fleet.fake_cluster import ENVIRONMENT
from tests.gate.test_session import blocks

Reply = Callable[[str, Asked], bytes | Lost]


class FakeStream:
    """One launch on one node; it answers once."""

    def __init__(self, node: Node, reply: bytes | Lost) -> None:
        self.node, self.reply, self.cancelled = node, reply, False

    def next(self) -> bytes | Lost:
        return self.reply

    def cancel(self) -> None:
        self.cancelled = True


class FakeCluster:
    """Nodes that answer launches, one at a time each."""

    def __init__(self, environments: Sequence[Environment], reply: Reply, version: str = __version__) -> None:
        self.environments, self.reply, self.version = list(environments), reply, version
        self.busy: set[str] = set()
        self.asked: list[tuple[str, Asked]] = []
        self.streams: list[FakeStream] = []

    def nodes(self) -> list[Node]:
        return [Node(f"id{n}", f"10.0.0.{n}", 2.0, 0.0) for n in range(len(self.environments))]

    def ask_all(self, nodes: Sequence[Node], function: object) -> list[bytes | Lost]:
        answers = [NodeDescription(environment=one, version=self.version, jobs=()) for one in self.environments]
        return [msgspec.json.encode(one) for one in answers]

    def start(self, node: Node, function: object, parcel: bytes, asked: bytes) -> FakeStream:
        assert function is launch
        assert node.address not in self.busy, "a machine was given two launches at once"
        self.busy.add(node.address)
        request = msgspec.json.decode(asked, type=Asked)
        self.asked.append((node.address, request))
        self.streams.append(FakeStream(node, self.reply(node.address, request)))
        return self.streams[-1]

    def ready(self, streams: Sequence[FakeStream], limit_s: float) -> list[FakeStream]:
        self.busy.discard(streams[-1].node.address)  # the last begun is the first to end
        return [streams[-1]]


def measured(log_ratio: float = 0.0) -> Reply:
    """Every launch comes through, about a mean."""
    spread = itertools.cycle((-0.001, 0.0, 0.001))

    def reply(_address: str, _asked: Asked) -> bytes:
        pair = ProcessPair(log_ratio + next(spread), blocks(1000), blocks(1000))
        return msgspec.json.encode(Measured(pairs=(pair,)))

    return reply


def pool_of(cluster: FakeCluster) -> Pool:
    machines, _ = equal_machines(cluster)  # type: ignore[arg-type]
    return Pool(cluster, machines, b"", Asked(case="", number=0, profile="smoke"))  # type: ignore[arg-type]


def test_each_machine_measures_two_launches_in_a_row_and_all_measure_at_once() -> None:
    """Either arm is started first on each machine; launches that nobody waits for yet run where a machine is free."""
    cluster = FakeCluster([ENVIRONMENT] * 3, measured())
    pool = pool_of(cluster)
    pool.measure("a:f", 1)
    begun = {asked.number: address for address, asked in cluster.asked}
    assert set(begun) >= {1, 3, 5}
    for number in range(2, 9):
        pool.measure("a:f", number)
    begun = {asked.number: address for address, asked in cluster.asked}
    assert [begun[n] for n in range(1, 9)] == [f"10.0.0.{n}" for n in (0, 0, 1, 1, 2, 2, 0, 0)]
    assert len(cluster.asked) == len(begun)  # no launch twice


def test_a_session_over_a_pool_decides_and_remembers_who_measured() -> None:
    """Two cases, three machines: the outcome of each, and the machine of every launch."""
    cluster = FakeCluster([ENVIRONMENT] * 3, measured(0.3))
    pool = pool_of(cluster)
    settings = Settings(cases=("a:f", "b:f"))
    results = run_session(settings, pool.measure, machine_of=pool.machine_of)
    pool.close()
    assert [result.outcome for result in results] == ["regression"] * 2
    assert all(launch.machine == pool.machine_of(launch.number) for result in results for launch in result.launches)
    assert len(set(results[0].machines)) > 1


def test_the_largest_set_of_equal_machines_is_the_pool() -> None:
    """Another processor is another machine; it is left out and named."""
    other = replace(ENVIRONMENT, cpu=replace(ENVIRONMENT.cpu, name="Another CPU"))
    machines, others = equal_machines(FakeCluster([ENVIRONMENT, other, ENVIRONMENT], measured()))  # type: ignore[arg-type]
    assert [node.address for node, _ in machines] == ["10.0.0.0", "10.0.0.2"]
    assert len({machine.name for _, machine in machines}) == 2
    assert others == ["10.0.0.1"]
    with pytest.raises(UnavailableError, match="no two equal machines"):
        equal_machines(FakeCluster([ENVIRONMENT, other], measured()))  # type: ignore[arg-type]
    with pytest.raises(UnavailableError, match=r"rtxbench 0\.0\.1"):
        equal_machines(FakeCluster([ENVIRONMENT] * 2, measured(), version="0.0.1"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Lost("NodeDiedError"), "was lost while it measured launch 3"),
        (msgspec.json.encode(Failed(message="candidate: it raised", next_step="Mend it.")), "candidate: it raised"),
    ],
)
def test_a_lost_machine_or_a_failing_arm_ends_the_gate_with_its_name(reply: bytes | Lost, words: str) -> None:
    """Neither is an opinion on the candidate; what other machines still measure is given up."""
    cluster = FakeCluster([ENVIRONMENT] * 2, lambda address, asked: reply)
    pool = pool_of(cluster)
    with pytest.raises(MeasurementError, match=words):
        pool.measure("a:f", 1)
    pool.close()
    assert any(stream.cancelled for stream in cluster.streams)


def test_a_parcel_holds_both_trees_without_their_surroundings(tmp_path: Path) -> None:
    """Code travels; repository data, environments and links to elsewhere do not."""
    for role in ("old", "new"):
        (tmp_path / role / "src").mkdir(parents=True)
        (tmp_path / role / "src" / "m.py").write_text(f"NAME = '{role}'")
        (tmp_path / role / ".git").mkdir()
        (tmp_path / role / ".git" / "config").write_text("x")
        (tmp_path / role / "secret").symlink_to("/etc/hostname")
    baseline, candidate = unpacked(packed(tmp_path / "old", tmp_path / "new"), tmp_path / "there")
    assert (baseline / "src" / "m.py").read_text() == "NAME = 'old'"
    assert (candidate / "src" / "m.py").read_text() == "NAME = 'new'"
    assert {path.name for path in (tmp_path / "there").rglob("*") if path.is_file()} == {"m.py"}


def test_a_machine_unpacks_and_measures_one_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's part for real: both arms' processes from the parcel, and a failing arm said in words."""
    monkeypatch.setenv("RTXBENCH_LOCK", str(tmp_path / "lock"))
    for role in ("old", "new"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "m.py").write_text("def case():\n    return lambda: sum(range(1000))\n")
    parcel = packed(tmp_path / "old", tmp_path / "new")
    (sent,) = launch(parcel, msgspec.json.encode(Asked(case="m:case", number=1, profile="smoke")))
    reply = msgspec.json.decode(sent, type=Measured | Failed)
    assert isinstance(reply, Measured)
    assert reply.pairs[0].candidate.blocks_ns
    (sent,) = launch(parcel, msgspec.json.encode(Asked(case="m:absent", number=1, profile="smoke")))
    assert isinstance(msgspec.json.decode(sent, type=Measured | Failed), Failed)

"""A sweep brings every record home once, whatever dies on the way. The cluster is a fake one; files are real."""

import itertools
import random
from pathlib import Path

import pytest

from rtxbench.errors import UnavailableError
from rtxbench.fleet.cluster import Node
from rtxbench.fleet.jobs import Job, Sweep
from rtxbench.fleet.sweep import Fleet, State
from rtxbench.results.store import load_results
from tests.fleet.fake_cluster import FakeCluster

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
SWEEP = Sweep(profile="smoke")


def jobs(count: int) -> list[Job]:
    return [Job(claim=f"claim-{number}", workload="mlp", seconds=1.0) for number in range(count)]


def sweep(cluster: FakeCluster, results: Path, **options: object) -> Fleet:
    return Fleet(cluster, SWEEP, results, look_s=0.0, patience_s=0.05, **options)  # type: ignore[arg-type]


def groups_of(results: Path) -> list[tuple[str, str]]:
    return sorted(
        (loaded.run.environment.machine, record.group)
        for loaded in load_results([results])
        for record in loaded.records
    )


def strays(results: Path) -> list[Path]:
    return [path for path in results.rglob("*") if path.name.endswith(".part")]


def test_each_of_three_equal_machines_measures_everything(tmp_path: Path) -> None:
    """Three machines and 20 jobs make 60 records under three names, one file a job, and no draft is left."""
    outcome = sweep(FakeCluster(ADDRESSES, jobs(20)), tmp_path).run()
    found = groups_of(tmp_path)
    assert (outcome.done, outcome.failed, outcome.left) == (60, (), ())
    assert len(found) == len(set(found)) == 60
    assert len({machine for machine, _ in found}) == 3
    assert strays(tmp_path) == []


@pytest.mark.parametrize("seed", range(8))
def test_two_dead_nodes_and_a_dead_coordinator_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """Nodes die at random pieces, the sweep is stopped at a random moment and resumed: 60 records, each once."""
    chance = random.Random(seed)
    doomed = {chance.randrange(60): chance.randrange(5) for _ in range(2)}
    started: list[str] = []

    def deaths(node: Node, job: Job) -> int | None:
        started.append(job.name)
        return doomed.get(len(started) - 1)

    with pytest.raises(KeyboardInterrupt):
        sweep(FakeCluster(ADDRESSES, jobs(20), deaths, stop_after=chance.randrange(1, 250), seed=seed), tmp_path).run()
    second = FakeCluster(ADDRESSES, jobs(20), deaths, seed=seed + 1)
    second.runs_started = 1000  # run ids are never used twice
    outcome = sweep(second, tmp_path, resume=True).run()
    found = groups_of(tmp_path)
    assert outcome.failed == outcome.left == ()
    assert len(found) == len(set(found)) == 60
    assert strays(tmp_path) == []


def test_machines_that_share_measure_each_job_once(tmp_path: Path) -> None:
    """With --share, 30 jobs on three equal machines make 30 records, and every machine has some of them."""
    outcome = sweep(FakeCluster(ADDRESSES, jobs(30)), tmp_path, share=True).run()
    found = groups_of(tmp_path)
    assert outcome.done == len({group for _, group in found}) == len(found) == 30
    assert len({machine for machine, _ in found}) == 3


def test_a_machine_that_does_not_come_back_leaves_its_jobs_named(tmp_path: Path) -> None:
    """A node that dies for good ends the sweep after the patience; its jobs are listed, the others' are home."""

    class Mortal(FakeCluster):
        def nodes(self) -> list[Node]:
            return [node for node in super().nodes() if node.node_id.endswith("-0")]

    cluster = Mortal(ADDRESSES, jobs(3), lambda node, job: 1 if node.address == ADDRESSES[0] else None)
    outcome = sweep(cluster, tmp_path).run()
    assert outcome.done == 6
    assert len(outcome.left) == 3
    assert "claim-0/mlp" in " ".join(outcome.left)


def test_a_job_that_never_succeeds_is_tried_three_times_and_named(tmp_path: Path) -> None:
    """A job whose node always dies is given up after three tries, with the reason; the rest goes on."""
    cluster = FakeCluster(ADDRESSES[:1], jobs(3), lambda node, job: 2 if job.claim == "claim-1" else None)
    outcome = sweep(cluster, tmp_path).run()
    assert outcome.done == 2
    assert len(outcome.failed) == 1
    assert "claim-1/mlp" in outcome.failed[0]
    assert "NodeDiedError" in outcome.failed[0]
    assert cluster.runs_started == 5


def test_what_a_person_sees_counts_up_to_the_end(tmp_path: Path) -> None:
    """The last state told has every job done and nothing to go; a machine never goes back in its count."""
    seen: list[tuple[State, ...]] = []
    sweep(FakeCluster(ADDRESSES, jobs(4)), tmp_path, told=lambda states: seen.append(tuple(states))).run()
    assert [state.done for state in seen[-1]] == [4, 4, 4]
    assert sum(state.left_s for state in seen[-1]) == 0
    for earlier, later in itertools.pairwise(seen):
        assert all(a.done <= b.done for a, b in zip(earlier, later, strict=True))


def test_a_resumed_sweep_of_another_request_starts_anew(tmp_path: Path) -> None:
    """The ledger belongs to its request: another profile measures everything, though --resume is given."""
    sweep(FakeCluster(ADDRESSES[:1], jobs(2)), tmp_path).run()
    other = FakeCluster(ADDRESSES[:1], jobs(2))
    other.runs_started = 50
    Fleet(other, Sweep(profile="quick"), tmp_path, resume=True, look_s=0.0).run()
    assert other.runs_started == 52


def test_an_empty_cluster_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """Without a node nothing is swept, and the message says how to start one."""
    with pytest.raises(UnavailableError, match="ray start"):
        sweep(FakeCluster((), jobs(1)), tmp_path).run()

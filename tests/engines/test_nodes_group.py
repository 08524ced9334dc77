"""Ranks on several nodes: they run as one, and a lost one is named and takes no other with it into a hang."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from rtxbench.engines.nodes import group
from rtxbench.engines.nodes.links import Link, dialled
from rtxbench.engines.nodes.membership import NODES_VARIABLE, Agent, Nodes
from rtxbench.engines.nodes.messages import HUB_MESSAGES, End, Register
from rtxbench.engines.nodes.step import NodesStep, RunsOnNodes
from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.nodes import hub
from rtxbench.records import Case
from tests.fake_ranks import MODULE, TOKEN, agents, descendants, free_port, seat, started
from tests.waiting import gone, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fake_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks here and there run the fake program."""
    monkeypatch.setattr(group, "RANK_MODULE", MODULE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def case(world: int = 3, batch_size: int = 24) -> Case:
    return Case(workload="mlp", batch_size=batch_size, device_count=world, placement="multi-worker-cpu")


Lent = tuple[NodesStep, list["subprocess.Popen[bytes]"]]


@pytest.fixture
def lent() -> Iterator[Lent]:
    """A step of three ranks, two of them agents', and the agents."""
    port = free_port()
    with agents(port, 1, 2, world=3) as processes, hub.gathered(seat(port, 0, 3), TOKEN, "machine0", 30):
        step = NodesStep(case(), 0)
        yield step, processes
        step.close()


def test_the_ranks_run_as_one_and_are_described_in_their_order(lent: Lent) -> None:
    """Steps, loss, counts and the slowest rank's all-reduce come back; each rank's node is told with its machine."""
    step, processes = lent
    step.run(10)
    assert (step.loss(), step.flops().value, step.gradient_bytes().value) == (0.1, 10.0, None)
    assert step.all_reduce_s(4, 2) == [12, 12]
    assert isinstance(step, RunsOnNodes)
    nodes = step.nodes()
    assert [(node.rank, node.machine, node.device, node.interface) for node in nodes] == [
        (0, "machine0", "cpu:0", "lo"), (1, "machine1", "cpu:0", "lo"), (2, "machine2", "cpu:0", "lo")
    ]  # fmt: skip
    assert all(node.link_bit_per_s is None and "link_bit_per_s" in node.missing for node in nodes)
    step.close()
    wait_until(lambda: not any(map(_alive, processes)), "the ranks to end")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_lost_in_a_step_is_named_and_no_process_is_left(
    lent: Lent, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed or stopped while the others hang in their barrier: an error that names it, and every rank is gone."""
    monkeypatch.setattr(group, "SILENCE_LIMIT_S", 3.0)
    step, processes = lent
    (victim,) = descendants(processes[1])
    mine = [child.pid for child in psutil.Process().children() if MODULE in " ".join(child.cmdline())]
    victim.send_signal(number)
    with pytest.raises(MeasurementError, match=r"rank 2 of 3 on .* was lost"):
        step.run(10_000)
    with pytest.raises(MeasurementError, match="rank 2 of 3"):
        step.run(1)  # nothing is started anew in its place
    here = set(mine) - {process.pid for process in processes}
    assert here
    wait_until(lambda: not _alive(processes[0]) and all(map(gone, here)), "the other ranks to end")
    if number == signal.SIGSTOP:
        victim.resume()
    wait_until(lambda: not _alive(processes[1]), "the stopped rank to end")


def test_a_rank_that_fails_is_named_while_the_others_hang(lent: Lent) -> None:
    """Its own reason is the case's, not that of the collective which lacks it."""
    lent[0].close()
    step = NodesStep(case(batch_size=666), 0)
    with pytest.raises(UnavailableError, match=r"rank 1 on .*: no such device\. Add one\."):
        step.run(1)


def test_ranks_whose_rank_0_is_killed_end_themselves() -> None:
    """Rank 0's process killed in the middle of a step: its agents and their ranks are gone."""
    port = free_port()
    with agents(port, 1, 2, world=3) as processes:
        leader = started("lead", port, 3)
        assert leader.stdout is not None and leader.stdout.readline() == b"leading\n"
        assert all(_alive(process) for process in processes)
        ranks = [rank for process in (*processes, leader) for rank in descendants(process)]
        leader.kill()
        leader.communicate()
        wait_until(lambda: all(process.poll() is not None for process in processes), "the agents to end")
        wait_until(lambda: all(gone(rank.pid) for rank in ranks), "the ranks to end")


def test_a_node_that_never_came_is_a_failure_with_its_reason() -> None:
    """The run goes on without it, and the case that wants it says which rank did not come."""
    port, heard = free_port(), list[str]()
    joining = threading.Thread(target=_join, args=(port,))
    joining.start()
    with hub.gathered(seat(port, 0, 3), TOKEN, "m", 3, heard.append) as nodes:
        assert len(nodes.agents) == 1 and heard[-1] == "rank 2 did not come within 3 s"
        with pytest.raises(MeasurementError, match="3 ranks are wanted and 2 came: rank 2 did not come"):
            NodesStep(case(), 0)
    joining.join()


def _join(port: int) -> None:
    """Register as rank 1, and stay until the end."""
    while True:
        with contextlib.suppress(OSError):
            link = Link(dialled("127.0.0.1", port, TOKEN), HUB_MESSAGES)
            break
    link.send(Register(rank=1, host="127.0.0.1", port=1))
    assert isinstance(link.receive(), End)
    link.close()


def test_a_node_that_is_gone_when_its_rank_is_wanted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there any more: rank 1 does not start."""
    nodes = Nodes(address="127.0.0.1", token=TOKEN, agents=(Agent(host="127.0.0.1", port=free_port()),))
    monkeypatch.setenv(NODES_VARIABLE, msgspec.json.encode(nodes).decode())
    with pytest.raises(MeasurementError, match=r"rank 1 on 127\.0\.0\.1 does not start"):
        NodesStep(case(world=2), 0)


def test_a_run_of_one_node_and_an_odd_batch_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both say what to do instead."""
    monkeypatch.delenv(NODES_VARIABLE, raising=False)
    with pytest.raises(UnavailableError, match=r"one node only.*--nodes"):
        NodesStep(case(), 0)
    with pytest.raises(UnavailableError, match="cannot share 25"):
        NodesStep(case(batch_size=25), 0)


def _alive(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return [one for one in descendants(process) if not gone(one.pid)]

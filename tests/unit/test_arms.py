"""Workers of one launch, and of the next one started ahead."""

from pathlib import Path

import psutil
import pytest

from rtxbench.errors import RtxbenchError
from rtxbench.measure.arms import Arm, WorkersAhead, end_workers, start_workers
from rtxbench.measure.process import WorkerSpec
from rtxbench.records import Case

SPEC = WorkerSpec(engine="python")


def arms(*names: str, placement: str = "cpu", spec: WorkerSpec = SPEC) -> list[Arm]:
    return [Arm(Case(workload="steps:make", batch_size=1, placement=placement), spec, name=name) for name in names]


def test_the_next_launch_is_started_with_this_one() -> None:
    """Two launches' processes run at once, differ, and the second asks for no third where two are all."""
    ahead = WorkersAhead(launches=2)
    first = ahead(arms("a", "b"))
    children = {child.pid for child in psutil.Process().children()}
    second = ahead(arms("a", "b"))
    try:
        assert first["a"].pid == first["b"].pid != second["a"].pid
        assert second["a"].pid in children
        assert {child.pid for child in psutil.Process().children()} == children
    finally:
        end_workers(first)
        end_workers(second)
    ahead.close()


def test_a_launch_that_does_not_come_leaves_no_process() -> None:
    """Closing ends the workers that were started ahead."""
    before = set(psutil.Process().children())
    ahead = WorkersAhead(launches=5)
    end_workers(ahead(arms("a")))
    assert set(psutil.Process().children()) - before
    ahead.close()
    assert set(psutil.Process().children()) == before


def test_other_arms_than_foreseen_get_workers_of_their_own() -> None:
    """When an arm was given up, the workers started ahead for both are ended and fresh ones started."""
    ahead = WorkersAhead(launches=5)
    end_workers(ahead(arms("a", "b")))
    foreseen = {child.pid for child in psutil.Process().children()}
    fresh = ahead(arms("a"))
    assert fresh["a"].pid not in foreseen
    assert not foreseen & {child.pid for child in psutil.Process().children()}
    end_workers(fresh)
    ahead.close()


def test_nothing_is_started_ahead_on_a_gpu() -> None:
    """A sleeping worker would hold device memory, so a GPU launch starts only its own."""
    before = set(psutil.Process().children())
    ahead = WorkersAhead(launches=5)
    end_workers(ahead(arms("a", placement="gpu")))
    assert set(psutil.Process().children()) == before


def test_a_worker_that_cannot_start_leaves_none_behind(tmp_path: Path) -> None:
    """One of two specs fails: the error is raised and the other's process is ended."""
    before = set(psutil.Process().children())
    broken = WorkerSpec(engine="python", directory=tmp_path, command=("-c", "raise SystemExit(3)"))
    with pytest.raises(RtxbenchError, match="exit status 3"):
        start_workers([*arms("a"), *arms("b", spec=broken)])
    assert set(psutil.Process().children()) == before

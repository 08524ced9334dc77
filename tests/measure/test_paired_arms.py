"""Workers of one launch, and of the next one started ahead."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import rtxbench
from rtxbench.errors import RtxbenchError
from rtxbench.measure.paired.arms import (
    LAYOUT_VARIABLE,
    Arm,
    ToCome,
    WorkersAhead,
    _with_layout,
    end_workers,
    start_workers,
)
from rtxbench.records import Case
from rtxbench.workers.process import WorkerSpec
from rtxbench.workers.protocol import Build, Built
from tests.waiting import HANG_S

SPEC = WorkerSpec(engine="python")


def children_here() -> set[int]:
    """Process ids of this process's children, but for the helper that multiprocessing keeps once it was used."""
    return {
        child.pid
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline())
    }


def arms(*names: str, placement: str = "cpu", spec: WorkerSpec = SPEC) -> list[Arm]:
    return [Arm(Case(workload="steps:make", batch_size=1, placement=placement), spec, name=name) for name in names]


def ahead_of(*launches: list[Arm], build: bool = False) -> WorkersAhead:
    """Workers for these launches in their order; the launches of equal arms count up their seeds."""
    ahead = WorkersAhead(build=build)
    ahead.expect(ToCome(pair, seed=launches[:number].count(pair)) for number, pair in enumerate(launches))
    return ahead


def test_the_next_launch_is_started_with_this_one() -> None:
    """Two launches' processes run at once, differ, and the second asks for no third where two are all."""
    ahead = ahead_of(arms("a", "b"), arms("a", "b"))
    first = ahead(arms("a", "b"))
    children = children_here()
    second = ahead(arms("b", "a"))
    try:
        assert first["a"].pid == first["b"].pid != second["a"].pid
        assert second["a"].pid in children
        assert children_here() == children
    finally:
        end_workers(first)
        end_workers(second)
    ahead.close()


def test_launches_of_two_groups_get_ready_together() -> None:
    """In a session's turn the neighbour is another group: its workers start beside this one's."""
    ahead = ahead_of(arms("a"), arms("b"), arms("a"))
    begun: set[int] = set()
    together = []
    for name in ("a", "b", "a"):
        workers = ahead(arms(name))
        children = children_here()
        together.append(len(children - begun))
        begun |= children
        end_workers(workers)
    ahead.close()
    assert together == [2, 0, 1]


def test_every_process_lies_elsewhere_in_memory() -> None:
    """Workers of equal specs get environments of unlike length, so that no memory layout persists over launches."""
    ahead = ahead_of(*[arms("a")] * 4)
    lengths = []
    for _ in range(4):
        workers = ahead(arms("a"))
        environ = psutil.Process(workers["a"].pid).environ()
        lengths.append(len(environ[LAYOUT_VARIABLE]))
        assert environ[LAYOUT_VARIABLE] == workers["a"].spec.environment[LAYOUT_VARIABLE]
        end_workers(workers)
    ahead.close()
    assert len(set(lengths)) > 1  # four equal lengths of 4,096 would be one chance in 7e10


def test_a_launch_that_does_not_come_leaves_no_process() -> None:
    """Closing ends the workers that were started ahead."""
    before = children_here()
    ahead = ahead_of(*[arms("a")] * 5)
    end_workers(ahead(arms("a")))
    assert children_here() - before
    ahead.close()
    assert children_here() == before


def test_other_arms_than_foreseen_get_workers_of_their_own() -> None:
    """When an arm was given up, the workers started ahead for both are ended and fresh ones started."""
    ahead = ahead_of(*[arms("a", "b")] * 5)
    end_workers(ahead(arms("a", "b")))
    foreseen = children_here()
    fresh = ahead(arms("a"))
    assert fresh["a"].pid not in foreseen
    assert not foreseen & children_here()
    end_workers(fresh)
    ahead.close()


def test_nothing_is_started_ahead_on_a_gpu() -> None:
    """A sleeping worker would hold device memory, so a GPU launch starts only its own."""
    before = children_here()
    pair = arms("a", placement="gpu")
    ahead = ahead_of(pair, pair)
    end_workers(ahead(pair))
    assert children_here() == before


def test_a_worker_that_cannot_start_leaves_none_behind(tmp_path: Path) -> None:
    """One of two specs fails: the error is raised and the other's process is ended."""
    before = children_here()
    broken = WorkerSpec(engine="python", directory=tmp_path, command=("-c", "raise SystemExit(3)"))
    with pytest.raises(RtxbenchError, match="exit status 3"):
        start_workers([*arms("a"), *arms("b", spec=broken)])
    assert children_here() == before


def _steps(folder: Path, text: str) -> WorkerSpec:
    (folder / "steps.py").write_text(text)
    paths = os.pathsep.join([str(folder), str(Path(rtxbench.__file__).parents[1])])
    return WorkerSpec(engine="python", directory=folder, environment={"PYTHONPATH": paths})


def test_two_launches_build_at_the_same_time(tmp_path: Path) -> None:
    """Each build waits for the other one's sign of life: both are answered only if they run side by side."""
    spec = _steps(
        tmp_path,
        "import os, pathlib, time\n"
        "def make():\n"
        "    pathlib.Path(f'building-{os.getpid()}').touch()\n"
        "    while len(list(pathlib.Path('.').glob('building-*'))) < 2: time.sleep(0.01)\n"
        "    return lambda: None\n",
    )
    pair = arms("a", spec=spec)
    ahead = ahead_of(pair, pair, build=True)
    first = ahead(pair)
    second = ahead(pair)
    try:
        for seed, workers in enumerate((first, second)):
            request = Build(arm="a", case=pair[0].case, seed=seed)
            assert workers["a"].ask(request, Built, HANG_S).build_s >= 0
    finally:
        end_workers(first)
        end_workers(second)
    ahead.close()


def test_what_fails_beside_another_is_built_alone(tmp_path: Path) -> None:
    """Where a build fails beside another one (memory, say), the launch gets workers that have built nothing yet."""
    spec = _steps(
        tmp_path,
        "import pathlib\n"
        "def make():\n"
        "    with open('tries', 'a') as tries: tries.write('.')\n"
        "    if pathlib.Path('tries').stat().st_size <= 2: raise MemoryError('out of memory')\n"
        "    return lambda: None\n",
    )
    pair = arms("a", spec=spec)
    ahead = ahead_of(*[pair] * 5, build=True)
    for seed in range(3):
        workers = ahead(pair)
        try:
            workers["a"].ask(Build(arm="a", case=pair[0].case, seed=seed), Built, HANG_S)
        finally:
            end_workers(workers)
    ahead.close()
    assert (tmp_path / "tries").read_text() == "....."  # two side by side failed, then one a launch


def stack_places(environments: list[dict[str, str]]) -> set[int]:
    """Where the stack of a process with each environment starts while the system's own randomisation is off."""
    start = "print(open('/proc/self/stat').read().rsplit(')', 1)[1].split()[25])"
    command = ["setarch", "-R", sys.executable, "-I", "-c", start]
    if shutil.which("setarch") is None or subprocess.run(["setarch", "-R", "true"], check=False).returncode:
        pytest.skip("the system's own randomisation cannot be switched off here")
    runs = [subprocess.run(command, env=one, capture_output=True, text=True, check=True) for one in environments]
    return {int(run.stdout) for run in runs}


def test_padding_moves_the_stack_of_every_launch() -> None:
    """Of eight processes whose addresses are otherwise fixed all begin at one place; padded ones hardly ever do."""
    plain = dict(os.environ)
    assert len(stack_places([plain] * 8)) == 1
    assert len(stack_places([{**plain, **_with_layout(SPEC).environment} for _ in range(8)])) >= 5

"""The coordinator's end of a worker: one that dies, hangs or fails is told apart, and none is left behind."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import rtxbench
from rtxbench.errors import MeasurementError, UnavailableError, WorkerLostError
from rtxbench.records import Case
from rtxbench.workers import process
from rtxbench.workers.process import RestartingWorker, WorkerProcess, WorkerSpec, threads_of
from rtxbench.workers.protocol import MEASURING_REPLIES, Build, Built
from tests.waiting import HANG_S

STEPS = """
import os, time
def dying(): return lambda: os._exit(7)
def hanging(): return lambda: time.sleep(600)
def failing(): raise RuntimeError("broken")
def fine(): return lambda: 1.0
"""


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    (tmp_path / "steps.py").write_text(STEPS)
    return WorkerSpec(engine="python", directory=tmp_path, environment={"PYTHONPATH": _path_with(tmp_path)})


@pytest.fixture
def worker(spec: WorkerSpec) -> Iterator[WorkerProcess]:
    process = WorkerProcess(spec)
    yield process
    process.kill()


def build(step: str) -> Build:
    return Build(arm=step, case=Case(workload=f"steps:{step}", batch_size=1, engine="python"), seed=0)


def test_a_dying_worker_says_how_it_died(worker: WorkerProcess) -> None:
    """A worker killed by its own code becomes an error that names the exit, not a hang; so does the next request."""
    for _ in range(2):
        with pytest.raises(WorkerLostError, match="exit status 7"):
            worker.ask(build("dying"), Built, HANG_S)


def test_a_hanging_worker_is_given_up_at_its_limit(worker: WorkerProcess) -> None:
    """A step that never returns ends as an error at the request's limit; no late reply is taken for the next one's."""
    with pytest.raises(WorkerLostError, match="said nothing"):
        worker.ask(build("hanging"), Built, 1.0)
    with pytest.raises(WorkerLostError, match="said nothing"):
        worker.ask(build("fine"), Built, HANG_S)


def test_a_failing_request_leaves_the_worker_alive(worker: WorkerProcess) -> None:
    """The error is the request's own, no lost worker; the next request is served by the same process."""
    pid = worker.pid
    with pytest.raises(MeasurementError, match="broken") as caught:
        worker.ask(build("failing"), Built, HANG_S)
    assert not isinstance(caught.value, WorkerLostError)
    assert worker.ask(build("fine"), Built, HANG_S).build_s >= 0
    assert worker.pid == pid


def test_a_lost_worker_is_started_again_when_it_is_next_asked(spec: WorkerSpec) -> None:
    """One that died gives its error once; a request that only failed keeps the process."""
    worker = RestartingWorker(spec, MEASURING_REPLIES)
    try:
        worker.ask(build("fine"), Built, HANG_S)
        first = worker.pid
        with pytest.raises(MeasurementError, match="broken"):
            worker.ask(build("failing"), Built, HANG_S)
        assert worker.pid == first
        with pytest.raises(WorkerLostError):
            worker.ask(build("dying"), Built, HANG_S)
        assert worker.pid is None
        worker.ask(build("fine"), Built, HANG_S)
        assert worker.pid not in (None, first)
    finally:
        worker.close()


def test_workers_asked_from_threads_are_gone_after_an_interruption(spec: WorkerSpec) -> None:
    """Leaving early, as Ctrl-C does, ends a worker that is busy, and its thread with it."""
    before = set(psutil.Process().children())
    workers = [RestartingWorker(spec, MEASURING_REPLIES) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt), threads_of(workers) as pool:
        waiting = pool.submit(workers[0].ask, build("hanging"), Built, HANG_S)
        pool.submit(workers[1].ask, build("fine"), Built, HANG_S).result()
        raise KeyboardInterrupt
    assert isinstance(waiting.exception(), WorkerLostError)
    assert set(psutil.Process().children()) == before


def test_a_file_named_like_a_library_does_not_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``numpy.py`` in the folder a run is started from is not imported by a framework's worker."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    code = "import numpy; raise SystemExit('numpy is ' + numpy.__name__ + ' with ' + numpy.float32.__name__)"
    package = str(Path(rtxbench.__file__).parents[1])
    spec = WorkerSpec(engine="tensorflow", command=("-c", code), environment={"PYTHONPATH": package})
    worker = WorkerProcess(spec)
    with pytest.raises(MeasurementError, match="numpy with float32"):
        worker.await_ready()


def test_an_engine_that_cannot_start_is_unavailable(spec: WorkerSpec) -> None:
    """The worker's own words come back as the error they were there."""
    environment = {"KERAS_BACKEND": "elsewhere", **spec.environment}
    worker = WorkerProcess(WorkerSpec(engine="torch", python=sys.executable, environment=environment))
    with pytest.raises(UnavailableError):
        worker.await_ready()


def _path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), str(Path(rtxbench.__file__).parents[1])])


def test_a_switch_that_mixes_the_arms_precisions_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 17: under TF_USE_CUBLASLT TensorFlow's second arm would multiply in the first one's precision."""
    monkeypatch.setenv("TF_USE_CUBLASLT", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    passed = process.process_environment(WorkerSpec(engine="tensorflow"))
    assert "TF_USE_CUBLASLT" not in passed
    assert passed["OMP_NUM_THREADS"] == "1"

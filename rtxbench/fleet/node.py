"""Work on one node: describe it, list its jobs, and measure one of them in a process of its own.

Ray runs these functions there. They take and return bytes and JSON, so that no object of one version of rtxbench is
unpickled by another.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Final

import msgspec
import psutil

from rtxbench import __version__
from rtxbench.errors import UnavailableError
from rtxbench.fleet.jobs import Finished, Home, Job, NodeDescription, Progress, Sweep
from rtxbench.hardware.environment import describe
from rtxbench.hardware.machine_lock import measuring_alone
from rtxbench.machine import Environment
from rtxbench.measure.profiles import profile_named
from rtxbench.planning.duration import group_s
from rtxbench.planning.engine_gpus import usable_gpus
from rtxbench.planning.imagined import machine_of
from rtxbench.planning.suite import plan, trials_of
from rtxbench.processes import end_with_parent

__all__ = ["answer", "as_started", "is_busy", "measure"]

_PREFIX: Final = "rtxbench-fleet-"
_POLL_S: Final = 0.25
_END_LIMIT_S: Final = 20.0
_SET_BY_RAY: Final = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""Ray sets them for all that it runs; left in place they would change what is measured."""


def answer(sweep_json: bytes) -> bytes:
    """Describe this machine and list what the sweep comes to on it (a `NodeDescription`, JSON)."""
    as_started()
    sweep = msgspec.json.decode(sweep_json, type=Sweep)
    environment, refused = usable_gpus(describe(), (sweep.engine,))
    jobs = _jobs(sweep, environment, refused)
    return msgspec.json.encode(NodeDescription(environment=environment, version=__version__, jobs=jobs))


def as_started() -> None:
    """Give this process the environment that its node was started with, without what Ray adds."""
    for name in _SET_BY_RAY:
        os.environ.pop(name, None)
    os.environ.update(_node_variables())


def is_busy() -> bytes:
    """Tell whether somebody measures on this machine now (JSON)."""
    try:
        with measuring_alone(str, wait=False):
            return msgspec.json.encode(False)
    except UnavailableError:
        return msgspec.json.encode(True)


def _jobs(sweep: Sweep, environment: Environment, refused: Mapping[str, str]) -> tuple[Job, ...]:
    machine, profile = machine_of(environment), profile_named(sweep.profile)
    seconds: dict[tuple[str, str], float] = {}
    for group in plan(sweep.request, environment, refused):
        if group.cases:
            key = group.claim, group.workload
            seconds[key] = seconds.get(key, 0.0) + group_s(group, machine, profile)
    groups = [Job(claim=claim, workload=workload, seconds=s) for (claim, workload), s in seconds.items()]
    trials = () if sweep.workloads and not sweep.claims else trials_of(sweep.request)
    return (*groups, *(Job(claim=claim) for claim in trials))


def measure(sweep_json: bytes, job_json: bytes, suffix: str) -> Iterator[bytes]:
    """Measure one job; yield what is known of it as it comes (`Progress`, `Home`, at last `Finished`, JSON).

    The measuring process dies with this one, and this one with the sweep: nothing outlives who asked for it.
    """
    sweep = msgspec.json.decode(sweep_json, type=Sweep)
    job = msgspec.json.decode(job_json, type=Job)
    _clear_up()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as folder, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rtxbench", *sweep.run_arguments(job, Path(folder) / "results")],
            env=_node_variables() | ({"RTXBENCH_MACHINE_SUFFIX": suffix} if suffix else {}),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 (it allocates nothing another thread may lock)
        )
        try:
            yield from _watched(process, Path(folder) / "results", log)
        finally:
            _end(process)


def _watched(process: "subprocess.Popen[bytes]", results_dir: Path, log: IO[bytes]) -> Iterator[bytes]:
    sent: dict[Path, int] = {}
    printed = 0
    while True:
        ended = process.poll() is not None
        lines = os.pread(log.fileno(), 1 << 20, printed)
        whole = lines if ended else lines[: lines.rfind(b"\n") + 1]
        printed += len(whole)
        if whole.strip():
            yield msgspec.json.encode(Progress(text=whole.decode(errors="replace").strip().splitlines()[-1]))
        if ended:
            break
        yield from _grown(results_dir, sent)
        time.sleep(_POLL_S)
    for path in sorted(results_dir.glob("*/*.jsonl")):
        yield msgspec.json.encode(Home(name=path.name, offset_bytes=0, content=path.read_bytes()))
    complaint = lines.decode(errors="replace").strip().splitlines()[-1:] if process.returncode else []
    yield msgspec.json.encode(Finished(status=process.returncode, complaint="".join(complaint)))


def _grown(results_dir: Path, sent: dict[Path, int]) -> Iterator[bytes]:
    """Send what was appended to the records since they were last sent; traces go home whole, at the end."""
    for path in sorted(results_dir.glob("*/*.jsonl")):
        if path.name.endswith(".trace.jsonl"):
            continue
        with path.open("rb") as stream:
            stream.seek(sent.get(path, 0))
            content = stream.read()
        if content:
            yield msgspec.json.encode(Home(name=path.name, offset_bytes=sent.get(path, 0), content=content))
            sent[path] = sent.get(path, 0) + len(content)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the process to end as Ctrl-C would, which ends its workers and its recorder, then make sure."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _clear_up() -> None:
    """Remove what a job left here whose process was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _node_variables() -> dict[str, str]:
    """Return the environment this node was started with: that of Ray's process on it, without what Ray adds."""
    try:
        return psutil.Process(int(os.environ["RAY_RAYLET_PID"])).environ()
    except (KeyError, psutil.Error):  # not under Ray, or another user's process
        return {name: value for name, value in os.environ.items() if name not in _SET_BY_RAY}

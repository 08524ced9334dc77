"""Faults of the machine end in one sentence and a code that means one thing; what was finished stays."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from rtxbench.results.store import find_result_files, load_run
from rtxbench.robustness.aftermath import TOKEN, family
from rtxbench.robustness.scenarios import SCENARIOS, TEMPORARY, environment_in
from tests.waiting import HANG_S, wait_until

PACKAGE = Path(__file__).parents[2] / "rtxbench"
MERGE, TRACE, RUN = (SCENARIOS[name].command for name in ("merge", "trace", "run"))
CLAIMS = (*MERGE[:4], "claims")
MEMORY_RULES = (
    ("/sys/fs/cgroup", "v2", "memory.max"),
    ("/sys/fs/cgroup/memory", "v1", "memory.limit_in_bytes"),
)
"""Folder of the kernel's groups of processes, its version, the file that limits a group's memory."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which each of the commands finds what it needs."""
    (tmp_path / TEMPORARY).mkdir()
    work = tmp_path / "work"
    work.mkdir()
    for name in ("merge", "run"):
        SCENARIOS[name].prepare(work)
    return work


def ran(command: Sequence[str], folder: Path, prefix: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command by a shell, behind a prefix of the shell's own, and hold it to its promises."""
    done = subprocess.run(
        ["sh", "-c", f'{prefix} exec "$@"', "sh", *command],
        cwd=folder,
        env=environment_in(folder) | variables,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=HANG_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode not in (1, 70), done.stderr
    for path in find_result_files([folder]):
        load_run(path)
    return done


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small_disk: Path, folder: Path) -> None:
    """Run and merge end with 4 and name the disk; what was written before loads."""
    (small_disk / "filler").write_bytes(b"x" * 60 * 1024)
    for command in ((*RUN, "--results", str(small_disk / "r")), (*MERGE[:-1], str(small_disk / "m"))):
        done = ran(command, folder)
        assert (done.returncode, "space" in done.stderr) == (4, True), done.stderr


def test_a_read_only_disk_is_said(small_disk: Path, folder: Path) -> None:
    """Nothing can be written: one line, exit 4."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in ((*RUN, "--results", str(small_disk / "r")), (*MERGE[:-1], str(small_disk / "m"))):
        done = ran(command, folder)
        assert (done.returncode, "Read-only" in done.stderr) == (4, True), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [CLAIMS, MERGE])
def test_no_space_on_standard_output(command: tuple[str, ...], folder: Path) -> None:
    """Output that goes nowhere is no success, and no traceback."""
    assert ran(command, folder, prefix="exec >/dev/full;").returncode == 4


@pytest.mark.parametrize("command", [MERGE, RUN])
def test_a_deleted_working_folder(command: tuple[str, ...], folder: Path) -> None:
    """The shell's own folder is gone: the command says so or does without."""
    done = ran(command, folder, prefix="mkdir gone; cd gone; rmdir ../gone; ")
    assert done.returncode != 0
    assert done.stderr.strip()


@pytest.mark.parametrize("most", [12, 24, 64])
def test_few_open_files(most: int, folder: Path) -> None:
    """`ulimit -n`: the run works or says in a line why not."""
    done = ran((*RUN, "--results", "few"), folder, prefix=f"ulimit -n {most};")
    assert done.returncode == 0 or done.stderr.strip()


def test_without_proc(folder: Path) -> None:
    """A container may hide /proc: merging works, measuring works or says why not."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root may take /proc away")
    hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let /proc be taken away")
    assert ran([*hidden, *MERGE], folder).returncode == 0
    done = ran([*hidden, *RUN], folder)
    assert done.returncode == 0 or done.stderr.strip()


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "40"},
    ],
)
def test_any_locale_and_a_narrow_terminal(variables: dict[str, str], folder: Path) -> None:
    """What a terminal cannot show is escaped or wrapped; the outcome is the same."""
    assert ran(MERGE, folder, **variables).returncode == 0
    assert ran(CLAIMS, folder, **variables).returncode == 0


@pytest.fixture(params=[60, 95])
def little_memory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A group of processes that may hold so many MiB together; the kernel kills the largest of them beyond that."""
    first, _, limit = next((rule for rule in MEMORY_RULES if (Path(rule[0]) / "cgroup.procs").exists()), ("", "", ""))
    group = Path(first) / f"rtxbench-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(request.param * 2**20))
    except OSError:
        pytest.skip("this system lets no memory limit be set")
    yield group / "cgroup.procs"
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "the end of the group's processes")
    group.rmdir()


def test_a_host_out_of_memory_loses_nothing(little_memory: Path, folder: Path) -> None:
    """Whichever process the kernel chooses, none is left behind, what was finished loads, and the next run works."""
    done = ran((*RUN, "--results", "r"), folder, prefix=f"echo $$ > {little_memory};")
    assert done.returncode in (0, 4, -signal.SIGKILL), done.stderr
    wait_until(lambda: not little_memory.read_text(), "the end of the run's processes")
    assert ran((*RUN, "--results", "r", "--resume"), folder).returncode in (0, 4)


def test_a_machine_that_sleeps_wakes_up_to_the_same_run(folder: Path) -> None:
    """Frozen for a while in the middle, with all its processes, a run goes on and keeps what it had."""
    variables = environment_in(folder) | {TOKEN: str(folder)}
    process = subprocess.Popen(RUN, cwd=folder, env=variables, start_new_session=True, stderr=-3)
    wait_until(lambda: len(family(str(folder))) >= 3, "the coordinator, the recorder and a worker")
    frozen = family(str(folder))
    for one in frozen:
        one.suspend()
    time.sleep(0.5)
    for one in frozen:
        one.resume()
    assert process.wait(HANG_S) == 0
    (path,) = (one for one in find_result_files([folder / "results"]))
    assert load_run(path).records


def test_no_duration_rests_on_a_clock_that_can_be_stepped() -> None:
    """The wall clock dates records; durations and deadlines come from the monotonic one, which nobody sets."""
    stepped = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "time.time" not in text:
            continue
        differences = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.BinOp | ast.Compare)]
        stepped += [path.name for node in differences if "time.time" in ast.unparse(node)]
    assert set(stepped) == {"sampling.py"}  # NVML dates what it saw of processes by the wall clock, and is asked so


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_was_stepped_between_runs_confuses_no_reader(days: int, folder: Path) -> None:
    """Records dated before their run began, or far in the future, load and are judged."""
    path = folder / "given" / "sample.jsonl"
    year = 2026 + round(days / 365)
    path.write_text(path.read_text(encoding="utf-8").replace('"finished_at":"2026-', f'"finished_at":"{year}-'))
    assert ran((*CLAIMS, "--results", "given"), folder).returncode == 0


def test_a_second_run_is_refused_while_one_measures(folder: Path) -> None:
    """`--no-wait` ends with 3 and says who is in the way."""
    with FileLock(environment_in(folder)["RTXBENCH_LOCK"]):
        second = ran((*RUN, "--no-wait"), folder)
    assert (second.returncode, "measures on this machine" in second.stderr) == (3, True), second.stderr


def test_python_of_the_tests_is_the_one_that_is_tested() -> None:
    """The commands above run by this interpreter."""
    assert {command[0] for command in (MERGE, TRACE, RUN)} == {sys.executable}

"""Kill commands at random moments and look at what they leave: nothing finished is lost, nobody is left behind.

Every process of a trial inherits a token in its environment, so that orphans are found wherever they were re-parented.
What is on disk the moment before the signal must be there afterwards, and load.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec
import psutil

from rtxbench.errors import RtxbenchError
from rtxbench.processes import run_git
from rtxbench.results.store import find_result_files, load_run
from rtxbench.robustness.mutants import sample_lines

__all__ = ["SCENARIOS", "KillTrial", "Scenario", "kill_trials"]

_RTXBENCH: Final = (sys.executable, "-P", "-m", "rtxbench")
_TOKEN: Final = "RTXBENCH_KILL_TRIAL"
_HANG_S: Final = 120.0
_ORPHAN_S: Final = 30.0
"""A child may take this long to notice that its parent is gone."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


class Scenario(NamedTuple):
    """A command to kill."""

    prepare: Callable[[Path], None]
    """Make in an empty folder what the command needs."""
    command: tuple[str, ...]
    """Arguments after ``rtxbench``; it runs in that folder."""
    lasts_s: float
    """About how long it takes on an idle machine; signals are spread over it and a little more."""


class KillTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One kill and what it left. ``problems`` is empty where all is well."""

    number: int
    scenario: str
    signals: tuple[str, ...]
    target: str
    """coordinator, child or nobody (it had ended already)."""
    exit_code: int | None
    records_before: int
    records_after: int
    problems: tuple[str, ...]


def _nothing(_folder: Path) -> None:
    return None


def _sample_results(folder: Path) -> None:
    (folder / "given").mkdir()
    (folder / "given" / "sample.jsonl").write_bytes(b"".join(sample_lines()))


def _repository(folder: Path) -> None:
    (folder / "step.py").write_text("def make_step():\n    return lambda: sum(range(20_000))\n", encoding="utf-8")
    (folder / ".gitignore").write_text("results/\n.rtxbench/\n__pycache__/\ntemporary/\n", encoding="utf-8")
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "one")):
        run_git(folder, *arguments).check_returncode()


SCENARIOS: Final[dict[str, Scenario]] = {
    "trace": Scenario(_nothing, ("trace", "--out", "t.trace.jsonl", "--", "sleep", "3"), 5.0),
    "merge": Scenario(_sample_results, ("merge", "given", "--out", "results"), 1.0),
    "report": Scenario(_sample_results, ("report", "given"), 5.0),
    "gate": Scenario(
        _repository,
        ("gate", "--baseline", "HEAD", "--candidate", ".", "--cases", "step:make_step", "--profile", "smoke"),
        8.0,
    ),
    "run": Scenario(_nothing, ("run", "--profile", "smoke", "--claim", "tensor-cores", "--workload", "mlp"), 25.0),
}
"""Name → what is killed."""


def kill_trials(numbers: Iterable[int], scenarios: Iterable[str] = tuple(SCENARIOS)) -> Iterator[KillTrial]:
    """Run and kill; the same number draws the same scenario, moment, signal and target.

    Args:
        numbers: of the trials.
        scenarios: rows of `SCENARIOS` to draw from.
    """
    chosen = tuple(scenarios)
    for number in numbers:
        draw = random.Random(number)
        with TemporaryDirectory(prefix="rtxbench-kills-") as name:
            yield _trial(number, draw.choice(chosen), draw, Path(name))


def _trial(number: int, name: str, draw: random.Random, folder: Path) -> KillTrial:
    scenario, token = SCENARIOS[name], f"{os.getpid()}-{number}"
    scenario.prepare(folder)
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = os.environ | {_TOKEN: token, "TMPDIR": str(temporary), "RTXBENCH_LOCK": str(temporary / "lock")}
    process = subprocess.Popen(
        [*_RTXBENCH, *scenario.command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(draw.uniform(0, 1.2) * scenario.lasts_s)
    before = _complete_lines(folder)
    sent, target = _kill(process, token, draw)
    problems: list[str] = []
    try:
        exit_code: int | None = process.wait(_HANG_S)
    except subprocess.TimeoutExpired:
        exit_code = None
        problems.append(f"still running {_HANG_S:.0f} s after {sent[-1].name if sent else 'no signal'}")
    problems += _orphans(token)
    after = _complete_lines(folder)
    problems += _lost(before, after)
    problems += _unreadable(folder)
    if name == "gate" and signal.SIGKILL not in sent:
        problems += _git_problems(folder)
    if signal.SIGKILL not in sent:
        problems += [f"left {path.name} in the temporary folder" for path in temporary.glob("*/")]
    return KillTrial(
        number=number,
        scenario=name,
        signals=tuple(one.name for one in sent),
        target=target,
        exit_code=exit_code,
        records_before=sum(map(len, before.values())),
        records_after=sum(map(len, after.values())),
        problems=tuple(problems),
    )


def _kill(process: "subprocess.Popen[bytes]", token: str, draw: random.Random) -> tuple[list[signal.Signals], str]:
    """Send one signal, or two in a row, to the coordinator or to one of its children."""
    number = draw.choice(_SIGNALS)
    children = [one for one in _family(token) if one.pid != process.pid]
    to_child = draw.random() < 0.3 and bool(children) and number == signal.SIGKILL
    pid = draw.choice(children).pid if to_child else process.pid
    if process.poll() is not None:
        return [], "nobody"
    sent = []
    for pause_s in (0.0, draw.uniform(0.005, 0.3)) if draw.random() < 0.3 else (0.0,):
        time.sleep(pause_s)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            sent.append(number)
    return sent, "child" if to_child else "coordinator"


def _family(token: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _orphans(token: str) -> list[str]:
    """Whoever is still there a while after the coordinator ended; they are ended here."""
    deadline = time.monotonic() + _ORPHAN_S
    while (left := _family(token)) and time.monotonic() < deadline:
        time.sleep(0.05)
    named = []
    for process in left:
        with suppress(psutil.Error):
            named.append(f"orphan: {' '.join(process.cmdline())[:120]}")
            process.kill()
    return named


def _complete_lines(folder: Path) -> dict[Path, list[bytes]]:
    files = [path for path in folder.rglob("*.jsonl") if "given" not in path.parts]
    lines = {path: path.read_bytes().split(b"\n") for path in files}
    return {path: found[:-1] for path, found in lines.items()}  # what follows the last line end is unfinished


def _lost(before: dict[Path, list[bytes]], after: dict[Path, list[bytes]]) -> list[str]:
    lost = []
    for path, lines in before.items():
        if path.name.endswith(".trace.jsonl") and path not in after:
            continue  # a trace of nothing is taken away
        if after.get(path, [])[: len(lines)] != lines:
            lost.append(f"lost records of {path.name}: {len(lines)} before, {len(after.get(path, []))} after")
    return lost


def _unreadable(folder: Path) -> list[str]:
    problems = []
    for path in find_result_files([folder]):
        if path.read_bytes().count(b"\n"):
            try:
                load_run(path)
            except RtxbenchError as error:
                problems.append(f"does not load: {error}")
    return problems


def _git_problems(folder: Path) -> list[str]:
    trees = len(run_git(folder, "worktree", "list").stdout.splitlines())
    problems = [f"{trees} git work trees left"] if trees > 1 else []
    changed = run_git(folder, "status", "--porcelain").stdout
    return problems + ([f"the repository was changed: {changed.strip()}"] if changed else [])

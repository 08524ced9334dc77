"""Kill commands at random moments and look at what they leave: nothing finished is lost, nobody is left behind.

Each command runs in a folder and a terminal of its own. What is on disk the moment before the signal must be there
afterwards, in that or a later edition, and the next run must work.
"""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec

from rtxbench.errors import MeasurementError
from rtxbench.robustness.aftermath import (
    TOKEN,
    family,
    files_left,
    git_problems,
    living,
    lost,
    orphans,
    snapshot,
    unreadable,
)
from rtxbench.robustness.scenarios import SCENARIOS, TEMPORARY, Scenario, environment_in
from rtxbench.robustness.terminal import Terminal, terminal

__all__ = ["KillTrial", "kill_trials"]

_HANG_S: Final = 600.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
_PHASES: Final = ((0.0, 0.15), (0.0, 1.05), (0.0, 1.05), (0.8, 1.1))
"""Parts of a command's duration from which a moment is drawn: the start, all of it twice, the end."""
_TWICE: Final = 0.3
_TO_CHILD: Final = 0.3
_TO_GROUP: Final = 0.15
_RUN_AGAIN: Final = 0.25
"""Share of the trials after which the next run is tried, too."""


class KillTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One kill and what it left. ``problems`` is empty where all is well."""

    number: int
    scenario: str
    signals: tuple[str, ...]
    """None where the command had ended already."""
    target: str
    """coordinator, child, group (as Ctrl-C in a terminal does) or nobody (it had ended already)."""
    exit_code: int | None
    records_before: int
    records_after: int
    ran_again: bool
    """True where the next run was tried."""
    problems: tuple[str, ...]


class _Ended(NamedTuple):
    exit_code: int | None
    sent: tuple[signal.Signals, ...]
    target: str
    before: int
    after: int
    problems: list[str]
    said: str
    """The end of what it printed."""

    @property
    def outright(self) -> bool:
        """True for a command that had no chance to tidy up."""
        return signal.SIGKILL in self.sent and self.target != "child"


def kill_trials(numbers: Iterable[int], scenarios: Iterable[str] = tuple(SCENARIOS)) -> Iterator[KillTrial]:
    """Run and kill; the same number draws the same scenario, signals, target and part of the command's duration.

    Args:
        numbers: of the trials.
        scenarios: rows of `SCENARIOS` to draw from. Each is first run unharmed, which shows the time it takes here.
    """
    chosen, lasts_s = tuple(scenarios), dict[str, float]()
    for number in numbers:
        draw = random.Random(number)
        name = draw.choices(chosen, [SCENARIOS[one].weight for one in chosen])[0]
        if name not in lasts_s:
            lasts_s[name] = _unharmed_s(name)
        with _trial_folder(SCENARIOS[name]) as folder:
            yield _trial(number, name, draw, folder, lasts_s[name])


@contextmanager
def _trial_folder(scenario: Scenario) -> Iterator[Path]:
    """Yield a folder with what the command needs and a temporary folder of its own inside."""
    with TemporaryDirectory(prefix="rtxbench-kills-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "work"  # not around the temporary folder: the gate keeps its trees apart there
        folder.mkdir()
        (Path(name) / TEMPORARY).mkdir()
        scenario.prepare(folder)
        yield folder


def _unharmed_s(name: str) -> float:
    """Time the command when nobody kills it, seconds.

    Raises:
        MeasurementError: it does not even work unharmed.
    """
    scenario = SCENARIOS[name]
    with _trial_folder(scenario) as folder:
        began = time.monotonic()
        ended = _ended(scenario.command, folder, f"{os.getpid()}-{name}", None, 0.0)
        lasts_s = time.monotonic() - began
    if ended.exit_code not in scenario.next_exits or ended.problems:
        raise MeasurementError(
            f"{name} fails where nobody kills it: {'; '.join(ended.problems)} {ended.said}",
            next_step="Run `rtxbench doctor`; what does not work cannot be killed.",
        )
    return lasts_s


def _trial(number: int, name: str, draw: random.Random, folder: Path, lasts_s: float) -> KillTrial:
    scenario, token = SCENARIOS[name], f"{os.getpid()}-{number}"
    ended = _ended(scenario.command, folder, token, draw, lasts_s)
    problems = list(ended.problems)
    if not ended.outright:
        problems += files_left(folder) + git_problems(folder)
    again = draw.random() < _RUN_AGAIN
    if again:
        problems += _run_again(scenario, folder, token, outright=ended.outright)
    return KillTrial(
        number=number,
        scenario=name,
        signals=tuple(one.name for one in ended.sent),
        target=ended.target,
        exit_code=ended.exit_code,
        records_before=ended.before,
        records_after=ended.after,
        ran_again=again,
        problems=tuple(problems),
    )


def _run_again(scenario: Scenario, folder: Path, token: str, *, outright: bool) -> list[str]:
    """Check that the next run works, loses nothing, and clears away what a killed one could not."""
    ended = _ended(scenario.next_command, folder, f"{token}-again", None, 0.0)
    problems = ended.problems + files_left(folder, outright=outright) + git_problems(folder)
    if ended.exit_code not in scenario.next_exits:
        problems.append(f"exit code {ended.exit_code}: {ended.said}")
    return [f"next run: {problem}" for problem in problems]


def _ended(command: tuple[str, ...], folder: Path, token: str, draw: random.Random | None, lasts_s: float) -> _Ended:
    """Run a command in a terminal to its end, killed where there is a draw."""
    with terminal() as screen:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment_in(folder) | {TOKEN: token},
            stdin=screen.slave,
            stdout=screen.slave,
            stderr=screen.slave,
            start_new_session=True,
            preexec_fn=_heed_signals,  # noqa: PLW1509 (it takes no lock)
        )
        if draw is not None:
            time.sleep(draw.uniform(*draw.choice(_PHASES)) * lasts_s)
        before = snapshot(folder)
        sent, target = _kill(process, token, draw) if draw is not None else ((), "nobody")
        problems: list[str] = []
        try:
            exit_code: int | None = process.wait(_HANG_S)
        except subprocess.TimeoutExpired:
            exit_code = None
            after_what = sent[-1].name if sent else "no signal"
            problems.append(f"still running {_HANG_S:.0f} s after {after_what}: {living(token)}")
        problems += orphans(token)
        after = snapshot(folder)
        problems += lost(before, after) + unreadable(folder)
        if signal.SIGKILL not in sent:
            problems += screen.problems()
    problems += _traceback(screen)
    return _Ended(exit_code, tuple(sent), target, before.total, after.total, problems, screen.printed().strip()[-300:])


def _heed_signals() -> None:
    """Take signals as in a terminal: where a series runs in the background, its commands would ignore Ctrl-C, too."""
    for number in _SIGNALS:
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)


def _traceback(screen: Terminal) -> list[str]:
    """Name a traceback, unless an interrupt met the start of Python or pytest: there no line of rtxbench runs yet."""
    _, _, trace = screen.printed().partition("Traceback (most recent call")
    frames = [f"{path}:{line}" for path, line in re.findall(r'File "([^"]*)", line (\d+)', trace)]
    early = "KeyboardInterrupt" in trace and not any("/rtxbench/" in frame for frame in frames)
    return (
        [f"traceback: {trace.strip().splitlines()[-1][:160]} in {' < '.join(frames[-4:])}"]
        if trace and not early
        else []
    )


class _Aim(NamedTuple):
    pid: int
    target: str
    signals: tuple[signal.Signals, ...]
    pause_s: float


def _aim(process: "subprocess.Popen[bytes]", children: Sequence[int], draw: random.Random) -> _Aim:
    """Draw one signal, or two in a row, for the coordinator, one of its children, or its process group."""
    signals = tuple(draw.choice(_SIGNALS) for _ in range(2 if draw.random() < _TWICE else 1))
    aim, pause_s, which = draw.random(), draw.uniform(0.005, 0.3), draw.random()
    if aim < _TO_CHILD and children:
        return _Aim(children[int(which * len(children))], "child", signals, pause_s)
    return _Aim(process.pid, "group" if aim > 1 - _TO_GROUP else "coordinator", signals, pause_s)


def _kill(
    process: "subprocess.Popen[bytes]", token: str, draw: random.Random
) -> tuple[tuple[signal.Signals, ...], str]:
    aim = _aim(process, [one.pid for one in family(token) if one.pid != process.pid], draw)
    sent = []
    for count, number in enumerate(aim.signals):
        time.sleep(aim.pause_s if count else 0.0)
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            (os.killpg if aim.target == "group" else os.kill)(aim.pid, number)
            sent.append(number)
    return tuple(sent), aim.target if sent else "nobody"

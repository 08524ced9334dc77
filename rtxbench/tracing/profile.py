"""``rtxbench trace --profile``: the share of a training program's time in input, operators, device and Python.

The program is not changed: `rtxbench.tracing.in_program` is put before its Python's start-up and hands a bounded window
of steps to the framework's own profiler. Sensors cannot tell input from host overhead; a timeline can.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from rtxbench.diagnosis.causes import Diagnosis
from rtxbench.diagnosis.rules import WAIT_SHARE
from rtxbench.errors import RecordError
from rtxbench.fields import Count, Figure
from rtxbench.tracing import in_program
from rtxbench.tracing.timelines import Timeline, read_tensorflow, read_torch, shares_of
from rtxbench.units import format_duration, format_percent
from rtxbench.wording import name_of

__all__ = [
    "ProgramProfile",
    "computes",
    "load_profile",
    "profile_diagnosis",
    "profile_lines",
    "profile_of",
    "profile_path",
    "profiled",
    "save_profile",
]

_SUFFIX: Final = ".trace.jsonl"
_MOST_BYTES: Final = 2**16
_FASTER_INPUT: Final[Mapping[str, str]] = {
    "_SingleProcessDataLoaderIter": "Its DataLoader loads in the process that trains: give it workers (num_workers=4, "
    "persistent_workers=True), or prepare the data once.",
    "_MultiProcessingDataLoaderIter": "Its DataLoader's workers do not keep up: give it more of them, or let them do "
    "less for each example (smaller files, work done once, augmentation on the device).",
    "tf.data": "End its tf.data pipeline in .prefetch(tf.data.AUTOTUNE), give .map the option "
    "num_parallel_calls=tf.data.AUTOTUNE, and .cache() what does not change.",
}
"""Loader → what to do where it is waited for."""


class ProgramProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parts of a training program's time, from a profile of some of its steps. Ratios are 0-1 and add up to 1."""

    framework: str = ""
    """``torch`` or ``tensorflow``; empty where the program imported neither."""
    version: str = ""
    device: Literal["cpu", "gpu"] = "cpu"
    steps: Count = 0
    step_s: Figure | None = None
    """Median of the last steps before the profiler started."""
    profiled_step_s: Figure | None = None
    spent_s: Figure | None = None
    """Time by which starting and ending the profiler held the program up."""
    device_ratio: Figure | None = None
    """With a kernel or a copy on the GPU; ``None`` on a CPU."""
    input_wait_ratio: Figure | None = None
    """In the data loader, and nothing on the GPU; ``None`` where the program used no loader that is known."""
    operator_ratio: Figure | None = None
    """In operators on the host, launches among them, and nothing of the above."""
    rest_ratio: Figure | None = None
    """Outside all of these: Python."""
    loader: str = ""
    reason: str | None = None
    """Cause, where there are no shares."""


class _Said(msgspec.Struct, frozen=True):
    """One line of the log that the hook writes."""

    what: str
    framework: str = ""
    version: str = ""
    steps: int = 0
    step_s: float | None = None
    profiled_step_s: float | None = None
    spent_s: float | None = None
    reason: str = ""


@contextmanager
def profiled(*, asked: bool) -> Iterator[tuple[dict[str, str], Path | None]]:
    """Make what a program's environment must hold to be profiled; yields it with the folder of what it will say.

    Args:
        asked: without, the environment is as ever, and there is no folder.
    """
    if not asked:
        yield {}, None
        return
    with tempfile.TemporaryDirectory(prefix="rtxbench-", ignore_cleanup_errors=True) as name:
        hook, said = Path(name) / "hook", Path(name) / "said"
        hook.mkdir()
        said.mkdir()
        shutil.copyfile(in_program.__file__, hook / "sitecustomize.py")
        quiet = {"KINETO_LOG_LEVEL": "99"}  # PyTorch's profiler would tell the program's terminal of itself
        searched = os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH"))))
        yield {"PYTHONPATH": searched, in_program.FOLDER_VARIABLE: str(said), **quiet}, said


def profile_of(folder: Path) -> ProgramProfile:
    """Read what a program that was profiled left behind; what is missing has its reason."""
    lines = _log(folder / in_program.LOG)
    taken = next((line for line in lines if line.what == "profiled"), None)
    frameworks = [line for line in lines if line.what == "framework"]
    if taken is None:
        return replace(_named(frameworks), reason=_why_not(lines))
    # Only the framework whose profiler ran has a timeline; a program may import both.
    torch = (folder / in_program.TORCH_TIMELINE).exists()
    about = _named([line for line in frameworks if line.framework == ("torch" if torch else "tensorflow")])
    try:
        timeline = read_torch(folder / in_program.TORCH_TIMELINE) if torch else read_tensorflow(folder)
        return _divided(timeline, taken, about)
    except RecordError as error:
        return replace(about, reason=error.message)


def _divided(timeline: Timeline, taken: _Said, about: ProgramProfile) -> ProgramProfile:
    shares = shares_of(timeline)
    on_gpu = bool(timeline.device)
    return replace(
        about,
        device="gpu" if on_gpu else "cpu",
        steps=len(timeline.steps),
        step_s=taken.step_s,
        profiled_step_s=taken.profiled_step_s,
        spent_s=taken.spent_s,
        device_ratio=shares.device if on_gpu else None,
        input_wait_ratio=shares.waiting if timeline.loader else None,
        operator_ratio=shares.operators,
        rest_ratio=shares.rest,
        loader=timeline.loader,
    )


def _log(path: Path) -> list[_Said]:
    """Read the lines that are whole; a program that was killed may leave half a one."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found.append(msgspec.json.decode(line, type=_Said))
        except (msgspec.DecodeError, RecursionError):
            continue
    return found


def _named(frameworks: Sequence[_Said]) -> ProgramProfile:
    """Begin a profile with its framework, if there is one."""
    return (
        ProgramProfile(framework=frameworks[0].framework, version=frameworks[0].version)
        if frameworks
        else ProgramProfile()
    )


def _why_not(lines: Sequence[_Said]) -> str:
    """Say why a program has no profile, and what to do."""
    failed = next((line.reason for line in lines if line.what == "failed"), None)
    counted = [line.steps for line in lines if line.what == "steps"]
    steps = max(counted, default=0)
    if failed is not None:
        return f"the profiler failed ({failed}); trace it without --profile"
    if not lines:
        return "no Python started that reads PYTHONPATH (a program in another language, or python -I)"
    if not any(line.what == "framework" for line in lines):
        return "the program imported neither PyTorch nor TensorFlow"
    if not counted:
        return "the program was ended before it had trained ten steps and two seconds, or while the profiler ran"
    if not steps:
        return "no training step was seen (a backward pass of PyTorch, a tf.function called again and again)"
    return (
        f"it trained {steps} steps, too few or too short: the profiler starts after ten and two seconds; train longer"
    )


def profile_path(trace_path: Path) -> Path:
    """Name the file of a trace's profile: ``run.trace.jsonl`` → ``run.profile.json``."""
    return trace_path.with_name(f"{trace_path.name.removesuffix(_SUFFIX)}.profile.json")


def save_profile(profile: ProgramProfile, trace_path: Path) -> None:
    """Write a trace's profile beside it."""
    profile_path(trace_path).write_bytes(msgspec.json.format(msgspec.json.encode(profile)) + b"\n")


def load_profile(trace_path: Path) -> ProgramProfile | None:
    """Read the profile beside a trace; ``None`` where there is none.

    Raises:
        RecordError: the file is no profile.
    """
    path = profile_path(trace_path)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=ProgramProfile)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"{path} is no profile: {error}.", next_step="Delete it, or trace again.") from error


def profile_diagnosis(profile: ProgramProfile | None) -> Diagnosis | None:
    """Name what the profile shows to hold the program back; ``None`` where it computes nearly all of the time."""
    if profile is None or profile.rest_ratio is None or profile.operator_ratio is None:
        return None
    waits = profile.input_wait_ratio or 0.0
    host = profile.rest_ratio + (profile.operator_ratio if profile.device == "gpu" else 0.0)
    if waits >= WAIT_SHARE and waits >= host:
        said = f"{_share(waits, profile)} passed in waiting for the next batch"
        return Diagnosis("input-bound", (said,), "measured", _FASTER_INPUT.get(profile.loader, ""))
    if host < WAIT_SHARE:
        return None
    share = _share(host, profile)
    if profile.device == "gpu":
        said = f"{share} passed with no work on the GPU, and not in waiting for input"
        return Diagnosis("launch-bound", (said,), "measured")
    return Diagnosis("python-bound", (f"{share} passed outside of operators and input",), "measured")


def computes(profile: ProgramProfile | None) -> str | None:
    """Say that a profile found no brake but the computing itself; ``None`` where it found one, or nothing."""
    if profile is None or profile.rest_ratio is None or profile_diagnosis(profile) is not None:
        return None
    share = profile.operator_ratio if profile.device_ratio is None else profile.device_ratio
    where = "in operators" if profile.device_ratio is None else "with work on the GPU"
    return f"Its steps compute: {format_percent(share or 0.0, 0)} of their time passed {where}."


def _share(ratio: float, profile: ProgramProfile) -> str:
    return f"{format_percent(ratio, 0)} of the time of {profile.steps} profiled steps"


def profile_lines(profile: ProgramProfile | None) -> list[str]:
    """List the shares for a terminal, and what the profiler cost."""
    if profile is None:
        return []
    if profile.rest_ratio is None:
        return ["", f"no profile: {profile.reason}"]
    idle = ", GPU idle" if profile.device == "gpu" else ""
    rows = [
        ("work on the GPU", profile.device_ratio),
        (f"waiting for input{idle}", profile.input_wait_ratio),
        (f"operators{' and launches' if idle else ''}{idle}", profile.operator_ratio),
        (f"Python and the rest{idle}", profile.rest_ratio),
    ]
    name = f"{name_of(profile.framework)} {profile.version}".strip()
    lines = ["", f"profile of {profile.steps} steps, by the profiler of {name}"]
    lines += [f"  {title:<32} {format_percent(share, 0):>15} of the time" for title, share in rows if share is not None]
    if profile.input_wait_ratio is None:
        lines.append("  waiting for input                not known: the program uses no DataLoader and no tf.data")
    return [*lines, *_cost_lines(profile)]


def _cost_lines(profile: ProgramProfile) -> list[str]:
    """Say what the profiler did to the program, whose sensors' figures hold that time, too."""
    before, under, spent = profile.step_s, profile.profiled_step_s, profile.spent_s
    if before is None or under is None or spent is None:
        return []
    return [
        f"  a step took {format_duration(under)} under the profiler, {format_duration(before)} before it; starting and "
        f"writing took {format_duration(spent)}"
    ]

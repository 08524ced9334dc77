"""``rtxbench trace -- COMMAND``: record the hardware while any command runs, and say what was seen.

The command keeps the terminal: its input, output and Ctrl-C are its own. Its exit code is passed through. Whatever
ends it, the trace is on disk.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from rtxbench.errors import UsageError
from rtxbench.hardware.energy import SENSOR_ERROR_RATIO
from rtxbench.hardware.flags import window_flags
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import HOST, Trace, load_trace, sampling_jitter_s, summarize
from rtxbench.hardware.windows import values_in
from rtxbench.processes import end_with_parent
from rtxbench.records import Flag, HardwareSummary, Summary
from rtxbench.tracing.marks import hearing_marks
from rtxbench.tracing.phases import Phase, phase_lines, phases_of
from rtxbench.tracing.profile import (
    ProgramProfile,
    computes,
    profile_lines,
    profile_of,
    profile_path,
    profiled,
    save_profile,
)
from rtxbench.tracing.table import GPU_ROWS, HOST_ROWS, row_lines
from rtxbench.units import format_duration, format_percent, format_power, format_quantity
from rtxbench.wording import say_flag

__all__ = ["CommandReport", "record_command", "report_text"]

_SETTLE_S = 1.2  # of idleness before the command starts: the idle power needs one second of it


class CommandReport(msgspec.Struct, frozen=True, kw_only=True):
    """The load a recorded command put on the machine; ``rtxbench trace --json`` prints it."""

    command: tuple[str, ...]
    exit_code: int
    duration_s: float
    window_ns: tuple[int, int]
    trace_path: str
    gpus: dict[str, str]
    """UUID → name of the GPUs that did something."""
    hardware: HardwareSummary
    flags: tuple[Flag, ...]
    sampling_jitter_s: Summary | None
    recorder_cpu_ratio: float | None
    """Share of one core that the recorder used."""
    complete: bool
    """False when the recorder ended before the command did."""
    cause: str | None = None
    """Likely brake on the GPUs, where the sensors can tell."""
    next_step: str | None = None
    phases: tuple[Phase, ...] = ()
    """Of the program: by its own marks where it made any, else by the pauses it made."""
    profile: ProgramProfile | None = None
    """Of its training steps, where it was asked for."""


class _Finished(NamedTuple):
    exit_code: int
    window_ns: tuple[int, int]


def record_command(
    command: Sequence[str], trace_path: Path, interval_s: float = 0.1, *, profile: bool = False
) -> CommandReport:
    """Run ``command`` to its end with a recorder beside it.

    Args:
        command: program and arguments.
        trace_path: a new file.
        interval_s: sampling interval.
        profile: whether to hand some of its training steps to its framework's profiler, and put what that shows
            beside the trace.

    Raises:
        UsageError: the command cannot be started, or the trace exists already.
        MeasurementError: the recorder does not start.
    """
    for path in (trace_path, profile_path(trace_path)) if profile else (trace_path,):
        if path.exists():
            raise UsageError(f"{path} exists already.", next_step="Choose another file with --out.")
    with profiled(asked=profile) as (environment, said):
        finished = _recorded(command, trace_path, interval_s, environment)
        shown = None if said is None else profile_of(said)
    if shown is not None:
        save_profile(shown, trace_path)
    return msgspec.structs.replace(_report(command, finished, load_trace(trace_path)), profile=shown)


def _recorded(command: Sequence[str], trace_path: Path, interval_s: float, more: Mapping[str, str]) -> _Finished:
    with Recorder(trace_path, interval_s, watch_pids=()) as recorder:
        time.sleep(_SETTLE_S)
        recorder.mark("command started")
        try:
            finished = _run(command, recorder, more)
        except OSError as error:
            recorder.stop()
            trace_path.unlink(missing_ok=True)
            raise UsageError(
                f"cannot start {command[0]!r}: {error.strerror}.", next_step="Check the command after the two dashes."
            ) from error
        recorder.mark("command ended")
    return finished


def _run(command: Sequence[str], recorder: Recorder, more: Mapping[str, str]) -> _Finished:
    with hearing_marks(recorder.mark) as environment:
        start_ns = time.monotonic_ns()
        # The threads that run here wait for a line each, so none holds a lock that the fork would copy.
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, **more},
            preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
        recorder.watch(process.pid)
        with _signals_to(process):
            returned = process.wait()
    return _Finished(returned if returned >= 0 else 128 - returned, (start_ns, time.monotonic_ns()))


@contextmanager
def _signals_to(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Let the command decide what a signal means: Ctrl-C reaches it anyway, others are passed on."""

    def pass_on(number: int, _frame: object) -> None:
        process.send_signal(number)

    # Under nohup a closed terminal ends neither: an ignored SIGHUP stays ignored.
    told = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    passed = {number: signal.signal(number, pass_on) for number in told}
    handlers = {signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN), **passed}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _report(command: Sequence[str], finished: _Finished, trace: Trace) -> CommandReport:
    windows = [finished.window_ns]
    gpus = {gpu.uuid: gpu.name for gpu in trace.header.gpus if _did_something(trace, gpu.uuid, windows)}
    end = trace.end
    return CommandReport(
        command=tuple(command),
        exit_code=finished.exit_code,
        duration_s=(finished.window_ns[1] - finished.window_ns[0]) / 1e9,
        window_ns=finished.window_ns,
        trace_path=os.fspath(trace.path or ""),
        gpus=gpus,
        hardware=summarize(trace, windows),
        flags=window_flags(trace, windows, tuple(gpus)),
        sampling_jitter_s=sampling_jitter_s(trace),
        recorder_cpu_ratio=end.cpu_s / end.elapsed_s if end is not None and end.elapsed_s > 0 else None,
        complete=end is not None,
        phases=phases_of(trace, finished.window_ns, tuple(gpus)),
    )


def _did_something(trace: Trace, uuid: str, windows: Sequence[tuple[int, int]]) -> bool:
    busy = trace.get(uuid, "gpu_utilization_ratio")
    return busy is not None and bool((values_in(busy, windows) > 0).any())


def report_text(report: CommandReport) -> str:
    """Write the report for a terminal: what ran, what each device did, what weakens it, where the trace is."""
    lines = [
        f"{shlex.join(report.command)[:200]}",
        f"  ran for {format_duration(report.duration_s)}, exit code {report.exit_code}",
        "",
        "host",
        *row_lines(report.hardware.devices.get(HOST, {}), HOST_ROWS),
        *_energy_lines(report.hardware, HOST, report.duration_s),
    ]
    for uuid, metrics in report.hardware.devices.items():
        if uuid != HOST:
            idle = "" if uuid in report.gpus else ": did nothing"
            lines += ["", f"{report.gpus.get(uuid, 'GPU')} {uuid}{idle}", *row_lines(metrics, GPU_ROWS)]
            lines += _energy_lines(report.hardware, uuid, report.duration_s)
    if "gpu" in report.hardware.missing:
        lines += ["", f"no GPU recorded: {report.hardware.missing['gpu']}"]
    lines += phase_lines(report.phases)
    lines += profile_lines(report.profile)
    lines += ["", *(_flag_lines(report.flags) or ["nothing weakens these figures"])]
    cost = (
        ""
        if report.recorder_cpu_ratio is None
        else f" (the recorder used {format_percent(report.recorder_cpu_ratio)} of a core)"
    )
    cut = "" if report.complete else "; the recorder ended early, so its end is missing"
    lines.append(f"trace: {report.trace_path}{cost}{cut}")
    if report.cause is not None:
        lines.append(f"Likely held back by this: {report.cause}. {report.next_step}")
    elif (said := computes(report.profile)) is not None:
        lines.append(said)
    else:
        lines.append(f"Nothing recorded says what held it back in {format_duration(report.duration_s)}.")
    return "\n".join(lines)


def _energy_lines(hardware: HardwareSummary, device: str, duration_s: float) -> list[str]:
    joules, idle_w = hardware.energy_j.get(device), hardware.idle_power_w.get(device)
    lines = []
    if joules is not None:
        mean_w = joules / duration_s
        lines.append(
            f"  {'energy':<32} {format_quantity(joules, 'J')} ({format_power(mean_w)} on average; sensor error up to "
            f"{format_percent(SENSOR_ERROR_RATIO, 0)})"
        )
    if idle_w is not None:
        lines.append(f"  {'power while idle, before':<32} {format_power(idle_w)}")
    return lines


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    return [
        f"{'void' if flag.severity == 'invalid' else 'caution'}: {say_flag(flag.code)} ({flag.detail})"
        for flag in flags
    ]

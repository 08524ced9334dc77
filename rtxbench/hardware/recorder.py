"""Watch the hardware from a process of its own while something else works.

::

    with Recorder(path) as recorder:        # starts `python -m rtxbench.hardware.recorder`, waits until it samples
        recorder.mark("idle")               # between timed windows: who else is on the GPU
        ...                                 # timed work; note (start, end) of each window in monotonic_ns
    trace = load_trace(path)

A process, because a sampling thread under a busy interpreter is late by 16 ms in the median and 70 ms at the 95th
percentile. It ignores Ctrl-C, ends when its parent asks or disappears, and limits its own CPU use
(`rtxbench.hardware.sampling`).
"""

import argparse
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Final

import rtxbench
from rtxbench.errors import MeasurementError, UsageError

if TYPE_CHECKING:  # imported in `main`, so that the parent's side stays light
    from rtxbench.hardware.sampling import Recording

__all__ = ["Recorder"]

_READY_TIMEOUT_S: Final = 60.0  # NVML takes seconds on a machine without persistence mode and several GPUs
_REPLY_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 15.0


class Recorder:
    """Context manager around the recorder process.

    Args:
        trace_path: a new file, ``<run>.trace.jsonl`` beside the run's records.
        interval_s: sampling interval of the hot loop, seconds, at least 0.01. By default 0.1 s, or 0.5 s on a machine
            without an NVIDIA GPU: its processor is what is measured, and a sample takes it away for a millisecond.
        watch_pids: processes that are the program under measurement, with all they start; by default this process.
            Pass ``()`` and call `watch` later for a program that is yet to start.

    Raises:
        UsageError: the interval makes no sense.
        MeasurementError: the trace cannot be written or the process does not start.
    """

    def __init__(
        self, trace_path: Path, interval_s: float | None = None, watch_pids: Sequence[int] | None = None
    ) -> None:
        if interval_s is not None and not 0.01 <= interval_s <= 60:
            raise UsageError(f"a sampling interval of {interval_s:g} s.", next_step="Choose 0.01 s to 60 s.")
        self.path = trace_path
        self._interval_s = interval_s
        self._watch_pids = (os.getpid(),) if watch_pids is None else tuple(watch_pids)
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> "Recorder":
        self._process = self._start()
        reader = threading.Thread(target=_pump, args=(self._process.stdout, self._replies), daemon=True)
        reader.start()
        reply = self._reply(_READY_TIMEOUT_S)
        if reply != "ready":
            self.stop()
            raise MeasurementError(
                f"the hardware recorder did not start: {reply or 'no answer'}.",
                next_step="Check that the results folder is writable, or measure without recording.",
            )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id of the recorder while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def alive(self) -> bool:
        """Return whether it is still sampling. If not, the trace ends early and says so by lacking its end line."""
        return self._process is not None and self._process.poll() is None

    def mark(self, label: str) -> bool:
        """Write a labelled point with the GPU process lists; returns once it is on disk.

        Costs milliseconds of GPU driver time: call it between timed windows. False when the recorder is gone.
        """
        return self._command(f"mark {label}") and self._reply(_REPLY_TIMEOUT_S) == "marked"

    def watch(self, pid: int) -> bool:
        """Count ``pid`` and what it starts as the program under measurement. False when the recorder is gone."""
        return self._command(f"watch {pid}")

    def stop(self) -> None:
        """End the recording and wait for its last line. Safe to call twice; a hanging recorder is killed."""
        process = self._process
        if process is None:
            return
        self._command("stop")
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close(stream)
        self._process = None

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-P", "-m", "rtxbench.hardware.recorder", os.fspath(self.path)]
        command += ["--watch", ",".join(map(str, self._watch_pids))]
        command += [] if self._interval_s is None else ["--interval-s", str(self._interval_s)]
        # -P and an explicit path: a psutil.py in the user's folder must not be imported in place of the real one.
        root = os.fspath(Path(rtxbench.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # Held back until the recorder ignores it: Python answers one that comes while it imports with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # the terminal's Ctrl-C is for the program measured, not for its recorder
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _command(self, line: str) -> bool:
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(" ".join(line.split()) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: closed
            return False
        return True

    def _reply(self, timeout_s: float) -> str:
        try:
            return self._replies.get(timeout=timeout_s)
        except queue.Empty:
            return ""


def _pump(stream: IO[str] | None, replies: "queue.Queue[str]") -> None:
    """Move the child's answers to a queue: pipes cannot be waited for with a time limit on every system."""
    for line in stream or ():
        replies.put(line.strip())
    replies.put("")


def _close(stream: IO[str]) -> None:
    try:
        stream.close()
    except OSError:
        return  # flushing into a pipe whose reader is gone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recorder process. It answers ``ready``, ``marked`` or one line of error on its standard output."""
    from rtxbench.hardware.sampling import Recording, TraceWriter

    parser = argparse.ArgumentParser(prog="python -m rtxbench.hardware.recorder", description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--interval-s", type=float)
    parser.add_argument("--watch", default="")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        writer = TraceWriter(options.path)
        session = Recording(writer, options.interval_s, [int(pid) for pid in options.watch.split(",") if pid])
        session.start()
    except OSError as error:
        _answer(f"cannot write {options.path}: {error.strerror}")
        return MeasurementError.exit_code
    _answer("ready")
    return _serve(session)


def _answer(line: str) -> None:
    """Tell the parent; one that is gone needs no answer, and the end of input ends the recording."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end


def _serve(session: "Recording") -> int:
    """Obey commands until told to stop, or until the parent is gone (end of input, or another parent process)."""
    commands: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    try:
        session.finish(_reason_to_end(session, commands))
    except OSError as error:
        _answer(f"cannot write the trace: {error.strerror}")
        os._exit(MeasurementError.exit_code)
    os._exit(0)  # a thread stuck in the driver must not keep this process alive


def _reason_to_end(session: "Recording", commands: "queue.Queue[str | None]") -> str:
    """Obey commands until one of them, a signal or the parent's end is a reason to stop."""
    parent = os.getppid()
    try:
        while True:
            try:
                command = commands.get(timeout=1.0)
            except queue.Empty:
                session.check()
                if os.getppid() != parent:
                    return "parent ended"
                continue
            if command is None or command == "stop":
                return "stopped" if command else "parent ended"
            _obey(session, command)
    except SystemExit:
        return "terminated"


def _obey(session: "Recording", command: str) -> None:
    verb, _, argument = command.partition(" ")
    if verb == "mark":
        session.mark(argument)
        _answer("marked")
    elif verb == "watch":
        session.watch(int(argument))


def _read_commands(commands: "queue.Queue[str | None]") -> None:
    for line in sys.stdin:
        commands.put(line.strip())
    commands.put(None)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


if __name__ == "__main__":
    sys.exit(main())

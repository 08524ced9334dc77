"""Start a process of one's own, tell how it ended, and leave none behind."""

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

__all__ = ["ChildProcess", "end_with_parent", "how_it_ended", "run_git"]

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_LOG_TAIL_BYTES: Final = 2000
_LAST_LINE_LENGTH: Final = 200
_FOLDER: Final = "rtxbench-worker-"
_MARK: Final = ".owner"


class ChildProcess:
    """A running process with a log and a temporary folder of its own; both are gone when it is ended.

    Args:
        command: program and arguments.
        environment: all of its variables; ``TMPDIR`` is added, because frameworks leave generated files behind.
        directory: to run in; the caller's where ``None``.
        piped: whether it is driven through its standard input and output; else what it prints goes to the log.
        own_group: whether it leads a process group: Ctrl-C then reaches the caller alone, and `end` also ends what the
            process started. A helper that must die with the caller's group stays in it.
        descriptors: open files that it inherits under the same numbers.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        directory: Path | None = None,
        piped: bool = True,
        own_group: bool = True,
        descriptors: Sequence[int] = (),
    ) -> None:
        _sweep(tempfile.gettempdir())
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._folder = tempfile.TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True)
        self._owned: int | None = _taken(Path(self._folder.name))
        self._own_group = own_group
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else self._log,
                stderr=self._log,
                env={**environment, "TMPDIR": self._folder.name},
                cwd=directory,
                start_new_session=own_group,
                pass_fds=descriptors,
            )
        except OSError:
            self._log.close()
            self._leave_folder()
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input; a piped process has one."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> int:
        """File descriptor of its standard output; a piped process has one."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def status(self) -> int | None:
        """Return its exit status, negative for a signal; ``None`` while it runs."""
        return self._process.poll()

    def wait(self, limit_s: float) -> bool:
        """Wait for its end, ``limit_s`` seconds at most; tell whether it came."""
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_bytes(self) -> int:
        """Count what it has printed so far."""
        return os.fstat(self._log.fileno()).st_size

    def ending(self, since: int = 0) -> str:
        """Wait for its end and describe it (see `how_it_ended`)."""
        return how_it_ended(self._process.wait(), self._log, since)

    def kill(self) -> None:
        """Kill it, with all that it started if it leads a group. Safe while another thread reads from it."""
        with contextlib.suppress(ProcessLookupError):
            if self._own_group:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def end(self) -> None:
        """Kill it, wait for its end and free its pipes, log and folder. Ending it twice does nothing more."""
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # unsent bytes to a dead process
                    stream.close()
        self._log.close()
        self._leave_folder()

    def _leave_folder(self) -> None:
        self._folder.cleanup()
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None


def _taken(folder: Path) -> int:
    """Mark a folder as that of a living process; the system lets go of the mark when the process ends."""
    mark = os.open(folder / _MARK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(mark, fcntl.LOCK_EX)
    return mark


@functools.cache
def _sweep(temporary: str) -> None:
    """Remove folders of processes whose starter was killed outright, once: nobody else can."""
    for folder in Path(temporary).glob(f"{_FOLDER}*"):
        try:
            mark = os.open(folder / _MARK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its owner lives
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(mark)


def how_it_ended(status: int, log: IO[bytes], since: int) -> str:
    """Describe the end of a process: exit status or signal, and the last line it printed.

    Args:
        status: as `subprocess` returns it; negative for a signal.
        log: what the process printed, open for reading.
        since: bytes the log had when the process was given what it died of; earlier output explains nothing.
    """
    log.seek(max(since, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
    lines = log.read().decode(errors="replace").strip().splitlines()
    last = lines[-1].strip()[:_LAST_LINE_LENGTH] if lines else "it printed nothing"
    if status == -signal.SIGKILL:
        return f"killed, most likely for lack of memory: {last}"
    if status < 0:
        with contextlib.suppress(ValueError):  # a signal without a name
            return f"{signal.Signals(-status).name}: {last}"
    return f"exit status {status}: {last}"


def end_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent dies, by SIGKILL too. Linux only; elsewhere a no-op.

    Call it in the child: as a pool's initializer, or as ``preexec_fn``. The request survives ``exec``.

    Args:
        parent_pid: of the process to die with. If it is gone already, this process ends at once.
        signal_number: sent when the parent dies.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the kernel knew of the wish
            os._exit(128 + signal_number)


def run_git(folder: Path, *arguments: str, timeout_s: float | None = None) -> "subprocess.CompletedProcess[str]":
    """Run git in a folder, in English, out of reach of Ctrl-C: it must not die half-way through removing a work tree.

    Raises:
        FileNotFoundError: git is not installed.
        subprocess.TimeoutExpired: it took longer than ``timeout_s``.
    """
    return subprocess.run(
        ["git", "-C", os.fspath(folder), "-c", "core.fsmonitor=false", *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
        timeout=timeout_s,
    )

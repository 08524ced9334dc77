"""One worker process as the coordinator sees it: start, ask, and always end it and what it started."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from rtxbench.errors import MeasurementError

__all__ = ["Arm", "BuildTimes", "StepWorker", "build_in_all"]

_WORKER_FILE: Final = Path(__file__).with_name("worker.py")
_TAIL_LINES: Final = 12
_ENVIRONMENT: Final = {
    # Both arms hold the device at once, so neither may take all of its memory.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


class Arm(NamedTuple):
    """One side of the comparison, ready to be started."""

    role: str
    """baseline or candidate."""
    python: Path
    root: Path
    """The tree the user's code is imported from, and the worker's working folder."""
    search_path: tuple[Path, ...]
    """Folders put first on ``sys.path``."""
    foreign_root: Path | None = None
    """The other arm's tree; importing from it is an error."""


class BuildTimes(NamedTuple):
    """Cost of getting one case ready in one worker."""

    build_s: float
    first_step_s: float


class StepWorker:
    """A context manager around one worker process of an arm.

    Raises:
        MeasurementError: the process cannot start, dies, raises, or does not answer in time.
    """

    def __init__(self, arm: Arm, timeout_s: float = 600.0, environment: Mapping[str, str] | None = None) -> None:
        self.arm = arm
        self._timeout_s = timeout_s
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (closed in __exit__, with the process)
        self._buffer = b""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        search_path = os.pathsep.join(map(str, arm.search_path))
        try:
            self._process = subprocess.Popen(
                [str(arm.python), "-u", str(_WORKER_FILE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=arm.root,
                env=inherited | _ENVIRONMENT | {"PYTHONPATH": search_path} | dict(environment or {}),
                start_new_session=True,  # Ctrl-C reaches the coordinator only, which then ends the workers
            )
        except OSError as error:
            self._log.close()
            raise MeasurementError(
                f"{arm.role}: cannot start {arm.python}: {error.strerror}.",
                next_step="Pass an interpreter that exists with --python.",
            ) from error

    def send_build(self, case: str) -> None:
        """Ask for a case to be built; `finish_build` waits for it, so that both arms build at the same time."""
        self._send(
            {
                "do": "build",
                "case": case,
                "search_path": [str(path) for path in self.arm.search_path],
                "foreign_root": str(self.arm.foreign_root or ""),
            }
        )

    def finish_build(self, case: str) -> BuildTimes:
        """Wait until the case asked for is built and has run once."""
        reply = self._reply(f"build {case}")
        if reply["foreign"]:
            raise MeasurementError(
                f"{self.arm.role}: {case} imported code of the other arm: {', '.join(reply['foreign'][:3])}.",
                next_step="The two would be the same code. Import the project relative to its own tree, "
                "or install it per arm with --install.",
            )
        return BuildTimes(reply["build_s"], reply["first_step_s"])

    def block(self, case: str, steps: int, lead_in: int = 1) -> tuple[int, int]:
        """Run one timed block; (start, end) in ``time.monotonic_ns``."""
        self._send({"do": "block", "case": case, "steps": steps, "lead_in": lead_in})
        reply = self._reply(f"run {case}")
        return reply["start_ns"], reply["end_ns"]

    def __enter__(self) -> "StepWorker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker and every process it started, whatever state it is in."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # the worker is gone: nobody is left to tell
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2.0 if kind is None else 0.0)
        self._kill()
        self._log.close()

    def _kill(self) -> None:
        """End the worker's whole process group: the user's code may have started helpers of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _send(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died(str(message["do"])) from error

    def _reply(self, doing: str) -> dict[str, Any]:
        line = self._read_line(doing)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise MeasurementError(
                f"{self.arm.role}: could not {doing}: {reply['error']}\n{_user_frames(reply['traceback'])}",
                next_step=f"Run it by hand in {self.arm.root} to see the same error.",
            )
        return reply

    def _read_line(self, doing: str) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not selector.select(left_s):
                    self._kill()
                    raise MeasurementError(
                        f"{self.arm.role}: no answer within {self._timeout_s:.0f} s to: {doing}.{self._tail()}",
                        next_step="Make the case smaller, or allow more time with --timeout.",
                    )
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise self._died(doing)
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _died(self, doing: str) -> MeasurementError:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return MeasurementError(
            f"{self.arm.role}: the worker died ({how}) while asked to {doing}.{self._tail()}",
            next_step="SIGKILL usually means out of memory; otherwise run the case by hand to see why.",
        )

    def _tail(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").rstrip().splitlines()[-_TAIL_LINES:]
        return "\n" + "\n".join(lines) + "\n" if lines else ""


def _user_frames(text: str) -> str:
    """The last lines of a worker's traceback: the user's frames, without the worker's own."""
    return "\n".join(text.rstrip().splitlines()[-_TAIL_LINES:])


def build_in_all(workers: Sequence[StepWorker], case: str) -> list[BuildTimes]:
    """Build a case in all workers at the same time."""
    for worker in workers:
        worker.send_build(case)
    return [worker.finish_build(case) for worker in workers]

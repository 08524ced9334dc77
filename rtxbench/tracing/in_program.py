"""A bounded profile taken inside a program that knows nothing of it; `rtxbench trace --profile` copies this file.

::

    Python starts, runs this as ``sitecustomize`` ─► the program imports torch or tensorflow ─► its steps are counted
      ─► ten steps and two seconds later: the framework's profiler, for two seconds of steps ─► a timeline in the folder

Standard library only, for Python 3.8 and newer: the program's interpreter need not be the one of rtxbench. A failure in
here is a line of the log, never an error of the program.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import statistics
import sys
import threading
import time
import warnings
from typing import Any, Callable, Final  # noqa: UP035

__all__ = ["FOLDER_VARIABLE", "LOG", "STEP", "TORCH_TIMELINE", "Steps", "TensorFlowProfiler", "TorchProfiler"]

FOLDER_VARIABLE: Final = "RTXBENCH_PROFILE"
"""Names the folder for the log and the timeline."""
LOG: Final = "log.jsonl"
TORCH_TIMELINE: Final = "torch.json"
STEP: Final = "rtxbench step"
"""Event of TensorFlow's timeline that spans a step; PyTorch has one of its own."""
_CLAIM: Final = "claimed"
"""Made by the one process that is profiled: of many ranks, the first."""
_WARM_STEPS: Final = 10
_WARM_NS: Final = 2_000_000_000
_SETTLING: Final = 2
"""Steps under the profiler that are not counted: its first ones pay for starting it."""
_WINDOW_NS: Final = 2_000_000_000
_LONGEST_NS: Final = 10_000_000_000
_FEWEST: Final = 5
_MOST: Final = 100


def say(folder: str, what: str, **facts: object) -> None:
    """Append one line to the log; a full disk silences it."""
    line = json.dumps({"pid": os.getpid(), "what": what, **facts}) + "\n"
    with contextlib.suppress(OSError):
        log = os.open(os.path.join(folder, LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)  # noqa: PTH118
        try:
            os.write(log, line.encode())
        finally:
            os.close(log)


class Steps:
    """Counts the steps of the thread that trains, and starts and stops a profiler between two of them.

    Args:
        folder: for the log and the timeline.
        profiler: of the framework, with ``start(steps)``, ``step()`` and ``stop()``.
        now_ns: a monotonic clock.
    """

    def __init__(self, folder: str, profiler: Any, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._folder = folder
        self._profiler = profiler
        self._now_ns = now_ns
        self._times: list[int] = []
        self._thread: int | None = None
        self._process = os.getpid()
        self._began = 0
        """Steps there were when the profiler started; 0 while it has not."""
        self._wanted = 0
        self._spent_ns = 0
        self._entered_ns = 0
        self._over = False
        self._count = 0

    def made(self) -> None:
        """Count one step; whatever goes wrong ends the profiling, not the program."""
        me = threading.get_ident()
        self._thread = self._thread or me
        if me != self._thread or os.getpid() != self._process:
            return
        self._count += 1
        if not self._over:
            self._guarded(self._step)

    def end(self) -> None:
        """Finish what is being profiled as the program ends, and say how many steps there were."""
        if os.getpid() != self._process:
            return
        if not self._over:
            self._over = True
            if self._began:
                self._guarded(self._finish)
        say(self._folder, "steps", steps=self._count)

    def _guarded(self, act: Callable[[], None]) -> None:
        self._entered_ns = self._now_ns()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                act()
        except Exception as error:
            self._over = True
            say(self._folder, "failed", reason=f"{type(error).__name__}: {error}"[:300])
        self._spent_ns += self._now_ns() - self._entered_ns

    def _step(self) -> None:
        now = self._now_ns()
        self._times.append(now)
        if self._began:
            self._profiler.step()
            count = len(self._times) - self._began
            if count >= self._wanted or now - self._times[self._began - 1] > _LONGEST_NS:
                self._over = True
                self._finish()
        elif len(self._times) > _WARM_STEPS and now - self._times[0] > _WARM_NS:
            self._start()

    def _start(self) -> None:
        """Start the profiler, if no other process of the program has."""
        if not _claimed(self._folder):
            self._over = True
            return
        usual_ns = statistics.median(_differences(self._times[-_WARM_STEPS - 1 :])) or 1
        steps = max(_FEWEST, min(_MOST, int(_WINDOW_NS / usual_ns)))
        self._wanted = steps + _SETTLING
        self._began = len(self._times)
        self._profiler.start(steps)

    def _finish(self) -> None:
        self._profiler.stop()
        before, under = self._times[: self._began], self._times[self._began + _SETTLING - 1 :]
        if len(under) < 2:
            say(self._folder, "failed", reason="the program ended before two profiled steps")
            return
        say(
            self._folder,
            "profiled",
            steps=len(under) - 1,
            step_s=statistics.median(_differences(before[-_WARM_STEPS - 1 :])) / 1e9,
            profiled_step_s=statistics.median(_differences(under)) / 1e9,
            spent_s=(self._spent_ns + self._now_ns() - self._entered_ns) / 1e9,
        )


def _differences(times: list[int]) -> list[int]:
    return [after - before for before, after in zip(times, times[1:])]  # noqa: B905, RUF007


def _claimed(folder: str) -> bool:
    """Return whether this process is the first to ask."""
    try:
        os.close(os.open(os.path.join(folder, _CLAIM), os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # noqa: PTH118
    except FileExistsError:
        return False
    return True


class TorchProfiler:
    """``torch.profiler`` over a number of steps; its timeline is a Chrome trace."""

    def __init__(self, torch: Any, folder: str) -> None:
        self._torch = torch
        self._path = os.path.join(folder, TORCH_TIMELINE)  # noqa: PTH118
        self._profile: Any = None

    def start(self, steps: int) -> None:
        """Record operators of the host, and kernels where the program has used a GPU."""
        profiler = self._torch.profiler
        activities = [profiler.ProfilerActivity.CPU]
        if self._torch.cuda.is_initialized():
            activities.append(profiler.ProfilerActivity.CUDA)
        self._profile = profiler.profile(
            activities=activities,
            schedule=profiler.schedule(wait=0, warmup=_SETTLING, active=steps, repeat=1),
            on_trace_ready=lambda done: done.export_chrome_trace(self._path),
        )
        self._profile.start()

    def step(self) -> None:
        """End a step of the timeline and begin the next."""
        self._profile.step()

    def stop(self) -> None:
        """Write the timeline, unless its last step has."""
        self._profile.stop()


class TensorFlowProfiler:
    """TensorFlow's profiler over a number of steps; its timeline is an XSpace."""

    def __init__(self, tensorflow: Any, folder: str) -> None:
        self._profiler = tensorflow.profiler.experimental
        self._folder = folder
        self._made = 0
        self._current: Any = None

    def start(self, steps: int) -> None:
        """Record what the host and its GPUs run."""
        options = self._profiler.ProfilerOptions(host_tracer_level=2, python_tracer_level=0, device_tracer_level=1)
        self._profiler.start(self._folder, options)

    def step(self) -> None:
        """End a step of the timeline, unless it is one of the first, and begin the next."""
        self._end_step()
        self._made += 1
        if self._made >= _SETTLING:
            self._current = self._profiler.Trace(STEP)
            self._current.__enter__()

    def stop(self) -> None:
        """Write the timeline; a step that has not ended is none of it."""
        self._end_step()
        self._profiler.stop()

    def _end_step(self) -> None:
        if self._current is not None:
            self._current.__exit__(None, None, None)
            self._current = None


def _watch_torch(torch: Any, folder: str) -> Steps:
    """Count a step wherever a gradient has been computed, by whatever optimizer it is used."""
    steps = Steps(folder, TorchProfiler(torch, folder))
    backward, inside = torch.autograd.backward, threading.local()

    def counted(*args: Any, **options: Any) -> Any:
        if getattr(inside, "it", False):  # gradient checkpointing calls it within itself
            return backward(*args, **options)
        inside.it = True
        try:
            return backward(*args, **options)
        finally:
            inside.it = False
            steps.made()

    torch.autograd.backward = counted
    return steps


def _watch_tensorflow(tensorflow: Any, folder: str) -> Steps:
    """Count the calls of the first ``tf.function`` that is called again and again: the training step."""
    steps = Steps(folder, TensorFlowProfiler(tensorflow, folder))
    kind = type(tensorflow.function(lambda: None))
    call = kind.__call__
    calls: dict[int, int] = {}
    leader: list[Any] = []

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        outcome = call(self, *args, **options)
        if (leader and leader[0] is not self) or not tensorflow.executing_eagerly():
            return outcome
        calls[id(self)] = calls.get(id(self), 0) + 1
        if leader or calls[id(self)] >= _FEWEST:
            leader[:] = [self]
            steps.made()
        return outcome

    kind.__call__ = counted
    return steps


_WATCHED: Final[dict[str, Callable[[Any, str], Steps]]] = {"torch": _watch_torch, "tensorflow": _watch_tensorflow}
"""Package → what is done once it is imported."""


class _Importing:
    """Finder of the watched packages: they are found as ever, and watched once they are imported."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find what any other finder finds; ``None`` for all that is not watched."""
        if name not in _WATCHED or name in self._seen:
            return None
        self._seen.add(name)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def loaded(module: Any) -> None:
                load(module)
                _watch(name, module, self._folder)

            spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


def _watch(name: str, module: Any, folder: str) -> None:
    try:
        steps = _WATCHED[name](module, folder)
    except Exception as error:
        say(folder, "failed", reason=f"{type(error).__name__}: {error}"[:300])
        return
    say(folder, "framework", framework=name, version=str(getattr(module, "__version__", "")))
    atexit.register(steps.end)


def _run_the_hidden() -> None:
    """Run the ``sitecustomize`` of the program's own environment, which this one stands before."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if __name__ == "sitecustomize" and os.environ.get(FOLDER_VARIABLE):
    say(os.environ[FOLDER_VARIABLE], "python")
    sys.meta_path.insert(0, _Importing(os.environ[FOLDER_VARIABLE]))
    _run_the_hidden()

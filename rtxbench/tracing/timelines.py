"""Read the timelines of frameworks' profilers: which time passed in steps, in input, in operators, on the device.

PyTorch's is a Chrome trace (JSON, microseconds), TensorFlow's an XSpace. Both come down to four kinds of stretches.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtxbench.diagnosis.xplane import GPU_PLANE, HOST_PLANE, profiled_lines
from rtxbench.errors import RecordError
from rtxbench.tracing.in_program import STEP

__all__ = ["Shares", "Timeline", "read_tensorflow", "read_torch", "shares_of"]

_Stretches: TypeAlias = Sequence[tuple[float, float]]
"""(start, end), seconds."""
_LOADER: Final = "enumerate(DataLoader)#"
_ON_DEVICE: Final = ("kernel", "gpu_memcpy", "gpu_memset")
_TF_INPUT: Final = ("IteratorGetNextOp::DoCompute", "Iterator::Root")
_TF_RUNTIME: Final = ("EagerExecute", "TFE_Py_ExecuteCancelable", "TFE_Py_FastPathExecute_C", "FunctionRun")


class Timeline(NamedTuple):
    """The counted steps of a profile, and what happened in them."""

    steps: _Stretches
    waiting: _Stretches
    """In the data loader's ``next``."""
    operators: _Stretches
    """In the framework's operators on the host, launching kernels among them."""
    device: _Stretches
    """With a kernel or a copy on a GPU; empty on a CPU."""
    loader: str
    """Class of the loader that gave the input; empty where the program used none that is known."""


class Shares(NamedTuple):
    """The time of the steps in four parts, ratios of it; each moment counts for the first that holds of it."""

    device: float
    waiting: float
    operators: float
    rest: float


class _Event(msgspec.Struct, frozen=True):
    """One entry of a Chrome trace; others than complete ones have no duration."""

    name: str = ""
    cat: str = ""
    ph: str = ""
    ts: float = 0.0
    dur: float = 0.0

    @property
    def stretch(self) -> tuple[float, float]:
        """Start and end, seconds."""
        return self.ts / 1e6, (self.ts + self.dur) / 1e6


class _ChromeTrace(msgspec.Struct, frozen=True):
    traceEvents: list[_Event]  # noqa: N815 (the format's name)


def read_torch(path: Path) -> Timeline:
    """Read the Chrome trace of ``torch.profiler``.

    Raises:
        RecordError: there is none, or it is no such trace.
    """
    try:
        events = msgspec.json.decode(path.read_bytes(), type=_ChromeTrace).traceEvents
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"PyTorch's profiler left no timeline: {error}.", next_step="Profile it again.") from error
    complete = [event for event in events if event.ph == "X"]
    waits = [event for event in complete if event.name.startswith(_LOADER)]
    return Timeline(
        steps=[event.stretch for event in complete if event.name.startswith("ProfilerStep#")],
        waiting=[event.stretch for event in waits],
        operators=[event.stretch for event in complete if event.cat == "cpu_op"],
        device=[event.stretch for event in complete if event.cat in _ON_DEVICE],
        loader=waits[0].name.removeprefix(_LOADER).partition(".")[0] if waits else "",
    )


def read_tensorflow(folder: Path) -> Timeline:
    """Read the XSpace that TensorFlow's profiler wrote somewhere below a folder.

    Raises:
        RecordError: there is none, or it is no such trace.
    """
    path = next(iter(sorted(folder.rglob("*.xplane.pb"))), None)
    if path is None:
        raise RecordError("TensorFlow's profiler left no timeline.", next_step="Profile it again.")
    host = [event for line in profiled_lines(path, HOST_PLANE) for event in line.events]
    streams = [line for line in profiled_lines(path, GPU_PLANE) if line.is_stream]

    def named(names: Iterable[str]) -> _Stretches:
        # A function's call has its name behind a colon.
        return [(e.start_s, e.start_s + e.duration_s) for e in host if e.name.partition(": ")[0] in names]

    waiting = named(_TF_INPUT)
    return Timeline(
        steps=named((STEP,)),
        waiting=waiting,
        operators=named(_TF_RUNTIME),
        device=[(e.start_s, e.start_s + e.duration_s) for line in streams for e in line.events],
        loader="tf.data" if waiting else "",
    )


def shares_of(timeline: Timeline) -> Shares:
    """Divide the time from the first step's start to the last one's end.

    Raises:
        RecordError: the timeline holds no step.
    """
    if not timeline.steps:
        raise RecordError("the profiler's timeline holds no step.", next_step="Let the program train for longer.")
    window = min(start for start, _ in timeline.steps), max(end for _, end in timeline.steps)
    covered, parts, seen = 0.0, [], np.empty((0, 2))
    for stretches in (timeline.device, timeline.waiting, timeline.operators):
        seen = np.concatenate([seen, np.array(stretches, dtype=float).reshape(-1, 2)])
        now = _covered_s(seen, window)
        parts.append((now - covered) / (window[1] - window[0]))
        covered = now
    device, waiting, operators = parts
    return Shares(device, waiting, operators, 1 - covered / (window[1] - window[0]))


def _covered_s(stretches: NDArray[np.float64], window: tuple[float, float]) -> float:
    """Add up the seconds of the window that lie in at least one stretch."""
    clipped = np.clip(stretches, *window)
    ordered = clipped[np.argsort(clipped[:, 0], kind="stable")]
    if not len(ordered):
        return 0.0
    reached = np.concatenate([[window[0]], np.maximum.accumulate(ordered[:, 1])[:-1]])
    return float(np.maximum(0.0, ordered[:, 1] - np.maximum(ordered[:, 0], reached)).sum())

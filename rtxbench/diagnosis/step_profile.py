"""A separate, untimed pass of a built step under the framework's profiler, or under oneDNN's verbose output.

Profilers change what they watch: nothing here is ever timed for a record, only divided into shares.
"""

import ctypes
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from rtxbench.diagnosis.kernels import kernel_shares, onednn_shares, parse_onednn
from rtxbench.diagnosis.xplane import device_kernels
from rtxbench.engines.contract import TrainStep
from rtxbench.errors import RecordError, UnavailableError
from rtxbench.units import format_percent

__all__ = ["ProfileFinding", "capture_onednn", "kernels_of", "profile_gpu"]

_STEPS: Final = 3


class ProfileFinding(NamedTuple):
    """One profiled figure; ``how`` gives the reason where ``value`` is ``None``."""

    metric: str
    value: float | None
    how: str


def profile_gpu(engine: str, step: TrainStep, precision: str) -> list[ProfileFinding]:
    """Shares of kernel time by arithmetic unit, and kernels per step, from three steps under the profiler."""
    start = time.perf_counter()
    try:
        kernels = kernels_of(engine, step)
    except UnavailableError as error:
        return [ProfileFinding("matrix_unit_time_ratio", None, error.message)]
    wall_s = time.perf_counter() - start
    shares = kernel_shares(kernels, precision)
    if shares is None:
        return [ProfileFinding("matrix_unit_time_ratio", None, "the profiler saw no kernel")]
    return [
        ProfileFinding("matrix_unit_time_ratio", shares.matrix_ratio, shares.how),
        ProfileFinding("vector_unit_time_ratio", shares.vector_ratio, shares.how),
        ProfileFinding("communication_time_ratio", shares.communication_ratio, shares.how),
        ProfileFinding("copy_time_ratio", shares.copy_ratio, shares.how),
        ProfileFinding("device_busy_ratio", min(shares.busy_s / wall_s, 1.0), "kernel time ÷ time under the profiler"),
        ProfileFinding("kernels_per_step", shares.kernels / _STEPS, "kernels counted by the profiler"),
    ]


def kernels_of(engine: str, step: TrainStep) -> list[tuple[str, float]]:
    """Profile three steps: (name, seconds) of every kernel the device ran, in the profiler's order.

    Raises:
        UnavailableError: the profiler gave none; the reason is the framework's.
    """
    step.activate()
    step.run(1)
    try:
        return _PROFILERS[engine](lambda: step.run(_STEPS))
    except (RuntimeError, RecordError, KeyError, OSError) as error:
        raise UnavailableError(
            f"the profiler gave no kernels: {error}", next_step="Check that the process may use CUPTI."
        ) from error


def _tensorflow_kernels(run: Callable[[], None]) -> list[tuple[str, float]]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        try:
            run()
        finally:
            tf.profiler.experimental.stop()
        return _xplane_kernels(Path(folder))


def _jax_kernels(run: Callable[[], None]) -> list[tuple[str, float]]:
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        return _xplane_kernels(Path(folder))


def _torch_kernels(run: Callable[[], None]) -> list[tuple[str, float]]:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
    ran_on_gpu = [event for event in profiler.events() if event.device_type.name == "CUDA"]
    return [(event.name, event.device_time / 1e6) for event in ran_on_gpu]


def _xplane_kernels(folder: Path) -> list[tuple[str, float]]:
    return [kernel for path in folder.rglob("*.xplane.pb") for kernel in device_kernels(path)]


_PROFILERS: Final[dict[str, Callable[[Callable[[], None]], list[tuple[str, float]]]]] = {
    "tensorflow": _tensorflow_kernels,
    "jax": _jax_kernels,
    "torch": _torch_kernels,
}


def capture_onednn(step: TrainStep) -> list[ProfileFinding]:
    """Share of oneDNN's time in AMX and other kernels. The process must run with ``ONEDNN_VERBOSE=1``."""
    step.activate()
    step.run(1)
    with _captured_stdout() as text:
        step.run(1)
    calls = parse_onednn(text().splitlines())
    shares = onednn_shares(calls)
    if not shares:
        return [ProfileFinding("matrix_unit_time_ratio", None, "no operation ran through oneDNN")]
    named = ", ".join(
        f"{kind} {format_percent(share, 0)}" for kind, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    how = f"oneDNN verbose, share of its own time: {named}"
    return [
        ProfileFinding("matrix_unit_time_ratio", shares.get("matrix", 0.0), how),
        ProfileFinding("reference_kernel_time_ratio", shares.get("reference", 0.0), how),
        ProfileFinding("onednn_s", sum(call.duration_s for call in calls), how),
    ]


@contextmanager
def _captured_stdout() -> Iterator[Callable[[], str]]:
    """Collect what C code prints to file descriptor 1; the text can be read after the block."""
    libc: Any = ctypes.CDLL(None)
    libc.fflush(None)
    kept = os.dup(1)
    text = ""
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 1)
        try:
            yield lambda: text
        finally:
            libc.fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
            sink.seek(0)
            text = sink.read().decode(errors="replace")

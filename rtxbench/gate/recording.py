"""The hardware recorder around a gate: which launches the environment voids, and which it only makes noisier.

What hits both arms alike (a hypervisor that takes time, a CPU quota, pressure) is what interleaving and the launch as
error unit are made for: it widens the interval, and is shown as a caution. What can hit one arm alone, or means that
the wrong thing was measured, voids the launch.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from rtxbench.gate.session import GateLaunch, Watch
from rtxbench.hardware.flags import pair_flags, window_flags
from rtxbench.hardware.recorder import Recorder
from rtxbench.hardware.trace import Trace, load_trace, values_in
from rtxbench.records import Environment, Flag

__all__ = ["watching"]

_ABSORBED: Final = frozenset({"steal", "cgroup-throttled", "cpu-pressure", "no-work"})
"""Invalid for a figure that stands alone, a caution for a paired comparison. ``no-work`` is among them because a
user's step may well wait for something (a network, a disk) that no sensor here counts as work."""

_USED_UTILIZATION: Final = 0.2
"""Mean over the blocks from which on a card is the one a step runs on: a desktop's own drawing stays below."""


@contextlib.contextmanager
def watching(trace_path: Path | None, environment: Environment) -> Iterator[Watch]:
    """Record while the gate measures; yields what gives a launch its flags. ``None`` records nothing.

    Raises:
        MeasurementError: the recorder does not start.
    """
    if trace_path is None:
        yield lambda _launch: ()
        return
    uuids = [gpu.uuid for gpu in environment.gpus]
    with Recorder(trace_path):
        yield lambda launch: _flags(load_trace(trace_path), launch, uuids)


def _flags(trace: Trace, launch: GateLaunch, uuids: list[str]) -> tuple[Flag, ...]:
    baseline = [block for pair in launch.pairs for block in pair.baseline.blocks_ns]
    candidate = [block for pair in launch.pairs for block in pair.candidate.blocks_ns]
    windows = sorted([*baseline, *candidate])
    used = [uuid for uuid in uuids if _is_used(trace, uuid, windows)]
    flags = [*window_flags(trace, windows, used), *(pair_flags(trace, baseline, candidate, used) if used else ())]
    return tuple(_as_caution(flag) if flag.code in _ABSORBED else flag for flag in flags)


def _is_used(trace: Trace, uuid: str, windows: list[tuple[int, int]]) -> bool:
    """Nobody tells the gate which device a user's step runs on: it is the one that works."""
    series = trace.get(uuid, "gpu_utilization_ratio")
    if series is None:
        return False
    values = values_in(series, windows)
    return bool(values.size) and float(values.mean()) > _USED_UTILIZATION


def _as_caution(flag: Flag) -> Flag:
    return msgspec.structs.replace(flag, severity="warn")

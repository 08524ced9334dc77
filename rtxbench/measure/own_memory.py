"""Measure the memory one arm needs: the peak of a process that holds nothing else. Runs inside a worker.

Of arms that share a process, an allocator's peak is that of all of them together: every arm's weights and the largest
arm's activations. So an arm is asked right after it was built, and only where it was the first of its process; the
arms of a group take turns at that.
"""

from pathlib import Path
from typing import Final

from rtxbench.engines.contract import Engine, EngineFigure, TrainStep
from rtxbench.placement import placement_named
from rtxbench.records import Case

__all__ = ["NOT_ALONE", "peak_alone", "resident_bytes"]

NOT_ALONE: Final = EngineFigure(None, "another arm was in the process already")
_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_FORGET_PEAK: Final = "5"


def resident_bytes(field: str = "VmRSS") -> int | None:
    """Read the resident set of this process (``VmHWM``: its peak) in bytes; ``None`` where the system does not say."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def peak_alone(engine: Engine, step: TrainStep, case: Case, idle_bytes: int | None) -> EngineFigure:
    """Find the bytes at the peak of one more step of the only arm of this process.

    On a GPU the engine's own figure (allocator or compiler's plan), on a CPU the resident set above that of the idle
    worker, which holds the framework and no model.
    """
    if engine.name == "python" or placement_named(case.placement).device_kind == "gpu":
        engine.reset_peak_memory()
        step.run(1)
        return engine.peak_memory()
    try:
        _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")
    except OSError as error:
        return EngineFigure(None, f"this system does not let a process reset its peak resident set ({error.strerror})")
    step.run(1)
    peak_bytes = resident_bytes("VmHWM")
    if peak_bytes is None or idle_bytes is None:
        return EngineFigure(None, "this system does not say how much memory a process holds")
    return EngineFigure(
        float(max(0, peak_bytes - idle_bytes)), "peak resident set of a training step above the idle worker"
    )

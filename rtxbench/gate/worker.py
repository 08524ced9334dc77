"""Runs one arm's training steps in that arm's own Python. Standard library only, started by file path.

It speaks the protocol of `rtxbench.workers.protocol` without importing it, because an arm's environment belongs to
the code under test and need not hold rtxbench: a gate must measure the same way whatever the two arms installed.

A case is ``module:function``. ``function()`` builds everything and returns ``step``; each call of ``step()`` runs
one training step and returns when the device has finished it.
"""

import importlib
import json
import math
import mmap
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

FOREIGN_ROOT = "RTXBENCH_FOREIGN_ROOT"
"""Variable that holds the other arm's tree: importing code from there would compare a thing with itself."""

SEARCH_PATH = "RTXBENCH_SEARCH_PATH"
"""Variable that holds the folders this arm's code is imported from."""

PLANTED = "RTXBENCH_PLANTED"
"""Variable that holds what a self-test plants in this arm: ``peak memory=0.05`` or ``first step=0.5``."""

_INSTALLED = {"site-packages", "dist-packages"}
_MAX_MESSAGE = 600


class _Built:
    """One built step and what it last returned."""

    def __init__(self, target: str) -> None:
        module_name, _, function_name = target.partition(":")
        self.step = getattr(importlib.import_module(module_name), function_name)()
        if not callable(self.step):
            raise TypeError(f"{target}() returned {type(self.step).__name__}; it must return a callable step")
        self.result: Any = None

    def run(self, steps: int) -> None:
        """Run that many steps."""
        for _ in range(steps):
            self.result = self.step()


def main() -> None:
    """Serve requests until standard input closes. Whatever the user's code prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    # Not through PYTHONPATH: a json.py of the arm's tree would take the place of the one this file needs.
    search_path = os.environ.pop(SEARCH_PATH, "")
    os.environ["PYTHONPATH"] = search_path  # for what the step starts itself
    sys.path[:0] = search_path.split(os.pathsep) if search_path else []
    arms: dict[str, _Built] = {}
    print(json.dumps({"type": "Ready", "engine": "python", "versions": {}, "devices": []}), file=replies)
    for line in sys.stdin:
        request = json.loads(line)
        if request["type"] == "Close":
            return
        try:
            reply = _ACTIONS[request["type"]](request, arms)
        except (Exception, SystemExit) as error:  # the user's code may raise anything: all of it is reported
            reply = _failed(error)
        print(json.dumps(reply), file=replies)


def _build(request: dict[str, Any], arms: dict[str, _Built]) -> dict[str, Any]:
    """Import the case's module, build its step, run it once."""
    started = time.monotonic()
    arm = _Built(request["case"]["workload"])
    built = time.monotonic()
    arm.run(1)
    time.sleep(_planted("first step") * (time.monotonic() - built))
    first_step_s = time.monotonic() - built
    foreign = _foreign_modules(os.environ.get(FOREIGN_ROOT, ""))
    if foreign:
        raise ImportError(f"code of the other arm was imported: {', '.join(foreign[:3])}")
    arms[request["arm"]] = arm
    return {"type": "Built", "build_s": built - started, "first_step_s": first_step_s}


def _block(request: dict[str, Any], arms: dict[str, _Built]) -> dict[str, Any]:
    """Run untimed lead-in steps, then the timed ones between two readings of the clock."""
    arm = arms[request["arm"]]
    arm.run(request.get("lead_in", 0))
    start_ns = time.monotonic_ns()
    arm.run(request["steps"])  # the garbage collector stays on: what a step leaves to collect is part of its cost
    end_ns = time.monotonic_ns()
    return {"type": "Timed", "start_ns": start_ns, "end_ns": end_ns}


def _describe(request: dict[str, Any], arms: dict[str, _Built]) -> dict[str, Any]:
    """Describe the loss, if that is what the step returns; nothing else is known of a user's own step."""
    result = arms[request["arm"]].result
    finite = isinstance(result, int | float) and math.isfinite(result)
    missing = {} if finite else {"loss": f"the step returned {result!r}"[:_MAX_MESSAGE]}
    loss = float(result) if finite else None
    extra = _held_at_the_peak(_planted("peak memory"))
    described = {"type": "Described", "loss": loss, "peak_memory_bytes": _peak_memory_bytes(), "missing": missing}
    del extra
    return described


def _peak_memory_bytes() -> float:
    """Measure the peak above the idle worker: of the GPU where PyTorch used one, else of the host."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return float(sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())))
    return max(0.0, _peak_resident_bytes() - _IDLE_BYTES)


def _planted(quantity: str) -> float:
    """Return the share to plant of that quantity; 0 outside a self-test."""
    name, _, ratio = os.environ.get(PLANTED, "").partition("=")
    return float(ratio) if name == quantity else 0.0


def _held_at_the_peak(ratio: float) -> "mmap.mmap | None":
    """Map so much memory that the arm's peak rises by that share, as if the step had held it all along."""
    if not ratio:
        return None
    below_peak = _peak_resident_bytes() - _status_bytes("VmRSS:")
    held = mmap.mmap(-1, int(below_peak + ratio * _peak_memory_bytes()))  # the heap may have room that is resident
    for offset in range(0, len(held), mmap.PAGESIZE):
        held[offset] = 1
    return held


def _status_bytes(field: str) -> float:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 (pathlib's is slower)
        return next(1024.0 * float(line.split()[1]) for line in status if line.startswith(field))


def _peak_resident_bytes() -> float:
    """Largest resident set of this program.

    Linux counts it from the program's start (VmHWM); its ``ru_maxrss`` also remembers the parent it was forked from.
    """
    try:
        return _status_bytes("VmHWM:")
    except (OSError, StopIteration):
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def _failed(error: BaseException) -> dict[str, Any]:
    """Report the error and the place in the user's code that raised it."""
    traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and frames[-1].filename != __file__ else ""
    # One line: a CI runner would obey a line of its own that begins with "::".
    message = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_MESSAGE] + where
    cure = "Run the case by hand in that arm's tree: function() must return a callable that runs one step."
    return {"type": "Failed", "kind": type(error).__name__, "message": message, "next_step": cure}


def _foreign_modules(root: str) -> list[str]:
    """Modules that came from the other arm's tree."""
    if not root:
        return []
    found = []
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "/")
        itself = module is sys.modules.get("__main__")  # which torch also enters as __mp_main__
        if not itself and Path(root) in path.parents and not _INSTALLED & set(path.parts):
            found.append(f"{name} ({path})")
    return sorted(found)


_IDLE_BYTES = _peak_resident_bytes()

_ACTIONS = {"Build": _build, "Block": _block, "Describe": _describe}

if __name__ == "__main__":
    sys.path.pop(0)  # this file's own folder must not shadow the user's modules
    main()

"""Runs one arm's training steps in that arm's own Python. Standard library only, started by file path.

It must work in an environment where rtxbench is not installed, because the arm's environment belongs to the code
under test. Requests come as JSON lines on standard input, replies leave as JSON lines on the original standard
output; whatever the user's code prints goes to standard error.

A case is ``module:function``. ``function()`` builds everything and returns a ``step``; each call ``step()`` runs
one training step and returns when the device has finished it.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_INSTALLED = {"site-packages", "dist-packages"}


def main() -> int:
    """Serve requests until standard input closes."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    steps: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = _ACTIONS[request["do"]](request, steps)
        except (Exception, SystemExit) as error:  # the user's code may raise anything: it is reported
            reply = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        print(json.dumps(reply), file=replies)
    return 0


def _build(request: dict[str, Any], steps: dict[str, Any]) -> dict[str, Any]:
    """Import the case's module, build its step, run it once."""
    sys.path[:0] = [path for path in request["search_path"] if path not in sys.path]
    module_name, _, function_name = request["case"].partition(":")
    started = time.perf_counter()
    builder = getattr(importlib.import_module(module_name), function_name)
    step = builder()
    if not callable(step):
        raise TypeError(f"{request['case']}() returned {type(step).__name__}; it must return a callable step")
    built = time.perf_counter()
    step()
    steps[request["case"]] = step
    return {
        "build_s": built - started,
        "first_step_s": time.perf_counter() - built,
        "foreign": _foreign_modules(request["foreign_root"]),
    }


def _block(request: dict[str, Any], steps: dict[str, Any]) -> dict[str, Any]:
    """Run untimed lead-in steps, then the timed ones between two readings of the clock."""
    step = steps[request["case"]]
    for _ in range(request["lead_in"]):
        step()
    started = time.monotonic_ns()
    for _ in range(request["steps"]):
        step()
    return {"start_ns": started, "end_ns": time.monotonic_ns()}


def _foreign_modules(foreign_root: str) -> list[str]:
    """Modules that came from the other arm's tree: the comparison would be of a thing with itself."""
    if not foreign_root:
        return []
    root = Path(foreign_root)
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and root in Path(file).parents and not _INSTALLED & set(Path(file).parts):
            found.append(f"{name} ({file})")
    return sorted(found)


_ACTIONS = {"build": _build, "block": _block}

if __name__ == "__main__":
    sys.path.pop(0)  # this file's own folder must not shadow the user's modules
    sys.exit(main())

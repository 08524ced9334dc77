"""What an engine does with some cases, found in a process of its own: one Keras backend per process.

``python -m tests.engine_facts ENGINE CASES`` prints one JSON object per case. `facts` runs it and returns them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import pytest

_FRAMEWORK = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def require(engine: str) -> None:
    """Skip the module where the engine's framework is not installed."""
    if find_spec(_FRAMEWORK[engine]) is None:
        pytest.skip(f"the {engine} engine needs {_FRAMEWORK[engine]}, which is not installed", allow_module_level=True)


def facts(engine: str, *cases: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Losses of five single steps, FLOPs, bytes and errors of each case; ``error`` where the case was refused."""
    command = [sys.executable, "-W", "error::UserWarning", "-m", "tests.engine_facts", engine, json.dumps(cases)]
    settings = {"KERAS_BACKEND": engine, "OMP_NUM_THREADS": "1", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _fact(engine: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    from rtxbench.engines.step_work import CountsWork
    from rtxbench.errors import RtxbenchError
    from rtxbench.records import Case

    case = Case(**{"workload": "mlp", "batch_size": 32, "engine": engine.name, **changes})
    try:
        step = engine.build(case, 0)
        step.activate()
        losses = []
        for _ in range(5):
            step.run(1)
            losses.append(step.loss())
        flops = step.flops()
        work = step.work() if isinstance(step, CountsWork) else None
        engine.reset_peak_memory()
        step.run(1)
        losses.append(step.loss())
    except RtxbenchError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {
        "losses": losses,
        "flops": flops,
        "work": None if work is None else work._asdict(),
        "state_bytes": step.state_bytes().value,
        "peak": engine.peak_memory(),
        "matmul_error": engine.matmul_error(case).value,
        "convolution_error": engine.convolution_error(case).value,
        "versions": engine.versions(),
        "notes": step.notes(),
        "other_engines": sorted({"tensorflow", "jax", "torch"} & sys.modules.keys() - {engine.name}),
    }


def main(arguments: Sequence[str]) -> None:
    from rtxbench.engines import load_engine

    engine = load_engine(arguments[0])
    devices = [tuple(device) for device in engine.devices()]
    for changes in json.loads(arguments[1]):
        print(json.dumps({**_fact(engine, changes), "devices": devices}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

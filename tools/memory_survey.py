"""What an engine says a training step of each workload needs, at three batch sizes: the memory model's test data.

``KERAS_BACKEND=jax python -m tools.memory_survey OUT.csv [WORKLOAD…]`` builds each step and asks the
engine for its peak; nothing is trained. JAX answers from the compiler's memory plan, on a CPU too, so that the model
of `rtxbench.advice.memory.need` can be held to it on a machine without a GPU. One process per case: a framework never
gives all of its memory back.
"""

import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rtxbench.engines import load_engine
from rtxbench.records import Case

__all__ = ["BATCH_SIZES", "COLUMNS", "survey_case"]

BATCH_SIZES: Mapping[str, tuple[int, int, int]] = {
    # Two to fit a line, one to check it on.
    "mlp": (512, 2048, 8192),
    "mlp-wide": (256, 1024, 4096),
    "cnn": (4, 16, 64),
    "resnet50": (4, 8, 32),
    "resnet50-64px": (16, 64, 256),
    "bert-base": (4, 8, 32),
    "bert-small": (8, 32, 128),
    "gpt2": (2, 4, 8),
}
PRECISIONS = ("float32", "mixed_bfloat16")
COLUMNS = ("workload", "precision", "batch_size", "peak_bytes", "state_bytes", "method", "versions")


def survey_case(workload: str, precision: str, batch_size: int) -> dict[str, object]:
    """Build one step on the JAX engine and return a row of `COLUMNS`.

    Raises:
        UnavailableError: JAX is not installed.
        MeasurementError: the machine has not enough memory even to hold the step's state.
    """
    engine = load_engine("jax")
    case = Case(workload=workload, precision=precision, batch_size=batch_size, engine="jax", compiler="xla")
    step = engine.build(case, seed=0)
    step.activate()
    peak, state = engine.peak_memory(), step.state_bytes()
    return {
        "workload": workload,
        "precision": precision,
        "batch_size": batch_size,
        "peak_bytes": "" if peak.value is None else int(peak.value),
        "state_bytes": "" if state.value is None else int(state.value),
        "method": peak.how,
        "versions": "; ".join(f"{name} {version}" for name, version in engine.versions().items()),
    }


def _print_row(workload: str, precision: str, batch_size: str) -> None:
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writerow(survey_case(workload, precision, int(batch_size)))


def main(out: Path, workloads: list[str]) -> None:
    """Survey ``workloads`` (default all), one fresh process per case, a line written as each is done."""
    with out.open("w", encoding="utf-8") as stream:
        stream.write(",".join(COLUMNS) + "\n")
        for workload in workloads or list(BATCH_SIZES):
            for precision in PRECISIONS:
                for batch_size in BATCH_SIZES[workload]:
                    command = [sys.executable, "-m", __spec__.name, "--case", workload, precision, str(batch_size)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    stream.write(done.stdout.splitlines()[-1] + "\n")
                    stream.flush()
                    sys.stderr.write(f"{workload} {precision} b{batch_size}\n")


if __name__ == "__main__":
    if sys.argv[1] == "--case":
        _print_row(*sys.argv[2:5])
    else:
        main(Path(sys.argv[1]), sys.argv[2:])

"""What XLA plans one training step of every workload to hold on an NVIDIA card: the plan's data on device memory.

``python -m tools.gpu_memory_plan OUT.csv [WORKLOAD…]`` compiles each workload at its default GPU batch for a card
that is not there (see `tools.ahead_of_time`) and appends a row as each is done; rows that are there are kept.
"""

import csv
import sys
from pathlib import Path
from typing import Final

from rtxbench.records import Case
from rtxbench.workloads import WORKLOADS, workload_named
from tools.ahead_of_time import compile_step

__all__ = ["COLUMNS"]

COLUMNS: Final = ("workload", "precision", "batch_size", "state_bytes", "temp_bytes", "flops", "card")
PRECISIONS: Final = ("float32", "mixed_bfloat16")
"""One of each width: TF32 keeps what float32 keeps, float16 what bfloat16 keeps."""
CARD: Final = "GeForce RTX 4070"


def main(out: Path, workloads: list[str]) -> None:
    """Compile what is not in the file yet."""
    done = set()
    if out.exists():
        with out.open(encoding="utf-8", newline="") as stream:
            done = {(row["workload"], row["precision"]) for row in csv.DictReader(stream)}
    with out.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not done:  # a new file
            writer.writerow(COLUMNS)
        for name in workloads or list(WORKLOADS):
            for precision in PRECISIONS:
                if (name, precision) in done:
                    continue
                batch_size = workload_named(name).batch_sizes["gpu"]
                case = Case(workload=name, batch_size=batch_size, precision=precision, placement="gpu", engine="jax")
                try:
                    step = compile_step(case, CARD)
                except RuntimeError as error:
                    sys.stderr.write(f"{error}\n")
                    continue
                flops = "" if step.flops is None else f"{step.flops:.6g}"
                writer.writerow([name, precision, batch_size, step.argument_bytes, step.temp_bytes, flops, step.card])
                stream.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Choose a few real records for ``rtxbench selftest hostile``: ``python -m tools.robustness_sample RESULTS… OUT``.

Name a folder of results and one in which ``rtxbench gate --history`` ran.

One record of each kind, topic and metric, and both cases of each comparison, under one run header: small enough to be
mutated a million times, and shaped like everything that rtxbench writes.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUN_ID = "20260101T000000-sample"


def sample(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the chosen lines, header first."""
    lines = [
        json.loads(line)
        for results in folders
        for path in sorted(results.rglob("*.jsonl"))
        if not path.name.endswith(".trace.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    by_id = {line["record_id"]: line for line in lines if "record_id" in line}
    chosen: dict[str, dict[str, Any]] = {}
    kinds: set[tuple[object, ...]] = set()
    for line in by_id.values():
        kind = (line["kind"], line.get("topic"), line.get("metric"), line.get("status"))
        if kind in kinds:
            continue
        kinds.add(kind)
        chosen |= {
            arm: by_id[arm] for name in ("baseline_record", "candidate_record") if (arm := line.get(name)) in by_id
        }
        chosen[line["record_id"]] = line
    header = next(line for line in lines if line["kind"] == "run")
    return [header | {"run_id": RUN_ID}, *(line | {"run_id": RUN_ID} for line in chosen.values())]


if __name__ == "__main__":
    *folders, out = map(Path, sys.argv[1:])
    rows = [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in sample(folders)]
    out.write_text("\n".join(rows) + "\n", encoding="utf-8")

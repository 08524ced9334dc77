"""The Slurm script starts Ray once on the head, once on the others, and hands its arguments to the sweep."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "fleet.sbatch"
SRUN = """#!/usr/bin/env bash
echo "$@" >> "$LOG"
case "$*" in *--block*) exec sleep 60 ;; esac
"""


def test_the_script_starts_ray_and_the_sweep(tmp_path: Path) -> None:
    """Stand-ins for srun and scontrol, whose names fill more than a pipe: a head, the others, one sweep; all end."""
    log = tmp_path / "log"
    for name, text in (("srun", SRUN), ("scontrol", "#!/usr/bin/env bash\nprintf 'node%s\\n' {1..20000}\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "LOG": str(log),
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "RTXBENCH_RAY_JOIN_S": "0.3",
    }
    ended = subprocess.run(
        ["bash", str(SCRIPT), "--profile", "smoke"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    calls = log.read_text().splitlines()
    assert sum("ray start --head --node-ip-address node1" in call for call in calls) == 1
    assert [call for call in calls if "--nodes 2 --ntasks 2 --exclude node1" in call and "node1:6379 --block" in call]
    assert calls[-1].endswith(f"fleet run --address node1:6379 --results {tmp_path}/results --resume --profile smoke")

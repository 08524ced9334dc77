"""Prove a fleet sweep on a real Ray cluster of three network namespaces: 60 cases, deaths in the middle, 60 records.

    python -m tools.fleet_proof --out build/fleet     # needs root, ip, Ray and PyTorch; leaves nothing behind

::

    fl1 (10.78.3.1, Ray's head, the sweep) ──┐
    fl2 (10.78.3.2) ─────────────────────────┼── bridge in a namespace of its own
    fl3 (10.78.3.3) ─────────────────────────┘

Every machine measures ten groups of two cases, in the profile `smoke`. While records come home, node 3 dies and comes
back, the sweep itself is killed, node 2 dies and comes back, and ``--resume`` brings home the rest. At last each case
of each machine must be home once, and no process of a measurement be left. The three share this machine's cores: their
figures are worth nothing, which case was measured where and how often is what is looked at.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from rtxbench.records import CaseRecord
from rtxbench.results.store import load_results

__all__ = ["main"]

_NODES: Final = 3
_SWITCH: Final = "flsw"
_PORT: Final = 6391
_ROOT: Final = Path(__file__).resolve().parents[1]
_WORKLOADS: Final = (
    "mlp",
    "mlp-wide",
    "cnn",
    "digits-cnn",
    "conv-full",
    "conv-separable",
    "bert-mini",
    "bert-mini-half",
    "bert-small-half",
    "gpt2-mini",
)
"""Ten cheap ones, each with two cases on a CPU: float32 and bfloat16."""
_LIMIT_S: Final = 3600.0
_NODE_3_DIES, _SWEEP_DIES, _NODE_2_DIES = 0.13, 0.33, 0.53
"""Share of the jobs that is home when it happens."""


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"ip {' '.join(words)}: {done.stderr.strip()}. Next: run it as root, with iproute2 installed.")
    return done.stdout


def _kill_all(number: int) -> None:
    for pid in _ip("netns", "pids", f"fl{number}", check=False).split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _clear() -> None:
    for number in range(1, _NODES + 1):
        _kill_all(number)
        _ip("netns", "del", f"fl{number}", check=False)
    _ip("netns", "del", _SWITCH, check=False)


@contextmanager
def _namespaces() -> Iterator[None]:
    _clear()
    _ip("netns", "add", _SWITCH)
    _ip("-n", _SWITCH, "link", "add", "flbr", "type", "bridge")
    _ip("-n", _SWITCH, "link", "set", "flbr", "up")
    try:
        for number in range(1, _NODES + 1):
            space, port = f"fl{number}", f"flp{number}"
            _ip("netns", "add", space)
            _ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", _SWITCH)
            _ip("-n", _SWITCH, "link", "set", port, "master", "flbr", "up")
            _ip("-n", space, "addr", "add", f"10.78.3.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")
        yield
    finally:
        _clear()


def _inside(number: int, scratch: Path, *command: str) -> "subprocess.Popen[bytes]":
    own = {
        "PYTHONPATH": str(_ROOT),
        "RTXBENCH_LOCK": str(scratch / f"lock{number}"),
        "TMPDIR": str(scratch / f"t{number}"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": f"10.78.3.1:{_PORT}",
        # Three nodes share two cores or so: what is slow is not dead. (A killed node's connections break at once.)
        "RAY_raylet_start_wait_time_s": "600",
        "RAY_health_check_failure_threshold": "30",
        "RAY_worker_niceness": "0",  # whoever starts the proof says how nice it is
    }
    (scratch / f"t{number}").mkdir(exist_ok=True)
    with (scratch / f"log{number}").open("ab") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", f"fl{number}", *command],
            env={**os.environ, **own},
            cwd=scratch,
            stdout=log,
            stderr=log,
        )


def _start_node(number: int, scratch: Path) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    here = ["--node-ip-address", f"10.78.3.{number}", "--num-cpus", "2", "--disable-usage-stats"]
    head = ["--head", "--port", str(_PORT), "--include-dashboard=false", "--temp-dir", str(scratch / "ray")]
    role = head if number == 1 else ["--address", f"10.78.3.1:{_PORT}"]
    if _inside(number, scratch, ray, "start", *role, *here).wait(900):
        raise SystemExit(f"Ray did not start in fl{number}; its words are in {scratch / f'log{number}'}.")


def _start_sweep(results: Path, scratch: Path, groups: int, *options: str) -> "subprocess.Popen[bytes]":
    asked = [word for name in _WORKLOADS[:groups] for word in ("--workload", name)]
    command = [
        "-m",
        "rtxbench",
        "fleet",
        "run",
        "--profile",
        "smoke",
        "--engine",
        "torch",
        "--claim",
        "cpu-matrix-unit",
    ]
    return _inside(
        1, scratch, sys.executable, *command, *asked, "--results", str(results), "--patience", "300", *options
    )


def _home(results: Path) -> int:
    """Count the jobs that the ledger says are home."""
    lines = [line for path in results.glob(".fleet/*.ledger") for line in path.read_bytes().split(b"\n") if line]
    return sum(bool(json.loads(line)["runs"]) for line in lines)


def _wait_for(jobs: int, results: Path, sweep: "subprocess.Popen[bytes]", until: float) -> None:
    while _home(results) < jobs:
        if sweep.poll() is not None:
            raise SystemExit(f"the sweep ended with {sweep.returncode} when {_home(results)} jobs were home.")
        if time.monotonic() > until:
            raise SystemExit(f"{_home(results)} jobs were home at the limit.")
        time.sleep(0.5)


def _left_over() -> list[str]:
    """List the processes of measurements in the namespaces, by their command lines."""
    found = []
    for number in range(1, _NODES + 1):
        for pid in _ip("netns", "pids", f"fl{number}", check=False).split():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"rtxbench.measure.worker" in words or (b"rtxbench" in words and b"run" in words):
                    found.append(b" ".join(words).decode(errors="replace").strip())
    return found


def _told(results: Path, groups: int, what: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {_home(results):2} of {_NODES * groups} jobs home: {what}\n")


def _swept(results: Path, scratch: Path, groups: int) -> int:
    """Carry out the sweep with its deaths; return the exit code of the last."""
    until = time.monotonic() + _LIMIT_S
    sweep = _start_sweep(results, scratch, groups)
    for share, number in ((_NODE_3_DIES, 3), (_SWEEP_DIES, 0), (_NODE_2_DIES, 2)):
        _wait_for(math.ceil(share * _NODES * groups), results, sweep, until)
        if number:
            _told(results, groups, f"node {number} dies")
            _kill_all(number)
            time.sleep(5)
            _start_node(number, scratch)
        else:
            _told(results, groups, "the sweep is killed")
            sweep.kill()
            sweep.wait()
            sweep = _start_sweep(results, scratch, groups, "--resume")
    code = sweep.wait(max(1.0, until - time.monotonic()))
    while code == 4 and time.monotonic() < until:  # a machine was away for longer than the patience
        _told(results, groups, "the sweep ended with jobs left; once more with --resume")
        code = _start_sweep(results, scratch, groups, "--resume").wait(max(1.0, until - time.monotonic()))
    return code


def _judged(results: Path, groups: int, code: int, left_over: list[str]) -> dict[str, Any]:
    records = [
        (loaded.run.environment.machine, record.case.label, record.status)
        for loaded in load_results([results])
        for record in loaded.of_kind(CaseRecord)
    ]
    times = Counter((machine, label) for machine, label, _ in records)
    return {
        "records": len(records),
        "cases": len(times),
        "wanted": 2 * _NODES * groups,
        "measured": sum(status == "measured" for _, _, status in records),
        "twice": [" ".join(key) for key, count in times.items() if count > 1],
        "machines": len({machine for machine, _ in times}),
        "exit_code": code,
        "left_over": left_over,
    }


def main() -> None:
    """Run the proof and print what came of it; exit code 1 where it does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("build/fleet"), help="folder of the records; emptied first")
    parser.add_argument("--groups", type=int, default=len(_WORKLOADS), help="groups of two cases on each machine")
    asked = parser.parse_args()
    out = asked.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fl", ignore_cleanup_errors=True) as name, _namespaces():
        scratch = Path(name)
        try:
            for number in range(1, _NODES + 1):
                _start_node(number, scratch)
            code = _swept(out, scratch, asked.groups)
            time.sleep(3)
            found = _judged(out, asked.groups, code, _left_over())
        finally:
            for number in range(1, _NODES + 1):
                if (log := scratch / f"log{number}").exists():
                    out.mkdir(parents=True, exist_ok=True)
                    shutil.copy(log, out / log.name)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    whole = found["records"] == found["cases"] == found["wanted"] and found["machines"] == _NODES
    raise SystemExit(0 if whole and not found["exit_code"] and not found["left_over"] else 1)


if __name__ == "__main__":
    main()

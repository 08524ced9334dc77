"""Prove one job over several nodes on three network namespaces of one machine; needs root, and changes nothing else.

::

    node 1 (10.77.19.1) ──┐
    node 2 (10.77.19.2) ──┼── a bridge in a namespace of its own; every end shaped by tbf
    node 3 (10.77.19.3) ──┘

``python -m tools.nodes_proof train --link 1gbit --engine torch`` trains the wide MLP in one process and over three
nodes: their losses, and the step's time against what the measured link predicts. ``… kills --times 20`` measures the
small MLP and loses the third node at a random moment of each run: no hang, no orphan, no record lost or doubled.
The three nodes share this machine's cores: what three processes compute at once is measured beside it, and is what the
prediction starts from. It proves how the parts behave together, not how fast any cluster is.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

NODES = 3
BARRIER = "barrier"
"""Instead of an engine: ranks whose step is a barrier that hangs when one is lost, under the real protocol."""
PREFIX = {"train": "rtxn", "kills": "rtxk"}[sys.argv[1]] if sys.argv[1:2] in (["train"], ["kills"]) else ""
PORT = 29701
TOKEN = "nodes-proof-nodes-proof"  # the namespaces reach nobody else
HERE = Path(__file__).resolve().parents[1]
WORKLOAD = {"train": "mlp-wide", "kills": "mlp"}
PLACEMENT = {"torch": "ddp-nodes-cpu", "jax": "data-parallel-nodes-cpu", "tensorflow": "multi-worker-cpu"}


def ip(*words: str, check: bool = True) -> str:
    """Run ip; its output."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def name(number: int) -> str:
    """A node's namespace; each command has its own, so that both can run."""
    return f"{PREFIX}{number}"


def address(number: int) -> str:
    """A node's address."""
    return f"10.77.19.{number}"


@contextmanager
def namespaces(link: str | None) -> Iterator[None]:
    """Three namespaces on one bridge; at the end none is left, nor any process in them."""
    clear()
    ip("netns", "add", name(0))
    ip("-n", name(0), "link", "add", "bridge0", "type", "bridge")
    ip("-n", name(0), "link", "set", "bridge0", "up")
    try:
        for number in range(1, NODES + 1):
            join(number, link)
        yield
    finally:
        clear()


def join(number: int, link: str | None) -> None:
    """Add a node to the bridge."""
    ip("netns", "add", name(number))
    port = f"port{number}"
    ip("link", "add", "eth0", "netns", name(number), "type", "veth", "peer", "name", port, "netns", name(0))
    ip("-n", name(0), "link", "set", port, "master", "bridge0", "up")
    ip("-n", name(number), "addr", "add", f"{address(number)}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        ip("-n", name(number), "link", "set", device, "up")
    if link is not None:
        shape = ["root", "tbf", "rate", link, "burst", "512kb", "latency", "50ms"]
        for space, device in ((name(number), "eth0"), (name(0), port)):
            subprocess.run(["tc", "-n", space, "qdisc", "add", "dev", device, *shape], check=True)
    hosts = Path("/etc/netns") / name(number) / "hosts"  # `ip netns exec` mounts it over /etc/hosts
    hosts.parent.mkdir(parents=True, exist_ok=True)
    hosts.write_text(f"127.0.0.1 localhost\n{address(number)} {socket.gethostname()}\n", encoding="utf-8")


def clear() -> None:
    """Remove the namespaces and whatever runs in them."""
    for number in range(1, NODES + 1):
        end_all(number)
        ip("netns", "del", name(number), check=False)
        hosts = Path("/etc/netns") / name(number) / "hosts"
        hosts.unlink(missing_ok=True)
        if hosts.parent.is_dir():
            hosts.parent.rmdir()
    ip("netns", "del", name(0), check=False)


def pids(number: int) -> list[int]:
    """Processes in a namespace."""
    return [int(word) for word in ip("netns", "pids", name(number), check=False).split()]


def end_all(number: int) -> None:
    """Kill whatever runs in a namespace."""
    for pid in pids(number):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def inside(number: int, *command: str, folder: Path, **variables: str) -> "subprocess.Popen[bytes]":
    """Start Python in a namespace; what it prints goes to log NUMBER of the folder."""
    own = {"PYTHONPATH": str(HERE), "RTXBENCH_LOCK": str(folder / "lock"), "RTXBENCH_NODES_TOKEN": TOKEN}
    with (folder / f"log{number}").open("ab") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", name(number), sys.executable, *command],
            env={**os.environ, **own, **variables},
            cwd=folder,
            stdout=log,
            stderr=log,
        )


# --- training: losses and scaling ---------------------------------------------------------------------------------


def agent(number: int) -> None:
    """Lend ranks, as every node but the first."""
    from rtxbench.nodes.agent import serve_ranks
    from rtxbench.nodes.launcher import Seat

    place = Seat(number - 1, NODES, address(1), PORT)
    serve_ranks(place, TOKEN, f"namespace{number}", 900)  # rank 0 trains alone first


def solo(engine: str, batch_size: int, steps: int) -> None:
    """One node's share by itself: prints a line when it is built, runs when it is told, prints its step time."""
    step = built(engine, batch_size, "cpu", 1, threads=True)
    step.run(1)
    print("built", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    step.run(steps)
    print((time.perf_counter() - began) / steps, flush=True)
    sys.stdin.readline()


def built(engine: str, batch_size: int, placement: str, count: int, *, threads: bool = False) -> Any:
    """A case of the wide MLP, ready to run."""
    from rtxbench.engines import load_engine
    from rtxbench.engines.refusals import default_compiler
    from rtxbench.records import Case

    os.environ["KERAS_BACKEND"] = engine
    loaded = load_engine(engine)
    if threads and engine == "torch":
        import torch

        torch.set_num_threads(1)  # as its ranks have: a machine's cores divided by the ranks on it
    case = Case(
        workload=WORKLOAD["train"],
        batch_size=batch_size,
        placement=placement,
        engine=engine,
        device_count=count,
        compiler=default_compiler(engine),
    )
    step = loaded.build(case, 0)
    step.activate()
    return step


def lead(engine: str, batch_size: int, steps: int) -> None:
    """Rank 0: the case in one process, then over three nodes, then its link; prints JSON."""
    from rtxbench.diagnosis.scaling import LINK_SIZES_BYTES, fitted_link, predicted_step
    from rtxbench.nodes.hub import gathered
    from rtxbench.nodes.launcher import Seat

    alone = built(engine, batch_size, "cpu", 1)
    one = losses(alone, 5)
    del alone
    with gathered(Seat(0, NODES, address(1), PORT), TOKEN, "namespace1", 120) as nodes:
        assert len(nodes.agents) == NODES - 1, nodes.absent
        together = built(engine, batch_size, PLACEMENT[engine], NODES)
        many = losses(together, 5)
        step_s = median(timed(together, 1) for _ in range(steps))
        gradient_bytes = together.gradient_bytes().value
        curve = {size: median(together.all_reduce_s(size, 5)) for size in (*LINK_SIZES_BYTES, int(gradient_bytes))}
        described = [(node.host, node.interface, node.link_bit_per_s) for node in together.nodes()]
        together.close()
    compute_s = compute_at_once(engine, batch_size // NODES, steps)
    link = fitted_link(curve)
    predicted = predicted_step(compute_s, gradient_bytes, link)
    print(
        json.dumps(
            {
                "losses_one": one,
                "losses_nodes": many,
                "largest_relative_difference": max(abs(a - b) / abs(a) for a, b in zip(one, many, strict=True)),
                "step_s": step_s,
                "compute_s": compute_s,
                "gradient_bytes": gradient_bytes,
                "all_reduce_s": {str(size): seconds for size, seconds in curve.items()},
                "link_bytes_per_s": link.bytes_per_s,
                "predicted_step_s": [predicted.least_step_s, predicted.most_step_s],
                "nodes": described,
            }
        )
    )


def losses(step: Any, count: int) -> list[float]:
    """Loss after each of the next steps."""
    found = []
    for _ in range(count):
        step.run(1)
        found.append(step.loss())
    return found


def timed(step: Any, count: int) -> float:
    """Seconds of a step."""
    began = time.perf_counter()
    step.run(count)
    return (time.perf_counter() - began) / count


def compute_at_once(engine: str, batch_size: int, steps: int) -> float:
    """Step time of one node's share while the other two nodes' shares are computed beside it on the same cores."""
    command = [sys.executable, "-m", "tools.nodes_proof", "solo", engine, str(batch_size), str(steps)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(NODES)
    ]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "built\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    times = [float(process.stdout.readline()) for process in running if process.stdout is not None]
    for process in running:
        process.kill()
        process.wait()
    return max(times)


def train(engine: str, link: str, batch_size: int, steps: int) -> None:
    """Train in one process and over three nodes; print what differs."""
    with tempfile.TemporaryDirectory() as folder, namespaces(link):
        here = Path(folder)
        module = ["-m", "tools.nodes_proof"]
        agents = [inside(number, *module, "agent", str(number), folder=here) for number in range(2, NODES + 1)]
        leader = inside(1, *module, "lead", engine, str(batch_size), str(steps), folder=here)
        code = leader.wait()
        for process in agents:
            process.wait(60)
        text = (here / "log1").read_text(errors="replace")
        found = next((json.loads(line) for line in text.splitlines() if line.startswith('{"losses_one"')), None)
        if code or found is None:
            raise SystemExit(text[-3000:])
    low, high = found["predicted_step_s"]
    summed_s = found["all_reduce_s"][str(int(found["gradient_bytes"]))]
    nearest = min(max(found["step_s"], low), high)
    print(
        f"{engine} over {link}: loss differs by {found['largest_relative_difference']:.1e} at most in 5 steps; "
        f"step {found['step_s']:.3f} s, predicted {low:.3f} to {high:.3f} s "
        f"({found['step_s'] / nearest - 1:+.0%} outside that range); computing {found['compute_s']:.3f} s, "
        f"all-reduce of {found['gradient_bytes'] / 1e6:.0f} MB {summed_s:.3f} s"
    )
    print(json.dumps({"engine": engine, "link": link, **found}))


# --- kills --------------------------------------------------------------------------------------------------------


def kills(engine: str, times: int, seed: int, window_s: float) -> None:
    """Lose the third node in one run after another."""
    chosen = random.Random(seed)
    good = 0
    for number in range(times):
        how = ("killed", "cut off")[number % 2]
        after_s = chosen.uniform(0, window_s)
        with tempfile.TemporaryDirectory() as folder, namespaces(None):
            problems, said = one_kill(engine, Path(folder), how, after_s)
        good += not problems
        print(f"{number + 1:2d} node 3 {how} after {after_s:5.1f} s: {said}{'; '.join(['', *problems])}", flush=True)
    print(f"{good} of {times} without a hang, an orphan, a lost or a doubled record (seed {seed})")
    if good != times:
        raise SystemExit(1)


def one_kill(engine: str, folder: Path, how: str, after_s: float) -> tuple[list[str], str]:
    """Start the run in all namespaces, lose the third node, and see what is left."""
    words = ["-P", "-m", "rtxbench", "run", "--nodes", "launcher", "--engine", engine, "--workload", WORKLOAD["kills"]]
    words += ["--profile", "smoke", "--results", "results", "--nodes-wait", "60"]
    running = []
    for number in range(1, NODES + 1):
        place = {"RANK": str(number - 1), "WORLD_SIZE": str(NODES), "MASTER_ADDR": address(1), "MASTER_PORT": str(PORT)}
        fake = ["-m", "tests.fake_ranks", "measure", address(1), str(PORT), str(number - 1), str(NODES)]
        running.append(inside(number, *(fake if engine == BARRIER else words), folder=folder, **place))
    wait_for(lambda: "rank 2 joined" in said_by(folder, 1), 120)
    time.sleep(after_s)
    over = running[0].poll() is not None
    lost_at = time.monotonic()
    if how == "killed":
        end_all(NODES)
    else:
        ip("-n", name(0), "link", "set", f"port{NODES}", "down")
    problems = []
    noticed_s = None
    while running[0].poll() is None and time.monotonic() - lost_at < 300:
        if noticed_s is None and '"status":"failed"' in records_text(folder):
            noticed_s = time.monotonic() - lost_at
        time.sleep(0.2)
    if running[0].poll() is None:
        problems.append("rank 0 hangs")
    if not wait_for(lambda: not any(pids(n) for n in range(1, NODES + 1)), 40):
        problems.append(f"processes are left: {[pids(n) for n in range(1, NODES + 1)]}")
    found, doubled = statuses(folder)
    problems += doubled
    said = f"{'after the end' if over else 'in the run'}, exit {running[0].poll()}; {found}"
    return problems, said + (f"; stored {noticed_s:.0f} s after" if noticed_s is not None else "")


def wait_for(fact: Any, limit_s: float) -> bool:
    """Wait until a fact holds; whether it came in time."""
    deadline = time.monotonic() + limit_s
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def said_by(folder: Path, number: int) -> str:
    """What a node's processes have printed."""
    return (folder / f"log{number}").read_text(errors="replace")


def records_text(folder: Path) -> str:
    """The results files as they are now."""
    paths = [path for path in folder.glob("results/*/*.jsonl") if not path.name.endswith(".trace.jsonl")]
    return "".join(path.read_text(encoding="utf-8") for path in paths)


def statuses(folder: Path) -> tuple[str, list[str]]:
    """Every one of the three cases must have one record; a failed one names node or rank."""
    from rtxbench.records import CaseRecord
    from rtxbench.results.store import load_results

    records = [record for run in load_results([folder / "results"]) for record in run.of_kind(CaseRecord)]
    cases = [record.case for record in records]
    whole = len(cases) == len(set(cases)) == NODES  # one node, strong and weak scaling
    problems = [] if whole else [f"{len(cases)} records of {len(set(cases))} cases, not 3"]
    nameless = [r for r in records if r.status == "failed" and "rank" not in (r.reason or "")]
    problems += [f"a failure without its rank: {record.reason}" for record in nameless]
    reasons = {(record.reason or "").split(". ")[0] for record in records if record.status == "failed"}
    counts = ", ".join(f"{sum(r.status == s for r in records)} {s}" for s in ("measured", "failed"))
    return counts + "".join(f" ({reason})" for reason in sorted(reasons)), problems


def main(arguments: Sequence[str]) -> None:
    """Run the command, or the part of it that runs inside a namespace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("train", "kills"):
        one = commands.add_parser(command)
        one.add_argument("--engine", default="torch", choices=[*PLACEMENT, *([BARRIER] if command == "kills" else [])])
    commands.choices["train"].add_argument("--link", default="1gbit")
    commands.choices["train"].add_argument("--batch-size", type=int, default=96)
    commands.choices["train"].add_argument("--steps", type=int, default=7)
    commands.choices["kills"].add_argument("--times", type=int, default=20)
    commands.choices["kills"].add_argument("--seed", type=int, default=0)
    commands.choices["kills"].add_argument("--window", type=float, default=40.0)
    if arguments and arguments[0] in ("agent", "solo", "lead"):
        words = [int(word) if word.isdecimal() else word for word in arguments[1:]]
        {"agent": agent, "solo": solo, "lead": lead}[arguments[0]](*words)  # type: ignore[operator]
        return
    given = parser.parse_args(arguments)
    if given.command == "train":
        train(given.engine, given.link, given.batch_size, given.steps)
    else:
        kills(given.engine, given.times, given.seed, given.window)


if __name__ == "__main__":
    main(sys.argv[1:])

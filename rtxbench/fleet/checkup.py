"""Compare the machines of a cluster, and tell the progress of its sweeps."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from rtxbench.fleet.cluster import Cluster, Lost
from rtxbench.fleet.jobs import ClusterMachine, Sweep
from rtxbench.fleet.ledger import ledger_counts
from rtxbench.fleet.node import is_busy
from rtxbench.fleet.sweep import machines_of
from rtxbench.hardware.differences import differences

__all__ = ["checkup_lines", "status_lines"]


def checkup_lines(cluster: Cluster) -> Iterator[str]:
    """Describe each machine and its differences from the first of its hardware, what matters first.

    Raises:
        UnavailableError: a node cannot run rtxbench, or has another version of it.
    """
    machines = machines_of(cluster, cluster.nodes(), Sweep(profile="smoke"))
    yield f"{len(machines)} machines"
    for group in _by_hardware(machines):
        first, *others = group
        yield f"\n{_hardware(first)}: {', '.join(machine.name for machine in group)}"
        if not others:
            yield "  the only one of its kind"
        for other in others:
            found = [d for d in differences(first.answer.environment, other.answer.environment) if d.name != "machine"]
            for difference in found:
                why = f" ({difference.why})" if difference.why else ""
                yield f"  {other.name}: {difference.name} {difference.second}, not {difference.first}{why}"
            if not found:
                yield f"  {other.name}: nothing differs from {first.name}"
    yield "\nnext:    rtxbench fleet run"


def status_lines(cluster: Cluster, results_dir: Path) -> Iterator[str]:
    """List the nodes and which of them is being measured, then the sweeps whose ledgers are in a results folder."""
    nodes = cluster.nodes()
    for node, raw in zip(nodes, cluster.ask_all(nodes, is_busy), strict=True):
        state = raw.reason if isinstance(raw, Lost) else "measures" if msgspec.json.decode(raw) else "idle"
        cards = f", {node.gpus:.0f} GPUs" if node.gpus else ""
        yield f"{node.address:<20} {node.cpus:.0f} processors{cards}: {state}"
    for digest, machines in ledger_counts(results_dir).items():
        total = sum(machines.values())
        each = ", ".join(f"{name} {count}" for name, count in Counter(machines).most_common())
        yield f"sweep {digest}: {total} jobs home ({each})"


def _by_hardware(machines: Sequence[ClusterMachine]) -> list[list[ClusterMachine]]:
    groups: dict[str, list[ClusterMachine]] = {}
    for machine in machines:
        groups.setdefault(_hardware(machine), []).append(machine)
    return list(groups.values())


def _hardware(machine: ClusterMachine) -> str:
    environment = machine.answer.environment
    return " + ".join(gpu.name for gpu in environment.gpus) or environment.cpu.name

"""The parts of a sweep: what the user asked for, one machine of the fleet, and one job on it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rtxbench.machine import Environment
from rtxbench.measure.groups import Request

__all__ = ["ClusterMachine", "Finished", "Home", "Job", "NodeDescription", "Progress", "Sweep", "with_unique_names"]


class _Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strict value: it travels between machines."""


class Sweep(_Frozen, frozen=True, kw_only=True):
    """Request to every machine of a sweep."""

    profile: str = "quick"
    engine: str = "tensorflow"
    claims: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    budget_s: float | None = None
    """Time limit of one group."""

    @property
    def request(self) -> Request:
        """The same, as one machine's plan takes it."""
        return Request(profile=self.profile, engine=self.engine, claims=self.claims, workloads=self.workloads)

    @property
    def digest(self) -> str:
        """A short name for the request: a sweep that is resumed must ask for the same."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:8]

    def run_arguments(self, job: "Job", results_dir: Path) -> list[str]:
        """Return the arguments of ``rtxbench`` that measure one job into a folder."""
        budget = [] if self.budget_s is None else ["--budget", f"{self.budget_s:g}"]
        workload = ["--workload", job.workload] if job.workload else []
        chosen = ["--profile", self.profile, "--engine", self.engine, "--claim", job.claim, *workload, *budget]
        return ["run", *chosen, "--results", str(results_dir)]


class Job(_Frozen, frozen=True, kw_only=True):
    """One group of cases, or one trial: what one process measures."""

    claim: str
    workload: str = ""
    """Empty for a trial, which has a model of its own."""
    seconds: float = 0.0
    """Predicted duration."""

    @property
    def name(self) -> str:
        """``claim/workload``, as the group is called in the records."""
        return f"{self.claim}/{self.workload}" if self.workload else self.claim


class NodeDescription(_Frozen, frozen=True, kw_only=True):
    """The description a node gives of its machine, and what the sweep comes to on it."""

    environment: Environment
    version: str
    """Of rtxbench."""
    jobs: tuple[Job, ...]


class ClusterMachine(_Frozen, frozen=True, kw_only=True):
    """One node of the cluster as a sweep sees it."""

    node_id: str
    """Ray's; a node that comes back has another."""
    name: str
    """The folder under ``results/``: the hardware's fingerprint and the suffix."""
    suffix: str
    """Name that tells it from machines of equal hardware; empty where its GPUs' numbers do."""
    answer: NodeDescription


class Progress(_Frozen, frozen=True, tag=True, kw_only=True):
    """A line that the measuring process printed: a question and its standing."""

    text: str


class Home(_Frozen, frozen=True, tag=True, kw_only=True):
    """A file of results as it grows, or whole at the end."""

    name: str
    """Without a folder."""
    offset_bytes: int
    content: bytes


class Finished(_Frozen, frozen=True, tag=True, kw_only=True):
    """The measuring process has ended."""

    status: int
    complaint: str
    """The last line it printed, where it failed."""


def with_unique_names(answers: Sequence[tuple[str, str, NodeDescription]]) -> list[ClusterMachine]:
    """Name the machines of a fleet.

    A machine's fingerprint tells equal ones apart by the numbers of their GPUs. Without a GPU there is nothing to tell
    them by, so each gets a suffix made from its address, and keeps it as long as the address stays.

    Args:
        answers: Ray's node id, the node's address, and its answer.
    """
    machines = []
    for node_id, address, answer in answers:
        environment = answer.environment
        suffix = "" if environment.gpus else hashlib.sha256(address.encode()).hexdigest()[:4]
        name = "-".join(filter(None, (environment.machine, suffix)))
        machines.append(ClusterMachine(node_id=node_id, name=name, suffix=suffix, answer=answer))
    return machines

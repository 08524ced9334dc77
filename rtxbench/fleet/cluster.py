"""A Ray cluster, as much of it as a sweep needs. The one module that imports Ray.

Each machine is asked for whole: all its processors and all its GPUs go to one job at a time, because a measurement
beside another measures neither.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from rtxbench.errors import MeasurementError, UnavailableError

__all__ = ["Cluster", "Lost", "Node", "Stream", "connected"]

_NAMESPACE: Final = "rtxbench"
_ANSWER_LIMIT_S: Final = 300.0
"""For an environment to be installed and the drivers to be asked."""


class Node(NamedTuple):
    """One live node."""

    node_id: str
    address: str
    cpus: float
    gpus: float


class Lost(NamedTuple):
    """A node that died, or left the cluster, with its job."""

    reason: str


class Stream:
    """Items that come back from one job, one after the other."""

    def __init__(self, ray: Any, generator: Any) -> None:
        self._ray = ray
        self.generator = generator

    def next(self) -> bytes | Lost | None:
        """Return the next item; ``None`` at the end. Call it when `Cluster.ready` has named this stream.

        Raises:
            MeasurementError: rtxbench cannot run on the node.
        """
        try:
            item: bytes = self._ray.get(next(self.generator))
        except StopIteration:
            return None
        except self._ray.exceptions.RayTaskError as error:
            raise MeasurementError(
                f"the node could not run it: {str(error.cause or error).strip().splitlines()[-1]}",
                next_step="Install the same rtxbench on every node, or name what to install with --environment.",
            ) from error
        except self._ray.exceptions.RayError as error:
            return Lost(type(error).__name__)
        return item

    def cancel(self) -> None:
        """End the job on its node."""
        self._ray.cancel(self.generator, force=False)


class Cluster:
    """The live nodes, and jobs sent to them. Made by `connected`."""

    def __init__(self, ray: Any, environment: Path | None) -> None:
        self._ray = ray
        self._runtime = {} if environment is None else {"uv": str(environment)}

    def nodes(self) -> list[Node]:
        """List the live nodes that have processors to offer, by address."""
        live = [entry for entry in self._ray.nodes() if entry["Alive"] and entry["Resources"].get("CPU", 0) > 0]
        found = [
            Node(
                entry["NodeID"],
                entry["NodeManagerAddress"],
                entry["Resources"]["CPU"],
                entry["Resources"].get("GPU", 0.0),
            )
            for entry in live
        ]
        return sorted(found, key=lambda node: (node.address, node.node_id))

    def here(self) -> str:
        """Return the id of the node that this process runs on."""
        return str(self._ray.get_runtime_context().get_node_id())

    def ask_all(self, nodes: Sequence[Node], function: Callable[..., bytes], *arguments: object) -> list[bytes | Lost]:
        """Call a function on each node, beside whatever runs there; in the nodes' order."""
        calls = [self._on(node, function, num_cpus=0, num_gpus=0).remote(*arguments) for node in nodes]
        answers: list[bytes | Lost] = []
        for call in calls:
            try:
                answers.append(self._ray.get(call, timeout=_ANSWER_LIMIT_S))
            except self._ray.exceptions.RayError as error:
                answers.append(Lost(f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"))
        return answers

    def start(self, node: Node, function: Callable[..., Iterator[bytes]], *arguments: object) -> Stream:
        """Run a generator function on a node that it then has alone."""
        remote = self._on(node, function, num_cpus=node.cpus, num_gpus=node.gpus, num_returns="streaming")
        return Stream(self._ray, remote.remote(*arguments))

    def ready(self, streams: Sequence[Stream], limit_s: float) -> list[Stream]:
        """Wait until one of the streams has something, ``limit_s`` seconds at most; return those that have."""
        by_generator = {stream.generator: stream for stream in streams}
        ready, _ = self._ray.wait(list(by_generator), num_returns=1, timeout=limit_s, fetch_local=False)
        return [by_generator[generator] for generator in ready]

    def _on(self, node: Node, function: Callable[..., Any], **options: object) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # A process per call (max_calls); no second try by Ray: the sweep chooses what is measured again.
        remote = self._ray.remote(max_calls=1, max_retries=0)(function)
        here = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        return remote.options(scheduling_strategy=here, runtime_env=self._runtime or None, **options)


@contextmanager
def connected(address: str, environment: Path | None = None) -> Iterator[Cluster]:
    """Connect to a running Ray cluster.

    Args:
        address: ``auto`` on one of its nodes, or ``HOST:PORT`` of its head.
        environment: requirements that each node installs, with uv, into an environment for the sweep alone.

    Raises:
        UnavailableError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UnavailableError(
            "Ray, which carries a sweep to its machines, is not installed.",
            next_step="Install the extra: pip install 'rtxbench[fleet]', on every node.",
        ) from error
    try:
        ray.init(address=address, namespace=_NAMESPACE, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UnavailableError(
            f"no Ray cluster answers at {address}.",
            next_step="Start one: `ray start --head` on one machine, `ray start --address HOST:6379` on the others.",
        ) from error
    try:
        yield Cluster(ray, environment)
    finally:
        ray.shutdown()

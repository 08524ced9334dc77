"""One rank of data parallelism over several machines on JAX: ``jax.distributed`` below ``keras.distribution``.

Every rank runs the same compiled program over all ranks' devices; it sees the global batch, of which each rank holds
its share. Between CPUs the collectives go by gloo, between GPUs by NCCL.
"""

import functools
from collections.abc import Sequence
from typing import Any

from rtxbench.engines.contract import TrainStep
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.share import Share, timed_repeats
from rtxbench.errors import MeasurementError

__all__ = ["JaxShare", "join_ranks"]

_JOIN_LIMIT_S = 300
_HEARTBEAT_LIMIT_S = 600
"""JAX's service kills processes that it takes for dead; rtxbench's own link between nodes notices them much sooner."""


def join_ranks(jax: Any, member: Member) -> None:
    """Meet the other ranks; the devices of all of them are then this process's.

    Raises:
        MeasurementError: a rank did not come, or a computation ran in this process before.
    """
    try:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            coordinator_address=member.addresses[0],
            num_processes=member.world,
            process_id=member.rank,
            local_device_ids=[member.device],
            initialization_timeout=_JOIN_LIMIT_S,
            heartbeat_timeout_seconds=_HEARTBEAT_LIMIT_S,
        )
    except RuntimeError as error:
        raise MeasurementError(
            f"the ranks did not meet: {str(error).splitlines()[0]}.",
            next_step="Open the ports between the nodes, or name an interface in GLOO_SOCKET_IFNAME.",
        ) from error


class JaxShare(Share):
    """One rank's share of a case, as the engine built it over the devices of all ranks."""

    def __init__(self, jax: Any, step: TrainStep, kind: str) -> None:
        super().__init__(step, f"XLA's, by {'NCCL' if kind == 'gpu' else 'gloo'}")
        self._jax = jax
        self._kind = kind

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Sum an array of which each rank holds its own; seconds of each repeat after one to warm up."""
        total, held = self._reduction(max(1, size_bytes // 4))
        with self._jax.default_device(self._jax.local_devices(backend=self._kind)[0]):
            return timed_repeats(lambda: total(held).block_until_ready(), repeats)

    @functools.cache  # noqa: B019 (a rank has one share)
    def _reduction(self, elements: int) -> tuple[Any, Any]:
        import numpy as np

        sharding = self._jax.sharding
        devices = np.array(self._jax.devices(self._kind))
        mesh = sharding.Mesh(devices, ("rank",))
        split = sharding.NamedSharding(mesh, sharding.PartitionSpec("rank"))
        everywhere = sharding.NamedSharding(mesh, sharding.PartitionSpec())
        held = self._jax.make_array_from_callback(
            (len(devices), elements), split, lambda index: np.ones((1, elements), "float32")
        )
        return self._jax.jit(lambda array: array.sum(axis=0), out_shardings=everywhere), held

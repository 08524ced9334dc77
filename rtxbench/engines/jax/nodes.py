"""One rank of data parallelism over several machines on JAX: ``jax.distributed`` below ``keras.distribution``.

Every rank runs the same compiled program over all ranks' devices; it sees the global batch, of which each rank holds
its share. Between CPUs the collectives go by gloo, between GPUs by NCCL.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any

from rtxbench.engines.contract import EngineFigure, HasNotes, TrainStep
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.step_work import CountsGradients
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


class JaxShare:
    """One rank's share of a case, as the engine built it over the devices of all ranks."""

    def __init__(self, jax: Any, step: TrainStep, kind: str) -> None:
        self._jax = jax
        self._step = step
        self._kind = kind

    def activate(self) -> None:
        """Set the case's switches and compile the program."""
        self._step.activate()

    def run(self, steps: int) -> None:
        """Run ``steps`` steps together with the other ranks; returns when all have finished the last one."""
        self._step.run(steps)

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        return self._step.loss()

    def flops(self) -> EngineFigure:
        """Count one step of the whole program, which is that of all ranks."""
        return self._step.flops()

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model and optimizer variables on this rank."""
        return self._step.state_bytes()

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of one replica's gradients."""
        assert isinstance(self._step, CountsGradients)
        return self._step.gradient_bytes()

    def notes(self) -> dict[str, str]:
        """Note the library of the collectives beside what the model notes."""
        own = self._step.notes() if isinstance(self._step, HasNotes) else {}
        return own | {"all-reduce": f"XLA's, by {'NCCL' if self._kind == 'gpu' else 'gloo'}"}

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Sum an array of which each rank holds its own; seconds of each repeat after one to warm up."""
        total, held = self._reduction(max(1, size_bytes // 4))
        times = []
        with self._jax.default_device(self._jax.local_devices(backend=self._kind)[0]):
            for _ in range(repeats + 1):
                began = time.perf_counter()
                total(held).block_until_ready()
                times.append(time.perf_counter() - began)
        return times[1:]

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

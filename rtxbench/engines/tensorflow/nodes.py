"""One rank of MultiWorkerMirroredStrategy, in the engine's own loop: Keras's ``fit`` fails under it (keras#20585)."""

import functools
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from rtxbench.engines.contract import EngineFigure, HasNotes, TrainStep
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.step_work import CountsGradients

__all__ = ["TensorFlowShare", "joined_strategy"]


def joined_strategy(tf: Any, member: Member, kind: str) -> Any:
    """Meet the other ranks: a strategy over all of them, with one device each.

    Args:
        tf: the module, before any operation ran.
        member: this rank's place.
        kind: cpu or gpu.
    """
    task = {"type": "worker", "index": member.rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": list(member.addresses)}, "task": task})
    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(gpus[member.device : member.device + 1] if kind == "gpu" else [], "GPU")
    by = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(implementation=by.NCCL if kind == "gpu" else by.RING)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


class TensorFlowShare:
    """One rank's share of a case, as the engine built it under the strategy of all ranks."""

    def __init__(self, tf: Any, step: TrainStep, strategy: Any, kind: str) -> None:
        self._tf = tf
        self._step = step
        self._strategy = strategy
        self._kind = kind

    def activate(self) -> None:
        """Set the case's switches."""
        self._step.activate()

    def run(self, steps: int) -> None:
        """Run ``steps`` steps together with the other ranks; returns when this rank's device has finished."""
        self._step.run(steps)

    def loss(self) -> float | None:
        """Mean loss of the last step over the global batch."""
        return self._step.loss()

    def flops(self) -> EngineFigure:
        """Multiply the count of this rank's graph by the ranks: each has the same."""
        counted = self._step.flops()
        ranks = self._strategy.num_replicas_in_sync
        return counted if counted.value is None else EngineFigure(counted.value * ranks, counted.how)

    def state_bytes(self) -> EngineFigure:
        """Count the bytes of model variables and optimizer slots."""
        return self._step.state_bytes()

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of this rank's gradients."""
        assert isinstance(self._step, CountsGradients)
        return self._step.gradient_bytes()

    def notes(self) -> dict[str, str]:
        """Note the means of the collectives beside what the model notes."""
        own = self._step.notes() if isinstance(self._step, HasNotes) else {}
        return own | {"all-reduce": "NCCL" if self._kind == "gpu" else "TensorFlow's ring over gRPC"}

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Sum a float32 variable over the ranks; seconds of each repeat after one to warm up."""
        reduce = self._reduction(max(1, size_bytes // 4))
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            for tensor in self._strategy.experimental_local_results(reduce()):
                tensor[0].numpy()
            times.append(time.perf_counter() - began)
        return times[1:]

    @functools.cache  # noqa: B019 (a rank has one share)
    def _reduction(self, elements: int) -> Any:
        tf, strategy = self._tf, self._strategy
        with strategy.scope():
            held = tf.Variable(tf.ones((elements,)), trainable=False)

        def replica() -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, held.read_value())

        return tf.function(lambda: strategy.run(replica))

"""One rank of MultiWorkerMirroredStrategy, in the engine's own loop: Keras's ``fit`` fails under it (keras#20585)."""

import functools
import json
import os
from collections.abc import Sequence
from typing import Any

from rtxbench.engines.contract import EngineFigure, TrainStep
from rtxbench.engines.nodes.messages import Member
from rtxbench.engines.nodes.share import Share, timed_repeats

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


class TensorFlowShare(Share):
    """One rank's share of a case, as the engine built it under the strategy of all ranks."""

    def __init__(self, tf: Any, step: TrainStep, strategy: Any, kind: str) -> None:
        super().__init__(step, "NCCL" if kind == "gpu" else "TensorFlow's ring over gRPC")
        self._tf = tf
        self._strategy = strategy

    def flops(self) -> EngineFigure:
        """Multiply the count of this rank's graph by the ranks: each has the same."""
        counted = super().flops()
        ranks = self._strategy.num_replicas_in_sync
        return counted if counted.value is None else EngineFigure(counted.value * ranks, counted.how)

    def all_reduce_s(self, size_bytes: int, repeats: int) -> Sequence[float]:
        """Sum a float32 variable over the ranks; seconds of each repeat after one to warm up."""
        reduce = self._reduction(max(1, size_bytes // 4))

        def summed() -> None:
            for tensor in self._strategy.experimental_local_results(reduce()):
                tensor[0].numpy()

        return timed_repeats(summed, repeats)

    @functools.cache  # noqa: B019 (a rank has one share)
    def _reduction(self, elements: int) -> Any:
        tf, strategy = self._tf, self._strategy
        with strategy.scope():
            held = tf.Variable(tf.ones((elements,)), trainable=False)

        def replica() -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, held.read_value())

        return tf.function(lambda: strategy.run(replica))

"""Where TensorFlow computes: ``python -m tests.tensorflow_devices`` prints it as JSON.

Two logical CPU devices stand for a machine's GPU (``CPU:0``, the default device of the process) and for the device a
case asks for (``CPU:1``).
"""

import json
from typing import Any

from rtxbench.records import Case


def _where_it_ran(context: Any, call: Any) -> dict[str, list[str]]:
    """Kind of operation → devices, of one call."""
    context.context().enable_run_metadata()
    call()
    metadata = context.context().export_run_metadata()
    context.context().disable_run_metadata()
    found: dict[str, set[str]] = {}
    for graph in metadata.function_graphs:
        for part in graph.partition_graphs:
            for node in part.node:
                if "Conv" in node.op or "MatMul" in node.op or node.op == "ReadVariableOp":
                    found.setdefault(node.op, set()).add(node.device[-5:])
    return {kind: sorted(devices) for kind, devices in found.items()}


def main() -> None:
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.eager import context

    physical = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(physical, [tf.config.LogicalDeviceConfiguration()] * 2)

    from rtxbench.engines import load_engine
    from rtxbench.engines.tensorflow.engine import split_batch

    engine: Any = load_engine("tensorflow")
    engine._device_name = lambda case: "/cpu:1"
    step = engine.build(Case(workload="cnn", batch_size=2, placement="cpu"), 0)
    ran = _where_it_ran(context, lambda: step.run(1))

    strategy = tf.distribute.MirroredStrategy(
        ["/cpu:0", "/cpu:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    whole = (np.arange(8, dtype="float32"), np.arange(8))
    shares = [strategy.experimental_local_results(part) for part in split_batch(tf, strategy, whole)]
    print(
        json.dumps(
            {
                "operations": ran,
                "shares": [[share.device[-5:] for share in part] for part in shares],
                "values": [share.numpy().tolist() for share in shares[0]],
            }
        )
    )


if __name__ == "__main__":
    main()

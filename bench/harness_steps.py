"""Training loops as a person would write them by hand, to hold rtxbench's own figures against.

Each function returns a step for rtxbench's ``python`` engine and shares nothing with rtxbench's engines but the models.
"""

from collections.abc import Callable
from typing import Any

BARE_STEPS = {"mlp": 5}
"""Training steps per call of a bare loop, 1 where not named: then the loss is read, and the device has caught up."""

FIT_STEPS = {"mlp": 50}
"""Steps of one ``fit`` call, 4 where not named: its start-up is spread as an epoch of real training would."""


def bare_steps(name: str) -> int:
    return BARE_STEPS.get(name, 1)


def fit_steps(name: str) -> int:
    return FIT_STEPS.get(name, 4)


def _parts(name: str) -> tuple[Any, Any, Any, Any]:
    import keras
    import numpy as np

    from rtxbench.workloads import workload_named

    keras.utils.set_random_seed(0)
    workload = workload_named(name)
    model = workload.build()
    x, y = workload.batch(workload.batch_sizes["cpu"], np.random.default_rng(0))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=workload.from_logits)
    model.compile(optimizer=keras.optimizers.Adam(workload.learning_rate), loss=loss, jit_compile=False)
    return model, loss, x, y


def _bare(name: str) -> Callable[[], Any]:
    """A few calls of a ``tf.function`` step on a batch that is already a tensor, then the loss is read."""
    import tensorflow as tf

    model, loss_function, x, y = _parts(name)
    images, labels = tf.nest.map_structure(tf.constant, (x, y))
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)

    @tf.function
    def train_step() -> Any:
        with tf.GradientTape() as tape:
            loss = loss_function(labels, model(images, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    def step() -> float:
        for _ in range(bare_steps(name)):
            loss = train_step()
        return float(loss)

    return step


def _fit(name: str) -> Callable[[], Any]:
    """A few steps of ``model.fit`` on a repeated ``tf.data`` batch."""
    import tensorflow as tf

    model, _, x, y = _parts(name)
    data = tf.data.Dataset.from_tensors((x, y)).repeat()
    return lambda: model.fit(data, steps_per_epoch=fit_steps(name), epochs=1, verbose=0).history["loss"][0]


def bare_mlp() -> Callable[[], Any]:
    return _bare("mlp")


def bare_mlp_wide() -> Callable[[], Any]:
    return _bare("mlp-wide")


def bare_resnet50() -> Callable[[], Any]:
    return _bare("resnet50-64px")


def fit_mlp() -> Callable[[], Any]:
    return _fit("mlp")


def fit_mlp_wide() -> Callable[[], Any]:
    return _fit("mlp-wide")


def fit_resnet50() -> Callable[[], Any]:
    return _fit("resnet50-64px")

"""A JAX step: `rtxbench run --model examples/jax_mlp.py:build`.

With Flax, return the `variables` of `model.init` and call `model.apply` in the loss.
"""

import jax
import jax.numpy as jnp
import numpy as np


def loss(parameters, batch):
    """Mean squared error of a two-layer net."""
    inputs, targets = batch
    hidden = jax.nn.relu(inputs @ parameters["first"])
    return jnp.mean((hidden @ parameters["second"] - targets) ** 2)


def build(batch_size=256):
    """Parameters in the model's place, one batch, and the loss of both."""
    random = np.random.default_rng(0)
    parameters = {
        "first": random.standard_normal((256, 512), "float32") / 16,
        "second": random.standard_normal((512, 64), "float32") / 16,
    }
    batch = random.standard_normal((batch_size, 256), "float32"), random.standard_normal((batch_size, 64), "float32")
    return parameters, batch, loss

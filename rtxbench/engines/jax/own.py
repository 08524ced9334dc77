"""A user's own JAX step: a tree of parameters and a pure ``loss(parameters, batch)``, from Flax or from nothing.

Mixed precision as JAX's users write it: parameters stay in float32, they and the batch's floats are cast where the loss
is computed, and gradients come back in float32.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from rtxbench.engines.contract import EngineFigure
from rtxbench.errors import MeasurementError, UnavailableError
from rtxbench.placement import placement_named
from rtxbench.precision import precision_named
from rtxbench.records import Case
from rtxbench.workloads.own import OwnModel
from rtxbench.workloads.switches import switches_of

__all__ = ["OwnParts", "own_parts"]

_LEARNING_RATE: Final = 1e-3
_DECAY: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


class OwnParts(NamedTuple):
    """The first state of a training, and the step that maps it to the next one."""

    state: Any
    """(parameters, optimizer state)."""
    step: Callable[..., Any]
    """(state, batch) → (next state, loss), pure."""

    def notes(self, _engine: str) -> dict[str, str]:
        """Say how large the model is."""
        parameters = sum(int(np.size(leaf)) for leaf in _leaves(self.state[0]))
        return {"model": f"{parameters:,} parameters, a JAX step of your own"}

    def gradient_bytes(self) -> EngineFigure:
        """Count the bytes of all gradients: one per parameter, in its type."""
        return EngineFigure(
            float(sum(np.asarray(leaf).nbytes for leaf in _leaves(self.state[0]))), "a gradient a parameter"
        )


def own_parts(jax: Any, case: Case, own: OwnModel) -> OwnParts:
    """Make a training step of a user's parameters and loss.

    Raises:
        UnavailableError: float16 or several devices, which would need more than the contract gives.
        MeasurementError: the loss is not a function, or the optimizer has no ``init`` and ``update``.
    """
    precision = precision_named(case.precision)
    if precision.loss_scaling:
        raise UnavailableError(
            "rtxbench scales no loss in a JAX step of your own, and float16 gradients would underflow.",
            next_step="Use mixed_bfloat16.",
        )
    if placement_named(case.placement).strategy != "single":
        raise UnavailableError(
            "rtxbench does not split a JAX step of your own over devices.", next_step="Split it inside your loss."
        )
    if not callable(own.loss):
        raise MeasurementError(
            f"the loss is {type(own.loss).__name__}, not a function.", next_step="Return loss(parameters, batch)."
        )
    parameters = jax.tree.map(jax.numpy.asarray, own.model)
    init, update = _optimizer(jax, own.optimizer)
    dtype = jax.numpy.dtype(precision.dtype)

    loss_itself = _with_switches(jax, own.loss, case)

    def loss_of(parameters: Any, batch: Any) -> Any:
        return loss_itself(_cast(jax, parameters, dtype), _cast(jax, batch, dtype)).astype("float32")

    def step(state: Any, batch: Any) -> Any:
        """Take one training step; returns the new state and the loss before it."""
        parameters, slots = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, batch)
        updates, slots = update(gradients, slots, parameters)
        return (jax.tree.map(lambda weight, change: weight + change, parameters, updates), slots), loss

    return OwnParts((parameters, init(parameters)), step)


def _with_switches(jax: Any, loss: Callable[..., Any], case: Case) -> Callable[..., Any]:
    """Throw the switches of the case's variant."""
    for name in switches_of(case.variant):
        if name != "checkpointing":
            raise UnavailableError(f"JAX has no switch {name}.", next_step="Leave it out.")
        loss = jax.checkpoint(loss)
    return loss


def _cast(jax: Any, tree: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        floating = jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.numpy.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast, tree)


def _leaves(tree: Any) -> list[Any]:
    import jax

    return list(jax.tree.leaves(tree))


def _optimizer(jax: Any, given: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Take the user's own, in the form of optax; else Adam."""
    if given is None:
        return _adam(jax)
    if not (hasattr(given, "init") and hasattr(given, "update")):
        raise MeasurementError(
            f"the optimizer is {type(given).__name__} and has no init and update.",
            next_step="Return an optax optimizer, or none.",
        )
    return given.init, given.update


def _adam(jax: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make Adam (Kingma & Ba, algorithm 1) in optax's form."""
    jnp = jax.numpy
    first, second = _DECAY

    def init(parameters: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return jnp.zeros((), "int32"), zeros, jax.tree.map(jnp.zeros_like, parameters)

    def update(gradients: Any, slots: Any, _parameters: Any) -> Any:
        """Turn gradients into changes of the weights by Adam with corrected moments (Kingma and Ba 2015)."""
        count, means, squares = slots
        count = count + 1
        means = jax.tree.map(lambda m, g: first * m + (1 - first) * g, means, gradients)
        squares = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, squares, gradients)
        rate = _LEARNING_RATE * jnp.sqrt(1 - second**count) / (1 - first**count)
        updates = jax.tree.map(lambda m, v: -rate * m / (jnp.sqrt(v) + _EPSILON), means, squares)
        return updates, (count, means, squares)

    return init, update

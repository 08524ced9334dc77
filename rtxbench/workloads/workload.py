"""Define a workload: a Keras model, its loss, and a synthetic batch. Engine-neutral."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "NativeForm", "Workload", "as_float32"]

Batch: TypeAlias = tuple[dict[str, NDArray[Any]] | NDArray[Any], NDArray[Any]]
"""(inputs, integer labels) as numpy arrays with the batch axis first."""


class NativeForm(NamedTuple):
    """A workload as PyTorch's users write it: the same model, batch and loss as its Keras form, without Keras."""

    build: Callable[[], Any]
    """Returns a fresh ``torch.nn.Module`` with float32 parameters and imports PyTorch inside."""
    batch: Callable[[Batch], Any]
    """Turns the workload's batch into tensors: (inputs, labels), or the model's keyword arguments."""
    loss: Callable[[Any, Any], Any] | None
    """(outputs, labels) → mean loss; ``None`` where the model's output has a ``loss``."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One row of `WORKLOADS`. Each of them trains with Adam and sparse categorical cross-entropy.

    ``build()`` returns a fresh Keras model under the dtype policy in force, with float32 outputs, and imports Keras
    inside. ``batch(batch_size, rng)`` returns one synthetic batch.
    """

    name: str
    family: str
    """Key by which a claim selects (``family:vision``): dense, vision, language, or layers (a probe)."""
    build: Callable[[], Any]
    batch: Callable[[int, np.random.Generator], Batch]
    batch_sizes: Mapping[str, int]
    """Default batch size per device, by device kind: ``cpu`` and ``gpu``."""
    from_logits: bool = True
    """The model ends in logits; the article's listings end in a softmax."""
    learning_rate: float = 1e-3
    tokens_per_example: int | None = None
    """Sequence length of a language model."""
    scaled_down_from: str | None = None
    """The workload this one stands in for on slow devices: a selector of a family leaves it out of the plan."""
    least_memory_bytes: int = 0
    """Device memory below which ``largest:PATTERN`` does not choose it."""
    native: NativeForm | None = None
    """The form that ``--engine torch`` trains; ``None`` where only the Keras form exists."""
    loss: Callable[[], Any] | None = None
    """A user's own loss, (labels, outputs) → loss, called once the model is built."""
    optimizer: Callable[[], Any] | None = None
    """A user's own Keras optimizer, called once the model is built; it may return ``None``."""


def as_float32(model: Any) -> Any:
    """Cast the model's outputs to float32, as the loss of a mixed policy needs."""
    import keras

    outputs = keras.layers.Activation("linear", dtype="float32", name="outputs_float32")(model.output)
    return keras.Model(model.input, outputs, name=model.name)

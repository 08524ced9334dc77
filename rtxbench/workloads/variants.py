"""Named forms of a workload's Keras model. The empty name is the workload as Keras's users get it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rtxbench.errors import UsageError
from rtxbench.lookup import named
from rtxbench.records import NATIVE
from rtxbench.workloads.fused_norm import with_fused_normalization

__all__ = ["VARIANTS", "Variant", "variant_named"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of `VARIANTS`."""

    name: str
    description: str
    apply: Callable[[Any], Any]
    """Takes the model as built and returns the changed model, under the dtype policy in force.

    Raises `UsageError` where the change would change nothing: a variant that measures the plain workload under
    another name is the worst kind of result.
    """


def _no_keras_model(model: Any) -> Any:
    raise UsageError(
        "the native form is a plain PyTorch module, not a Keras model.", next_step="Use it with --engine torch."
    )


VARIANTS: Final[dict[str, Variant]] = {
    row.name: row
    for row in (
        Variant(name="", description="the workload as users get it", apply=lambda model: model),
        Variant(
            name="fused-norm",
            description="batch normalisation through TensorFlow's fused kernel in training",
            apply=with_fused_normalization,
        ),
        Variant(
            name=NATIVE,
            description="the same model as PyTorch's own users write it, without Keras",
            apply=_no_keras_model,
        ),
    )
}


def variant_named(name: str) -> Variant:
    """Look up a variant by name.

    Raises:
        UsageError: there is none.
    """
    return named(VARIANTS, name, "variant")

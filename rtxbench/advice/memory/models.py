"""Dimensions of the models whose memory need is computed, and where they were read (``catalog/models.csv``).

A decoder here is the Llama form (RMSNorm, rotary positions, grouped-query attention, gated MLP, perhaps a mixture of
experts); ``bert``, ``gpt2``, ``vit`` and ``t5`` are forms with a plain MLP (``t5-gated`` with a gated one), Whisper and
T5 with cross-attention in their decoder layers. The stated parameter count is the publisher's; a
test holds the dimensions to it.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from rtxbench.lookup import named

__all__ = ["FORMS", "MODELS", "NETWORKS", "Model", "Network", "model_named"]

FORMS = ("bert", "gpt2", "llama", "t5", "t5-gated", "vit")


class Model(NamedTuple):
    """One transformer. Counts are of elements, not bytes."""

    name: str
    form: str
    """Row of `FORMS`."""
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    intermediate: int
    """Of the MLP, of one expert where there are several."""
    vocabulary: int
    tied_embeddings: bool
    positions: int
    """Learned position vectors; 0 for rotary."""
    stated_parameters: float
    tokens: int
    """Sequence length assumed where none is given."""
    source: str
    head_width: int = 0
    """0: hidden ÷ heads."""
    experts: int = 1
    active_experts: int = 1
    cross_layers: int = 0
    """Decoder layers that also attend to an encoder's output."""

    @property
    def query_width(self) -> int:
        """Width of the queries over all heads."""
        return self.heads * (self.head_width or self.hidden // self.heads)

    @property
    def key_value_width(self) -> int:
        """Width of the keys (and of the values) over all key-value heads."""
        return self.key_value_heads * (self.head_width or self.hidden // self.heads)

    @property
    def is_gated(self) -> bool:
        """Return whether the MLP has a gate beside its up projection."""
        return self.form in ("llama", "t5-gated")

    @property
    def attention_shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear maps of one attention block."""
        narrow = (self.hidden, self.key_value_width)
        return ((self.hidden, self.query_width), narrow, narrow, (self.query_width, self.hidden))

    @property
    def mlp_shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear maps of one MLP or expert."""
        up = ((self.hidden, self.intermediate),) * (2 if self.is_gated else 1)
        return (*up, (self.intermediate, self.hidden))

    @property
    def adapted_shapes(self) -> tuple[tuple[int, int], ...]:
        """Maps of one layer that LoRA adapts: all, but attention alone where the MLP is a mixture of experts."""
        return self.attention_shapes if self.experts > 1 else (*self.attention_shapes, *self.mlp_shapes)

    @property
    def layer_parameters(self) -> int:
        """Weights of the linear maps of all layers: what quantisation shrinks."""
        attention, mlp = _weights(self.attention_shapes), _weights(self.mlp_shapes)
        router = self.hidden * self.experts if self.experts > 1 else 0
        return self.layers * (attention + self.experts * mlp + router) + self.cross_layers * attention

    @property
    def embedding_parameters(self) -> int:
        """Token, position and segment vectors, and the output matrix where it is not tied."""
        tables = self.vocabulary * (1 if self.tied_embeddings else 2) + self.positions
        return self.hidden * (tables + (2 if self.form == "bert" else 0))

    @property
    def parameters(self) -> int:
        """All weights: linear maps, embeddings, biases and norms."""
        norms = (2 * self.layers + 1) * self.hidden
        if not self.is_gated and self.form != "t5":
            shapes = (*self.attention_shapes, *self.mlp_shapes)
            norms = 2 * norms + self.layers * sum(outputs for _, outputs in shapes)
        pooler = self.hidden * (self.hidden + 1) if self.form == "bert" else 0
        return self.layer_parameters + self.embedding_parameters + norms + pooler


def _weights(shapes: tuple[tuple[int, int], ...]) -> int:
    return sum(inputs * outputs for inputs, outputs in shapes)


@cache
def _package_models() -> dict[str, Model]:
    with resources.files("rtxbench.catalog").joinpath("models.csv").open(encoding="utf-8") as stream:
        return {row["name"]: _model(row) for row in csv.DictReader(stream)}


def _model(row: Mapping[str, str]) -> Model:
    whole = {
        name: int(row[name] or 0)
        for name in Model._fields
        if name not in ("name", "form", "source", "stated_parameters", "tied_embeddings")
    }
    return Model(
        name=row["name"],
        form=row["form"],
        source=row["source"],
        stated_parameters=float(row["stated_parameters"]),
        tied_embeddings=row["tied_embeddings"] == "1",
        **whole,
    )


MODELS: Mapping[str, Model] = _package_models()
"""Named models."""


class Network(NamedTuple):
    """One convolutional network: what full training of it holds, in elements."""

    name: str
    parameters: int
    saved_elements: int
    """Per example: outputs of convolutions (batch normalisation keeps its input), of ReLU and pooling, the input."""
    source: str


_RESNET = "He et al. 2015, arXiv:1512.03385, as keras.applications.ResNet50; elements summed over its layers' outputs"

NETWORKS: Mapping[str, Network] = {
    row.name: row
    for row in (
        Network("resnet50", 25_636_712, 10_587_136 + 9_081_856 + 202_752 + 150_528, _RESNET),
        Network("resnet50-64px", 25_636_712, 864_256 + 741_376 + 18_432 + 12_288, _RESNET),
    )
}
"""Convolutional networks by the suite's workload name."""


def model_named(name: str) -> Model:
    """Look up a model by name.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    return named(MODELS, name.lower(), "model")

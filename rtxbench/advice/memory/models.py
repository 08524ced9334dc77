"""Dimensions of the models whose memory need is computed: one line a model, with where they were read.

A decoder here is the Llama form (RMSNorm, rotary positions, grouped-query attention, gated MLP); ``bert`` and ``gpt2``
are the post- and pre-norm forms with biases, learned positions and a plain MLP. The stated parameter count is the
publisher's; a test holds the dimensions to it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from rtxbench.lookup import named

__all__ = ["MODELS", "NETWORKS", "Model", "Network", "model_named"]


class Model(NamedTuple):
    """One transformer. Counts are of elements, not bytes."""

    name: str
    form: Literal["bert", "gpt2", "llama"]
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    tied_embeddings: bool
    positions: int
    """Learned position vectors; 0 for rotary."""
    stated_parameters: float
    tokens: int
    """Sequence length assumed where none is given."""
    source: str

    @property
    def key_value_width(self) -> int:
        """Width of the keys (and of the values) over all key-value heads."""
        return self.hidden // self.heads * self.key_value_heads

    @property
    def linear_shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each linear map in one layer."""
        square, narrow = (self.hidden, self.hidden), (self.hidden, self.key_value_width)
        up = ((self.hidden, self.intermediate),) * (2 if self.form == "llama" else 1)
        return (square, narrow, narrow, square, *up, (self.intermediate, self.hidden))

    @property
    def layer_parameters(self) -> int:
        """Weights of the linear maps of all layers: what quantisation shrinks and LoRA adapts."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear_shapes)

    @property
    def embedding_parameters(self) -> int:
        """Token, position and segment vectors, and the output matrix where it is not tied."""
        tables = self.vocabulary * (1 if self.tied_embeddings else 2) + self.positions
        return self.hidden * (tables + (2 if self.form == "bert" else 0))

    @property
    def parameters(self) -> int:
        """All weights: linear maps, embeddings, biases and norms."""
        norms = (2 * self.layers + 1) * self.hidden
        if self.form != "llama":
            norms = 2 * norms + self.layers * sum(outputs for _, outputs in self.linear_shapes)
        pooler = self.hidden * (self.hidden + 1) if self.form == "bert" else 0
        return self.layer_parameters + self.embedding_parameters + norms + pooler


_BERT = "Devlin et al. 2019, arXiv:1810.04805, section 3"
_GPT2 = "Radford et al. 2019, table 2, and the released config.json"
_LLAMA2 = "Touvron et al. 2023, arXiv:2307.09288, and the released config.json"
_LLAMA3 = "Dubey et al. 2024, arXiv:2407.21783, table 3, and the released config.json"
_QWEN = "Qwen2.5 technical report, arXiv:2412.15115, table 1, and the released config.json"

MODELS: Mapping[str, Model] = {
    row.name: row
    for row in (
        Model("bert-base", "bert", 12, 768, 12, 12, 3072, 30522, True, 512, 110e6, 128, _BERT),
        Model("bert-large", "bert", 24, 1024, 16, 16, 4096, 30522, True, 512, 340e6, 384, _BERT),
        Model("gpt2", "gpt2", 12, 768, 12, 12, 3072, 50257, True, 1024, 124e6, 256, _GPT2),
        Model("gpt2-medium", "gpt2", 24, 1024, 16, 16, 4096, 50257, True, 1024, 355e6, 1024, _GPT2),
        Model("gpt2-xl", "gpt2", 48, 1600, 25, 25, 6400, 50257, True, 1024, 1.558e9, 1024, _GPT2),
        Model(
            "tinyllama-1.1b", "llama", 22, 2048, 32, 4, 5632, 32000, False, 0, 1.10e9, 1024, "arXiv:2401.02385, table 1"
        ),
        Model("llama-3.2-1b", "llama", 16, 2048, 32, 8, 8192, 128256, True, 0, 1.24e9, 1024, _LLAMA3),
        Model("llama-3.2-3b", "llama", 28, 3072, 24, 8, 8192, 128256, True, 0, 3.21e9, 1024, _LLAMA3),
        Model("llama-2-7b", "llama", 32, 4096, 32, 32, 11008, 32000, False, 0, 6.74e9, 1024, _LLAMA2),
        Model(
            "mistral-7b", "llama", 32, 4096, 32, 8, 14336, 32000, False, 0, 7.24e9, 1024, "arXiv:2310.06825, table 1"
        ),
        Model("qwen2.5-7b", "llama", 28, 3584, 28, 4, 18944, 152064, False, 0, 7.61e9, 1024, _QWEN),
        Model("llama-3-8b", "llama", 32, 4096, 32, 8, 14336, 128256, False, 0, 8.03e9, 1024, _LLAMA3),
        Model("llama-2-13b", "llama", 40, 5120, 40, 40, 13824, 32000, False, 0, 13.0e9, 1024, _LLAMA2),
        Model("qwen2.5-14b", "llama", 48, 5120, 40, 8, 13824, 152064, False, 0, 14.7e9, 1024, _QWEN),
        Model("qwen2.5-32b", "llama", 64, 5120, 40, 8, 27648, 152064, False, 0, 32.5e9, 1024, _QWEN),
        Model("llama-2-70b", "llama", 80, 8192, 64, 8, 28672, 32000, False, 0, 69.0e9, 1024, _LLAMA2),
        Model("llama-3-70b", "llama", 80, 8192, 64, 8, 28672, 128256, False, 0, 70.6e9, 1024, _LLAMA3),
    )
}
"""Named models, smallest first."""


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
    """The row of that name.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    return named(MODELS, name.lower(), "model")

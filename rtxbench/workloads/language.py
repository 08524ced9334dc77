"""Transformers from keras-hub backbones with random weights: BERT classifiers, GPT-2, and Llama decoders with LoRA."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from rtxbench.workloads.native_language import bert_form, gpt2_form, llama_lora_form
from rtxbench.workloads.workload import Batch, Workload

__all__ = ["LANGUAGE"]

_BERT_VOCABULARY = 30_522
_GPT2_VOCABULARY = 50_257
_TEXT_VOCABULARY = 8_000
"""Synthetic tokens are drawn from the part of the vocabulary that every language model here has."""
_LORA_RANK = 8


@dataclass(frozen=True)
class _Transformer:
    """Depth and widths; the heads are 64 wide in every published size, the MLP four times the hidden width."""

    layers: int
    hidden: int
    heads: int

    def sizes(self) -> dict[str, int]:
        """Keyword arguments of a keras-hub backbone."""
        return {
            "num_layers": self.layers,
            "num_heads": self.heads,
            "hidden_dim": self.hidden,
            "intermediate_dim": 4 * self.hidden,
        }


def _bert_classifier(size: _Transformer, tokens: int) -> Any:
    """BERT encoder, pooled output, two classes: what fine-tuning trains."""
    import keras
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=_BERT_VOCABULARY, max_sequence_length=max(tokens, 512), **size.sizes()
    )
    inputs = {
        "token_ids": keras.Input((tokens,), dtype="int32", name="token_ids"),
        "segment_ids": keras.Input((tokens,), dtype="int32", name="segment_ids"),
        "padding_mask": keras.Input((tokens,), dtype="int32", name="padding_mask"),
    }
    logits = keras.layers.Dense(2, dtype="float32", name="classifier")(backbone(inputs)["pooled_output"])
    return keras.Model(inputs, logits, name="bert")


def _next_token_model(backbone: Any, tokens: int, name: str) -> Any:
    """Reverse a decoder's token embedding into next-token logits, in float32."""
    import keras

    inputs = {
        "token_ids": keras.Input((tokens,), dtype="int32", name="token_ids"),
        "padding_mask": keras.Input((tokens,), dtype="int32", name="padding_mask"),
    }
    logits = backbone.token_embedding(backbone(inputs), reverse=True)
    return keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(logits), name=name)


def _gpt2_language_model(size: _Transformer, tokens: int) -> Any:
    """GPT-2 decoder with the embedding tied to the output, next-token logits in float32."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=_GPT2_VOCABULARY, max_sequence_length=max(tokens, 1024), **size.sizes()
    )
    return _next_token_model(backbone, tokens, "gpt2")


@dataclass(frozen=True)
class _Llama:
    """Depth and widths of a Llama 3 decoder (Grattafiori et al. 2024, table 3; Llama 3.2's model cards)."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int = 128_256


def _llama_lora(size: _Llama, tokens: int, *, int8: bool = False) -> Any:
    """Build a decoder with frozen random weights, rank-8 LoRA on query and value, next-token logits in float32.

    With ``int8`` the frozen weights are quantised before the adapters are added, as QLoRA-style fine-tuning does.
    """
    import keras_hub

    backbone = keras_hub.models.Llama3Backbone(
        vocabulary_size=size.vocabulary,
        num_layers=size.layers,
        hidden_dim=size.hidden,
        num_query_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        intermediate_dim=size.intermediate,
    )
    if int8:
        with warnings.catch_warnings():
            # Layers with nothing to quantise (normalisation) say so; and Keras 3.15 converts tensors in the old way.
            warnings.simplefilter("ignore")
            backbone.quantize("int8")
    backbone.enable_lora(_LORA_RANK)
    return _next_token_model(backbone, tokens, "llama_lora")


def _sentences(tokens: int, batch_size: int, rng: np.random.Generator) -> Batch:
    shape = (batch_size, tokens)
    inputs = {
        "token_ids": rng.integers(1, _BERT_VOCABULARY, shape, dtype=np.int32),
        "segment_ids": np.zeros(shape, np.int32),
        "padding_mask": np.ones(shape, np.int32),
    }
    return inputs, rng.integers(0, 2, batch_size, dtype=np.int32)


def _text(tokens: int, batch_size: int, rng: np.random.Generator) -> Batch:
    ids = rng.integers(1, _TEXT_VOCABULARY, (batch_size, tokens + 1), dtype=np.int32)
    inputs = {"token_ids": ids[:, :-1], "padding_mask": np.ones((batch_size, tokens), np.int32)}
    return inputs, ids[:, 1:]


def _batch_of(
    make: Callable[[int, int, np.random.Generator], Batch], tokens: int
) -> Callable[[int, np.random.Generator], Batch]:
    return lambda batch_size, rng: make(tokens, batch_size, rng)


_BERT_BASE = _Transformer(12, 768, 12)  # Devlin et al. 2019, table of §3
_BERT_BASE_HALF = _Transformer(6, 768, 12)  # DistilBERT's depth: the article's "smaller architecture"
_BERT_SMALL = _Transformer(4, 512, 8)  # Turc et al. 2019
_BERT_SMALL_HALF = _Transformer(2, 512, 8)
_BERT_MINI = _Transformer(4, 256, 4)
_BERT_MINI_HALF = _Transformer(2, 256, 4)
_GPT2 = _Transformer(12, 768, 12)  # Radford et al. 2019, the 124M model
_GPT2_MINI = _Transformer(4, 256, 4)


_LLAMA_1B = _Llama(16, 2048, 32, 8, 8192)
_LLAMA_3B = _Llama(28, 3072, 24, 8, 8192)
_LLAMA_8B = _Llama(32, 4096, 32, 8, 14_336)
_LLAMA_MINI = _Llama(2, 256, 4, 2, 1024, vocabulary=8192)


def _lora(
    name: str, size: _Llama, tokens: int, *, least_gib: int = 0, int8: bool = False, mini: bool = False
) -> Workload:
    return Workload(
        name=name,
        family="language",
        build=partial(_llama_lora, size, tokens, int8=int8),
        batch=_batch_of(_text, tokens),
        batch_sizes={"cpu": 1, "gpu": 4},
        learning_rate=1e-4,
        tokens_per_example=tokens,
        scaled_down_from="llama-1b-lora" if mini else None,
        least_memory_bytes=least_gib * 2**30,
        native=None if int8 else llama_lora_form(**asdict(size), rank=_LORA_RANK),  # int8 would need a further package
    )


def _bert(name: str, size: _Transformer, *, cpu: int, gpu: int, stands_for: str | None = None) -> Workload:
    return Workload(
        name=name,
        family="language",
        build=partial(_bert_classifier, size, 128),
        batch=_batch_of(_sentences, 128),
        batch_sizes={"cpu": cpu, "gpu": gpu},
        learning_rate=2e-5,
        tokens_per_example=128,
        scaled_down_from=stands_for,
        native=bert_form(_BERT_VOCABULARY, 512, **asdict(size)),
    )


# Frozen float32 weights of the 8B, 3B and 1B decoder are 32, 14 and 6 GB; activations come on top.
LANGUAGE: Final = (
    _bert("bert-base", _BERT_BASE, cpu=4, gpu=32),
    _bert("bert-base-half", _BERT_BASE_HALF, cpu=4, gpu=32),
    _bert("bert-small", _BERT_SMALL, cpu=2, gpu=128, stands_for="bert-base"),
    _bert(
        "bert-small-half",
        _BERT_SMALL_HALF,
        cpu=2,
        gpu=128,
        stands_for="bert-base-half",
    ),
    _bert("bert-mini", _BERT_MINI, cpu=2, gpu=256, stands_for="bert-base"),
    _bert(
        "bert-mini-half",
        _BERT_MINI_HALF,
        cpu=2,
        gpu=256,
        stands_for="bert-base-half",
    ),
    Workload(
        name="gpt2",
        family="language",
        build=partial(_gpt2_language_model, _GPT2, 256),
        batch=_batch_of(_text, 256),
        batch_sizes={"cpu": 2, "gpu": 16},
        learning_rate=2e-5,
        tokens_per_example=256,
        native=gpt2_form(_GPT2_VOCABULARY, 1024, **asdict(_GPT2)),
    ),
    Workload(
        name="gpt2-mini",
        family="language",
        build=partial(_gpt2_language_model, _GPT2_MINI, 64),
        batch=_batch_of(_text, 64),
        batch_sizes={"cpu": 2, "gpu": 64},
        learning_rate=2e-5,
        tokens_per_example=64,
        scaled_down_from="gpt2",
        native=gpt2_form(_GPT2_VOCABULARY, 1024, **asdict(_GPT2_MINI)),
    ),
    _lora("llama-mini-lora", _LLAMA_MINI, 64, mini=True),
    _lora(
        "llama-mini-lora-int8",
        _LLAMA_MINI,
        64,
        int8=True,
        mini=True,
    ),
    _lora("llama-1b-lora", _LLAMA_1B, 512, least_gib=10),
    _lora("llama-1b-lora-int8", _LLAMA_1B, 512, int8=True),
    _lora("llama-3b-lora", _LLAMA_3B, 512, least_gib=20),
    _lora("llama-8b-lora", _LLAMA_8B, 512, least_gib=40),
)

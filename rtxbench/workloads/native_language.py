"""The suite's transformers as PyTorch's users have them: ``transformers`` and ``peft`` from a configuration.

Weights are random and nothing is downloaded. Attention is ``scaled_dot_product_attention``; training keeps no cache of
keys and values. Depths, widths, dropout and vocabularies are those of the Keras twins.
"""

import warnings
from functools import partial
from typing import Any

from rtxbench.workloads.native import labels_of
from rtxbench.workloads.workload import Batch, NativeForm

__all__ = ["bert_form", "gpt2_form", "llama_lora_form"]

_SDPA = "sdpa"


def bert_form(vocabulary: int, positions: int, layers: int, hidden: int, heads: int) -> NativeForm:
    """Give the form of a BERT with a two-class head on its pooled output, without dropout before the head."""
    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads}
    settings = {**sizes, "vocab_size": vocabulary, "max_position_embeddings": positions}
    return NativeForm(partial(_bert, settings, 4 * hidden), _sentences, None)


def _bert(settings: dict[str, int], intermediate: int) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    head = {"num_labels": 2, "classifier_dropout": 0.0}
    config = BertConfig(**settings, **head, intermediate_size=intermediate, attn_implementation=_SDPA)
    return BertForSequenceClassification(config)


def gpt2_form(vocabulary: int, positions: int, layers: int, hidden: int, heads: int) -> NativeForm:
    """Give the form of a GPT-2 with its embedding tied to the output."""
    sizes = {"n_layer": layers, "n_embd": hidden, "n_head": heads, "vocab_size": vocabulary, "n_positions": positions}
    return NativeForm(partial(_gpt2, sizes), _text, _next_token_loss)


def _gpt2(sizes: dict[str, int]) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(**sizes, use_cache=False, attn_implementation=_SDPA))


def llama_lora_form(
    vocabulary: int, layers: int, hidden: int, heads: int, key_value_heads: int, intermediate: int, rank: int
) -> NativeForm:
    """Give the form of a frozen Llama 3 decoder with adapters of a rank on query and value.

    Keras's adapters have a matrix a head and are added to the kernel in every step; peft's are two products beside it.
    """
    sizes = {
        "vocab_size": vocabulary,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "intermediate_size": intermediate,
    }
    return NativeForm(partial(_llama_lora, sizes, rank), _text, _next_token_loss)


def _llama_lora(sizes: dict[str, int], rank: int) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**sizes, use_cache=False, attn_implementation=_SDPA))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers will rename
        return get_peft_model(model, LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], lora_dropout=0.0))


def _sentences(batch: Batch) -> dict[str, Any]:
    """Give a classifier's keyword arguments; it computes its own loss from the labels."""
    inputs, labels = batch
    assert isinstance(inputs, dict)
    named = {"input_ids": "token_ids", "token_type_ids": "segment_ids", "attention_mask": "padding_mask"}
    return {ours: labels_of(inputs[theirs]) for ours, theirs in named.items()} | {"labels": labels_of(labels)}


def _text(batch: Batch) -> tuple[Any, Any]:
    """Give token ids and next tokens; no text is padded, so no mask is needed."""
    inputs, labels = batch
    assert isinstance(inputs, dict)
    return labels_of(inputs["token_ids"]), labels_of(labels)


def _next_token_loss(outputs: Any, labels: Any) -> Any:
    """Average over all tokens; the labels are shifted already."""
    import torch

    return torch.nn.functional.cross_entropy(outputs.logits.float().flatten(0, 1), labels.flatten())

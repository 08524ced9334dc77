"""The suite's models as PyTorch's users have them: random weights, built from a configuration, nothing downloaded.

`rtxbench run --model examples/native_torch.py:bert_base`, or `gpt2`, `llama_1b_lora`, `resnet50` (needs torchvision).
`--engine torch` measures Keras's layers on PyTorch; beside these its figures tell what the layers cost.
"""

import torch
from torch import nn


def bert_base(batch_size=4, layers=12, hidden=768, heads=12, tokens=128):
    """BERT with a two-class head on the pooled output, 128 tokens, scaled-dot-product attention."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads}
    config = BertConfig(**sizes, intermediate_size=4 * hidden, num_labels=2, attn_implementation="sdpa")
    ids = torch.randint(1, config.vocab_size, (batch_size, tokens))
    return BertForSequenceClassification(config), {"input_ids": ids, "labels": torch.randint(0, 2, (batch_size,))}, None


def gpt2(batch_size=2, layers=12, hidden=768, heads=12, tokens=256):
    """GPT-2 with the embedding tied to the output, 256 tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=layers, n_embd=hidden, n_head=heads, attn_implementation="sdpa")
    ids = torch.randint(1, 8000, (batch_size, tokens))
    return GPT2LMHeadModel(config), {"input_ids": ids, "labels": ids}, None


def llama_1b_lora(batch_size=1, layers=16, hidden=2048, heads=(32, 8), tokens=512, vocabulary=128_256):
    """A Llama 3.2 1B decoder, frozen, with rank-8 adapters on query and value; 512 tokens.

    Keras's adapters work per head and have up to twice as many parameters; all else is the same.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads[0]}
    config = LlamaConfig(
        **sizes,
        num_key_value_heads=heads[1],
        intermediate_size=4 * hidden,
        vocab_size=vocabulary,
        attn_implementation="sdpa",
    )
    adapters = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.0)
    ids = torch.randint(1, 8000, (batch_size, tokens))
    return get_peft_model(LlamaForCausalLM(config), adapters), {"input_ids": ids, "labels": ids}, None


def resnet50(batch_size=8):
    """Torchvision's ResNet-50 on 224-pixel images, channels last."""
    from torchvision.models import resnet50 as build

    model = build(weights=None).to(memory_format=torch.channels_last)
    images = torch.randn(batch_size, 3, 224, 224).to(memory_format=torch.channels_last)
    return model, (images, torch.randint(0, 1000, (batch_size,))), nn.functional.cross_entropy

"""A Hugging Face model from its `config.json`, random weights, nothing downloaded.

`rtxbench run --model examples/hugging_face.py:build`: put your own model's `config.json` in the place of the one here.
"""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

TOKENS = 64


def build(batch_size=4):
    """A causal language model; its own loss is taken, so none is returned."""
    settings = json.loads(Path(__file__).with_name("config.json").read_text(encoding="utf-8"))
    config = AutoConfig.for_model(**settings)
    model = AutoModelForCausalLM.from_config(config)
    tokens = torch.randint(0, config.vocab_size, (batch_size, TOKENS))
    return model, {"input_ids": tokens, "labels": tokens}, None

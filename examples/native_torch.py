"""The suite's models as PyTorch's users have them, asked what one asks of a model of one's own.

`rtxbench run --engine torch --model examples/native_torch.py:bert_base` (or `gpt2`, `llama_1b_lora`, `resnet50`)
gives, by precision, the speed, the peak memory and the largest batch. Weights are random, nothing is downloaded.
"""

from rtxbench.engines.torch.native import native_model


def resnet50(batch_size=8):
    """ResNet-50 in torchvision's form on 224-pixel images, channels last."""
    return native_model("resnet50", batch_size)


def bert_base(batch_size=4):
    """BERT with a two-class head, 128 tokens."""
    return native_model("bert-base", batch_size)


def gpt2(batch_size=2):
    """GPT-2 (124M) with the embedding tied to the output, 256 tokens."""
    return native_model("gpt2", batch_size)


def llama_1b_lora(batch_size=1):
    """A frozen Llama 3.2 1B decoder with rank-8 adapters on query and value, 512 tokens."""
    return native_model("llama-1b-lora", batch_size)

"""Record what Transformers' Llama launches in one fine-tuning step, with PEFT's LoRA or without.

``python -m tools.decoder_recording [MODEL [METHOD]]`` prints it beside the composition of
`rtxbench.advice.prediction.decoders`. Nothing is computed: the tensors have shapes and no data.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from rtxbench.advice.memory.models import MODELS, Model
from rtxbench.advice.memory.need import Setup
from rtxbench.advice.prediction.decoders import decoder_program
from rtxbench.catalog.programs import Kernel
from rtxbench.engines.torch.operations import fake_tensors, recorded_step

__all__ = ["recorded_decoder"]


@contextmanager
def _half_by_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def recorded_decoder(model: Model, setup: Setup) -> list[Kernel]:
    """List the launches of one step: ``lora`` or ``full-bf16``, weights in 16 bit, a fused optimizer."""
    with warnings.catch_warnings(), _half_by_default(), fake_tensors():
        warnings.simplefilter("ignore")
        network = _network(model, setup).train()
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, fused=True)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # makes its slots

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            ids = torch.ones(setup.batch_size, setup.tokens or model.tokens, dtype=torch.long)
            network(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()

        return recorded_step(step)


def _network(model: Model, setup: Setup) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    network: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=model.vocabulary,
            hidden_size=model.hidden,
            intermediate_size=model.intermediate,
            num_hidden_layers=model.layers,
            num_attention_heads=model.heads,
            num_key_value_heads=model.key_value_heads,
            attn_implementation="sdpa",
            use_cache=False,
        )
    )
    if setup.method == "lora":
        # A tensor without data lies nowhere and cannot be moved.
        with patch.object(torch.nn.Module, "to", lambda self, *_, **__: self):
            config = LoraConfig(r=setup.rank, target_modules="all-linear", lora_dropout=0.0)
            network = get_peft_model(network, config, autocast_adapter_dtype=False)
    if setup.checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if setup.method == "lora":
            network.enable_input_require_grads()
    return network


def main(name: str = "llama-3.1-8b", method: str = "lora") -> None:
    """Print FLOPs, bytes and launches of two layers, recorded and composed."""
    model = MODELS[name]._replace(layers=2)
    for recomputed in (True, False):
        setup = Setup(tokens=1024, method=method, checkpointing=recomputed)
        recorded, program = recorded_decoder(model, setup), decoder_program(model, setup)
        flops, moved = sum(k.flops for k in recorded), sum(k.moved_bytes for k in recorded)
        composed = float(program.launches @ program.flops(1)), float(program.launches @ program.moved_bytes(1))
        sys.stdout.write(
            f"{name}, {method}, {'recomputed' if recomputed else 'nothing recomputed'}: {flops / 1e12:.2f} TFLOP "
            f"recorded, {composed[0] / 1e12:.2f} composed; {moved / 1e9:.1f} and {composed[1] / 1e9:.1f} GB; "
            f"{len(recorded)} and {program.launches.sum():.0f} launches\n"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])

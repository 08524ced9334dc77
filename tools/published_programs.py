"""Record the training steps that people published speeds of: ``python -m tools.published_programs [MODEL…]``.

Writes ``rtxbench/catalog/programs.csv``, the kernels of each model at full and at half width (mixed precision); rows
of models that are not named are kept. Nothing is run and no card is needed: see `rtxbench.engines.torch.operations`.
Needs torch, torchvision, timm and transformers (``tox -e programs``); about ten minutes for all of them.

Image networks are timm's, BERT is Transformers', the rest is built by shape (`tools.published_networks`). Optimizers
are fused, as NVIDIA's examples use them.
"""

import csv
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  # what everybody calls it

from rtxbench.catalog.programs import COLUMNS, Program, program_of
from rtxbench.engines.torch.operations import autocast, fake_tensors, recorded_step
from tools import published_networks as networks

__all__ = ["MODELS", "Model", "recorded_program"]

OUT: Final = Path("rtxbench/catalog/programs.csv")
BATCHES: Final = (4, 8)


class Model(NamedTuple):
    """A published model: how it is made, its loss on a batch of that size, its optimizer."""

    make: Callable[[], torch.nn.Module]
    loss: Callable[[Any, int], torch.Tensor]
    optimizer: str = "adam"


def _image(name: str, size: int = 224) -> Model:
    def make() -> torch.nn.Module:
        """Build the network by its name in timm."""
        os.environ.setdefault("TIMM_FUSED_ATTN", "0")  # attention as the products that it is made of
        import timm
        from timm.models import swin_transformer

        swin_transformer.calculate_drop_path_rates = _drop_path_rates
        model: torch.nn.Module = timm.create_model(name)
        return model

    return Model(make, lambda model, batch: _classified(model, batch, size), "sgd")


def _drop_path_rates(rate: float, depths: list[int], stagewise: bool = False) -> list[list[float]]:
    """Timm's own, which computes them as a tensor: a fake one has no values."""
    count, place, stages = sum(depths), 0, []
    for depth in depths:
        stages.append([rate * (place + i) / (count - 1) for i in range(depth)])
        place += depth
    return stages


def _classified(model: Any, batch: int, size: int) -> torch.Tensor:
    scores = model(torch.randn(batch, 3, size, size))
    return F.cross_entropy(scores.float(), torch.zeros(batch, dtype=torch.long))


def _ssd() -> torch.nn.Module:
    import timm

    return networks.SSD300(timm.create_model("resnet50"))


def _bert(layers: int, width: int, tokens: int = 384) -> Model:
    def make() -> torch.nn.Module:
        """Build the network of these sizes with plain attention."""
        from transformers import BertConfig, BertForQuestionAnswering

        sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64}
        model: torch.nn.Module = BertForQuestionAnswering(
            BertConfig(**sizes, intermediate_size=4 * width, attn_implementation="eager")
        )
        return model

    def loss(model: Any, batch: int) -> torch.Tensor:
        """Return the loss of made-up tokens and answers, whose values change no kernel."""
        ids, label = torch.ones(batch, tokens, dtype=torch.long), torch.zeros(batch, dtype=torch.long)
        result: torch.Tensor = model(
            input_ids=ids, attention_mask=ids, token_type_ids=ids - 1, start_positions=label, end_positions=label
        ).loss
        return result

    return Model(make, loss)


def _by_batch(make: Callable[[], torch.nn.Module]) -> Model:
    return Model(make, lambda model, batch: model(batch))


MODELS: Final[Mapping[str, Model]] = {
    "alexnet": Model(networks.AlexNet, lambda model, batch: _classified(model, batch, 224), "sgd"),
    "bert_base_squad": _bert(12, 768),
    "bert_large_squad": _bert(24, 1024),
    "efficientvit_m4": _image("efficientvit_m4"),
    "gnmt": _by_batch(networks.GNMT),
    "inception3": _image("inception_v3", 299),
    "inception4": _image("inception_v4", 299),
    "ncf": _by_batch(networks.NCF),
    "resnet152": _image("resnet152"),
    "resnet50": _image("resnet50"),
    "ssd": Model(_ssd, lambda model, batch: model(torch.randn(batch, 3, 300, 300)), "sgd"),
    "swin_base_patch4_window7_224": _image("swin_base_patch4_window7_224"),
    "tacotron2": _by_batch(networks.Tacotron2),
    "tf_efficientnetv2_b0": _image("tf_efficientnetv2_b0", 192),
    "transformerxlbase": _by_batch(lambda: networks.TransformerXL(16, 512, 8, 2048, 192, 1)),
    "transformerxllarge": _by_batch(lambda: networks.TransformerXL(18, 1024, 16, 4096, 384, 4)),
    "vgg16": _image("vgg16"),
    "waveglow": _by_batch(networks.WaveGlow),
}
"""Published model → its step. `rtxbench.catalog.published` names them."""

_OPTIMIZERS: Final[Mapping[str, Callable[[Any], torch.optim.Optimizer]]] = {
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-4, fused=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, fused=True),
}


def recorded_program(model: Model, width: str) -> Program:
    """The model's step at that width (``full`` or ``half``), from recordings at two batch sizes."""
    steps = []
    for batch in BATCHES:
        with fake_tensors():
            network = model.make().train()
            parameters = list(network.parameters())
            optimizer = _OPTIMIZERS[model.optimizer](parameters)
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()  # makes its slots, which later steps find

            def step(network: Any = network, optimizer: Any = optimizer, batch: int = batch) -> None:
                """Take one training step, its gradients freed before it."""
                optimizer.zero_grad(set_to_none=True)
                with autocast(width):
                    loss = model.loss(network, batch)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

            steps.append(recorded_step(step))
    return program_of(*steps, BATCHES)


def _rows(name: str, width: str, program: Program) -> list[list[object]]:
    numbers = zip(*(getattr(program, column) for column in COLUMNS[4:]), strict=True)
    heads = zip(program.kind, program.is_half, strict=True)
    return [
        [name, width, kind, int(half), *(f"{value:.5g}" for value in values)]
        for (kind, half), values in zip(heads, numbers, strict=True)
    ]


def main(wanted: list[str]) -> None:
    """Record the models named, or all, and write the table."""
    kept: list[list[object]] = []
    if OUT.exists():
        with OUT.open(encoding="utf-8", newline="") as stream:
            kept = [list(row) for row in csv.reader(stream)][1:]
    for name in wanted or list(MODELS):
        kept = [row for row in kept if row[0] != name]
        for width in ("full", "half"):
            program = recorded_program(MODELS[name], width)
            kept += _rows(name, width, program)
            flops = float(program.launches @ program.flops_per_example)
            sys.stderr.write(
                f"{name} {width}: {program.launches.sum():.0f} kernels, {flops / 1e9:.2f} GFLOP an example\n"
            )
        with OUT.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(sorted(kept, key=lambda row: (str(row[0]), str(row[1]))))


if __name__ == "__main__":
    main(sys.argv[1:])

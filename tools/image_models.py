"""Record the memory of fine-tuning image generators: ``python -m tools.image_models [MODEL…]``.

Writes ``rtxbench/catalog/image_models.csv``; rows of models that are not named are kept. One forward and backward pass
of each runs on tensors without data, and the bytes alive are followed operation by operation, weights left out. Needs
torch, peft and diffusers (``tox -e programs``); about a minute a model on an idle core, five for FLUX.
"""

import csv
import re
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rtxbench.advice.memory.images import RECORDED_RANK, RECORDED_SIDES
from rtxbench.engines.torch.operations import fake_tensors

__all__ = ["GENERATORS", "Generator", "recorded_peak"]

OUT: Final = Path("rtxbench/catalog/image_models.csv")
_ATTENTION: Final = ("to_q", "to_k", "to_v", "to_out.0")
_WAYS: Final = {"adapters": (False, False), "adapters_recomputed": (False, True)} | {
    "all": (True, False),
    "all_recomputed": (True, True),
}
"""Column → (all weights trained, recomputed)."""
_MODULATION: Final = re.compile(r"norm|mod|time_emb")
"""Maps inside the blocks that set scales and shifts: adapters leave them out."""
_TEXT_TOKENS: Final = 512


class Generator(NamedTuple):
    """An image generator: how it is made, fed, and what lies beside it."""

    make: Callable[[], Any]
    feed: Callable[[int], dict[str, Any]]
    """Side in pixels → the arguments of its forward pass for one image."""
    pixels_per_token: int
    """Of its widest block."""
    side: int
    encoders_parameters: float
    """Text encoders and autoencoder."""
    source: str


def _unet(**settings: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**settings)


def _sd15() -> Any:
    return _unet(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def _sdxl() -> Any:
    return _unet(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
    )


def _flux() -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(guidance_embeds=True)


def _klein() -> Any:
    from diffusers import Flux2Transformer2DModel

    return Flux2Transformer2DModel(
        num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680, guidance_embeds=False
    )


def _latents(side: int, text_width: int) -> dict[str, Any]:
    return {
        "sample": torch.randn(1, 4, side // 8, side // 8),
        "timestep": torch.zeros(1, dtype=torch.long),
        "encoder_hidden_states": torch.randn(1, 77, text_width),
    }


def _sdxl_feed(side: int) -> dict[str, Any]:
    added = {"text_embeds": torch.randn(1, 1280), "time_ids": torch.zeros(1, 6)}
    return {**_latents(side, 2048), "added_cond_kwargs": added}


def _flux_feed(side: int) -> dict[str, Any]:
    tokens = (side // 16) ** 2
    return {
        "hidden_states": torch.randn(1, tokens, 64),
        "encoder_hidden_states": torch.randn(1, _TEXT_TOKENS, 4096),
        "pooled_projections": torch.randn(1, 768),
        "timestep": torch.zeros(1),
        "guidance": torch.ones(1),
        "img_ids": torch.zeros(tokens, 3),
        "txt_ids": torch.zeros(_TEXT_TOKENS, 3),
    }


def _klein_feed(side: int) -> dict[str, Any]:
    tokens = (side // 16) ** 2
    return {
        "hidden_states": torch.randn(1, tokens, 128),
        "encoder_hidden_states": torch.randn(1, _TEXT_TOKENS, 7680),
        "timestep": torch.zeros(1),
        "img_ids": torch.zeros(1, tokens, 4),
        "txt_ids": torch.zeros(1, _TEXT_TOKENS, 4),
    }


GENERATORS: Final[Mapping[str, Generator]] = {
    "sd-1.5": Generator(
        *(_sd15, lambda side: _latents(side, 768), 64, 512, 0.123e9 + 0.084e9),
        "unet/config.json of stable-diffusion-v1-5 (arXiv:2112.10752)",
    ),
    "sdxl": Generator(
        *(_sdxl, _sdxl_feed, 256, 1024, 0.123e9 + 0.695e9 + 0.084e9),
        "unet/config.json of stable-diffusion-xl-base-1.0 (arXiv:2307.01952)",
    ),
    "flux.1-dev": Generator(
        *(_flux, _flux_feed, 256, 1024, 0.123e9 + 4.76e9 + 0.084e9),
        "transformer/config.json of FLUX.1-dev: 19 double, 38 single blocks",
    ),
    "flux.2-klein-4b": Generator(
        *(_klein, _klein_feed, 256, 1024, 4.02e9 + 0.084e9),
        "FLUX.2-klein-base-4B: 5 double, 20 single blocks, which give its 3,875,544,576 parameters",
    ),
}
"""Image generators by name."""


class _Alive(TorchDispatchMode):  # type: ignore[misc]  # torch is skipped by the checker
    """Follows the bytes of all tensors made inside it."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.alive_bytes = self.peak_bytes = 0
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what one operation makes, and take it off when it is gone."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self._seen:
                storage = tensor.untyped_storage()
                self._seen.add(storage)
                self._change(storage.nbytes())
                weakref.finalize(storage, self._change, -storage.nbytes())
        return result

    def _change(self, by_bytes: int) -> None:
        self.alive_bytes += by_bytes
        self.peak_bytes = max(self.peak_bytes, self.alive_bytes)


def recorded_peak(generator: Generator, side: int, trains_all: bool, recomputed: bool) -> int:
    """Bytes at the peak of one image's pass in 16 bit, gradients included, weights left out."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with fake_tensors():
            network = generator.make()
            if not trains_all:
                _adapt(network)
            if recomputed:
                network.enable_gradient_checkpointing()
            network.train()
            with _Alive([*network.parameters(), *network.buffers()]) as alive:
                (network(**generator.feed(side), return_dict=False)[0].float() ** 2).mean().backward()
            return alive.peak_bytes
    finally:
        torch.set_default_dtype(before)


def _adapt(network: Any) -> None:
    from peft import LoraConfig

    network.requires_grad_(False)
    with patch.object(torch.nn.Module, "to", lambda self, *_, **__: self):  # a tensor without data lies nowhere
        network.add_adapter(LoraConfig(r=RECORDED_RANK, target_modules=list(_ATTENTION)))


def _counts(generator: Generator) -> dict[str, float]:
    with fake_tensors():
        network = generator.make()
    maps = {name: part for name, part in network.named_modules() if isinstance(part, torch.nn.Linear)}
    blocks: dict[str, int] = {}
    for name, part in maps.items():
        block = ".".join(name.split(".")[:2])
        blocks[block] = blocks.get(block, 0) + part.out_features
    attention = [part for name, part in maps.items() if name.endswith(_ATTENTION)]
    adapted = [part for name, part in maps.items() if "blocks" in name and not _MODULATION.search(name)]
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "linear_parameters": sum(part.weight.numel() for part in maps.values()),
        "attention_widths": sum(part.in_features + part.out_features for part in attention),
        "linear_widths": sum(part.in_features + part.out_features for part in adapted),
        "widest_outputs": max(blocks.values()),
        "largest_matrix": max(part.weight.numel() for part in maps.values()),
        "encoders_bytes": 2 * generator.encoders_parameters,
        "side": generator.side,
        "tokens_per_pixel": 1 / generator.pixels_per_token,
    }


def _row(name: str) -> dict[str, object]:
    generator = GENERATORS[name]
    row: dict[str, object] = {"name": name, **{key: f"{value:.12g}" for key, value in _counts(generator).items()}}
    for way, (trains_all, recomputed) in _WAYS.items():
        for side in RECORDED_SIDES:
            row[f"{way}_{side}"] = f"{recorded_peak(generator, side, trains_all, recomputed):.3g}"
            sys.stderr.write(f"{name}, {way}, {side} px: {row[f'{way}_{side}']} bytes\n")
    return {**row, "source": generator.source}


def main(wanted: list[str]) -> None:
    """Record the models named, or all, and write the table."""
    kept = {}
    if OUT.exists():
        with OUT.open(encoding="utf-8", newline="") as stream:
            kept = {row["name"]: row for row in csv.DictReader(stream)}
    for name in wanted or list(GENERATORS):
        kept[name] = _row(name)
        with OUT.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(kept[name]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept[other] for other in GENERATORS if other in kept)


if __name__ == "__main__":
    main(sys.argv[1:])

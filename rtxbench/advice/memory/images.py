"""Image generators: the memory that fine-tuning Stable Diffusion XL, FLUX and their kin takes.

A convolutional U-Net has no formula as a decoder has. One step of each was therefore run on tensors without data, and
the bytes alive were counted operation by operation (``python -m tools.image_models``): the peak without weights and
optimizer, at two sizes of image, for adapters and for all weights, with and without recomputation. Between and beyond
the two sizes it is a line in the number of pixels. Text encoders and autoencoder are frozen; their outputs are usually
computed beforehand.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from rtxbench.advice.memory.need import (
    CONTEXT_BYTES,
    DORA_OUTPUT_BYTES,
    DORA_WEIGHT_BYTES,
    FP8_COPY_BYTES,
    Need,
    Setup,
)
from rtxbench.advice.memory.practice import FRAMEWORKS, OPTIMIZERS, TUNING_METHODS, Framework, TuningMethod
from rtxbench.errors import UsageError
from rtxbench.lookup import named

__all__ = ["IMAGE_MODELS", "RECORDED_RANK", "RECORDED_SIDES", "ImageModel", "image_need"]

RECORDED_SIDES = (512, 1024)
"""Sides of the two images that were recorded, in pixels."""
RECORDED_RANK = 16
"""Rank of the recorded adapters, on the attention maps."""
_ADAPTER_BYTES = 4.0
"""Weights of an adapter, and again its gradients, are float32."""


class ImageModel(NamedTuple):
    """One image generator; counts are of elements, peaks of bytes."""

    name: str
    parameters: int
    linear_parameters: int
    """Weights of linear maps: what quantisation shrinks."""
    attention_widths: int
    """Inputs and outputs of the attention maps, summed: parameters of adapters of rank 1 on them."""
    linear_widths: int
    """The same of all linear maps."""
    widest_outputs: int
    """Outputs of the linear maps of the block that has most."""
    largest_matrix: int
    encoders_bytes: int
    """Text encoders and autoencoder in 16 bit."""
    side: int
    """Side of the image it is usually fine-tuned at, in pixels."""
    tokens_per_pixel: float
    """Tokens of its widest block ÷ pixels of the image."""
    peaks: Mapping[tuple[bool, bool], tuple[float, float]]
    """(all weights trained, recomputed) → bytes at the peak, gradients included, at `RECORDED_SIDES`."""
    source: str

    def peak_bytes(self, trains_all: bool, recomputed: bool, pixels: float) -> float:
        """Peak of a batch of so many pixels in bytes, gradients included, weights and optimizer not."""
        small, large = self.peaks[trains_all, recomputed]
        first, second = (side * side for side in RECORDED_SIDES)
        return small + (large - small) * (pixels - first) / (second - first)


@cache
def _package_models() -> dict[str, ImageModel]:
    with resources.files("rtxbench.catalog").joinpath("image_models.csv").open(encoding="utf-8") as stream:
        return {row["name"]: _model(row) for row in csv.DictReader(stream)}


def _model(row: Mapping[str, str]) -> ImageModel:
    ways = {"adapters": (False, False), "adapters_recomputed": (False, True)}
    ways |= {"all": (True, False), "all_recomputed": (True, True)}
    counts = ("parameters", "linear_parameters", "attention_widths", "linear_widths", "widest_outputs")
    return ImageModel(
        name=row["name"],
        largest_matrix=int(row["largest_matrix"]),
        encoders_bytes=int(float(row["encoders_bytes"])),
        side=int(row["side"]),
        tokens_per_pixel=float(row["tokens_per_pixel"]),
        peaks={
            way: (float(row[f"{name}_{RECORDED_SIDES[0]}"]), float(row[f"{name}_{RECORDED_SIDES[1]}"]))
            for name, way in ways.items()
        },
        source=row["source"],
        **{name: int(row[name]) for name in counts},
    )


IMAGE_MODELS: Mapping[str, ImageModel] = _package_models()
"""Image generators by name."""


def image_need(model: ImageModel, setup: Setup, framework: Framework = FRAMEWORKS["diffusers"]) -> Need:
    """Compute what one fine-tuning step of an image generator holds on one device.

    Raises:
        UsageError: unknown method or optimizer, or a method that image generators have no form of.
    """
    method = named(TUNING_METHODS, setup.method, "method")
    optimizer = named(OPTIMIZERS, setup.optimizer, "optimizer")
    if method.trains_embeddings:
        raise UsageError(f"{model.name} has no {setup.method} form.", next_step="Use lora, qlora, dora or full-bf16.")
    recomputed = True if setup.checkpointing is None else setup.checkpointing
    pixels = float(setup.batch_size * (setup.resolution or model.side) ** 2)
    trains_all = method.base_bytes is None
    held, gradients, slots = _states(model, method, setup, optimizer.slot_bytes, optimizer.half_slot_bytes)
    recorded = _recorded_gradients(model, trains_all)
    kept = max(0.0, model.peak_bytes(trains_all, recomputed, pixels) - recorded) + _decomposed(model, method, pixels)
    if setup.optimizer == "adam":  # PyTorch's own makes a copy of all that it updates, when the activations are gone
        kept = max(kept, gradients)
    overhead = CONTEXT_BYTES + framework.fixed_bytes + (model.encoders_bytes if setup.encoders_resident else 0.0)
    overhead += FP8_COPY_BYTES * model.largest_matrix if setup.fp8 else 0.0
    overhead += 2.0 * model.largest_matrix if method.base_bytes is not None and method.base_bytes < 2 else 0.0
    overhead += (held + gradients + slots + kept) * (framework.reserve_ratio - 1)
    return Need(held, gradients, slots, kept, overhead, framework.range_ratio)


def _states(
    model: ImageModel, method: TuningMethod, setup: Setup, slot_bytes: float, half_slot_bytes: float
) -> tuple[float, float, float]:
    """Count the bytes of weights, gradients and optimizer slots."""
    if method.base_bytes is None:
        if method.half_weights:
            return 2.0 * model.parameters, 2.0 * model.parameters, half_slot_bytes * model.parameters
        return 6.0 * model.parameters, 4.0 * model.parameters, slot_bytes * model.parameters
    widths = model.linear_widths if setup.targets == "all" else model.attention_widths
    adapters = float(setup.rank * widths)
    rest = model.parameters - model.linear_parameters
    frozen = method.base_bytes * model.linear_parameters + 2.0 * rest
    return frozen + _ADAPTER_BYTES * adapters, _ADAPTER_BYTES * adapters, slot_bytes * adapters


def _recorded_gradients(model: ImageModel, trains_all: bool) -> float:
    return 2.0 * (model.parameters if trains_all else RECORDED_RANK * model.attention_widths)


def _decomposed(model: ImageModel, method: TuningMethod, pixels: float) -> float:
    """Count the bytes that DoRA adds to LoRA, of one block, as the others are recomputed."""
    if not method.decomposes:
        return 0.0
    outputs = DORA_OUTPUT_BYTES * model.widest_outputs * model.tokens_per_pixel * pixels
    return outputs + DORA_WEIGHT_BYTES * model.largest_matrix

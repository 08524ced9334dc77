"""List methods, optimizers and frameworks of training, in bytes a parameter, an activation and a logit.

A framework's row holds what it was seen to do (its source and the published peaks in `tools.memory_check`), not what it
could do. `transformers` is what most people use and is taken where none is named.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["FRAMEWORKS", "OPTIMIZERS", "TUNING_METHODS", "Framework", "Optimizer", "TuningMethod"]


class Optimizer(NamedTuple):
    """State kept on the device."""

    slot_bytes: float
    """Per trained parameter held in float32."""
    half_slot_bytes: float
    """Per trained parameter held in 16 bit only."""
    note: str


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(8, 4, "two moments in the weights' precision"),
    "adam-8bit": Optimizer(2, 2, "two moments in 8 bit: Dettmers et al. 2022, arXiv:2110.02861"),
    "adam-paged": Optimizer(0, 0, "moments in host memory, paged in: bitsandbytes, PagedAdamW"),
    "adam-8bit-paged": Optimizer(0, 0, "8-bit moments in host memory, paged in: bitsandbytes, PagedAdamW8bit"),
    "momentum": Optimizer(4, 2, "one moment"),
    "sgd": Optimizer(0, 0, "no state"),
    "adafactor": Optimizer(0.02, 0.02, "factored second moment: Shazeer & Stern 2018"),
}
"""Optimizers by name."""


class TuningMethod(NamedTuple):
    """The parameters that are trained, and the format in which the rest is held."""

    base_bytes: float | None
    """Frozen weights of the linear maps, each; ``None`` where everything is trained."""
    trains_embeddings: bool
    half_weights: bool
    """Trained weights and gradients are held in 16 bit only."""
    checkpointing: bool
    """Activations inside a layer are recomputed, as is usual for this method."""
    note: str
    decomposes: bool = False
    """Adapters' directions and magnitudes are trained apart (DoRA, arXiv:2402.09353)."""


TUNING_METHODS: Mapping[str, TuningMethod] = {
    "full": TuningMethod(None, False, False, False, "every weight trained; float32 master weights in mixed precision"),
    "full-bf16": TuningMethod(None, False, True, True, "every weight trained and kept in bfloat16 only"),
    "lora": TuningMethod(2, False, False, True, "16-bit frozen base, adapters on every linear map"),
    "dora": TuningMethod(2, False, False, True, "lora with magnitudes apart (arXiv:2402.09353)", decomposes=True),
    "lora-embeddings": TuningMethod(2, True, False, True, "as lora, embedding and output matrix trained in 16 bit"),
    "int8-lora": TuningMethod(1, False, False, True, "8-bit frozen base (arXiv:2208.07339)"),
    "qlora": TuningMethod(4.127 / 8, False, False, True, "4-bit frozen base (arXiv:2305.14314, section 3)"),
    "qdora": TuningMethod(4.127 / 8, False, False, True, "dora over a 4-bit frozen base", decomposes=True),
}
"""Fine-tuning methods by name."""


class Framework(NamedTuple):
    """The memory a framework adds to the tensors."""

    adapter_bytes: float
    """Weight and gradient of an adapter's parameter."""
    quantised_embedding_bytes: float
    """Embedding and output matrix beside a quantised base: PEFT's preparation turns them into float32."""
    full_extra_bytes: float
    """Per parameter in full training, beside weights, gradients and slots."""
    logit_bytes: float
    """Logits, their float32 copy, the loss's own and their gradient, as many as live at the peak."""
    logit_share: float
    """Part of the logits held at once, where the loss is computed in chunks."""
    activation_ratio: float
    """Kept activations ÷ the count of `need`: copies in float32, temporaries, or what a compiler fuses away."""
    reserve_ratio: float
    """Memory that the allocator holds ÷ memory in use."""
    fixed_bytes: float
    """Workspaces and buffers."""
    range_ratio: float
    """Half-width of the stated range, from the published peaks of the framework."""
    note: str


FRAMEWORKS: Mapping[str, Framework] = {
    "transformers": Framework(8, 2, 2, 8, 1.0, 1.0, 1.03, 1.6e9, 0.18, "Hugging Face Trainer, PEFT, any 4-bit kernel"),
    "deepspeed": Framework(8, 2, 4, 8, 1.0, 1.0, 1.03, 4e9, 0.18, "DeepSpeed ZeRO on one card"),
    "torchtune": Framework(8, 2, 0, 8, 1 / 8, 0.8, 1.03, 0.1e9, 0.20, "torchtune, torch.compile, loss in chunks"),
    "litgpt": Framework(4, 2, 0, 8, 1.0, 1.15, 1.0, 0.1e9, 0.18, "LitGPT, adapters in 16 bit"),
    "diffusers": Framework(8, 2, 2, 8, 1.0, 1.0, 1.03, 1.6e9, 0.20, "diffusers' scripts, PEFT: image generators"),
    "unsloth": Framework(8, 2, 0, 8, 1 / 8, 0.8, 1.03, 0.1e9, 0.20, "as torchtune: no peak with a stated setup found"),
}
"""Frameworks by name. The constants were chosen on a grid: nine of ten published peaks of the framework lie nearest."""

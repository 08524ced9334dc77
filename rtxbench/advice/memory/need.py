"""Will it fit? What one training step holds in device memory, part by part, and the largest batch a card takes.

Parts: weights, gradients, optimizer slots, activations kept for the backward pass with the logits, and what framework,
libraries and driver add. Activations follow Korthikanti et al. 2022 (arXiv:2205.05198, equation 1) for the plain forms,
and the same count done for the Llama form; what a framework does beyond the count stands in `practice`.

The answer is a range around the sum of the parts, as wide as the published peaks of the framework ask for
(docs/prediction.md has the check): *fits* means that even its upper end fits, *tight* that the card's memory lies in
it, *no* that not even its lower end fits.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from rtxbench.advice.memory.models import Model, Network
from rtxbench.advice.memory.practice import FRAMEWORKS, OPTIMIZERS, TUNING_METHODS, Framework, TuningMethod
from rtxbench.errors import UsageError
from rtxbench.lookup import named
from rtxbench.precision import precision_named

__all__ = [
    "CONTEXT_BYTES",
    "DORA_OUTPUT_BYTES",
    "DORA_WEIGHT_BYTES",
    "FP8_COPY_BYTES",
    "FitState",
    "Need",
    "Setup",
    "fit_state",
    "largest_batch",
    "network_need",
    "training_need",
]

FitState: TypeAlias = Literal["fits", "tight", "no"]

CONTEXT_BYTES = 0.65 * 2**30
"""CUDA context, cuBLAS and cuDNN handles of one process; 0.5-0.7 GiB on Ampere and newer, 1.3 GiB at worst."""

FP8_COPY_BYTES = 2.0
"""Per weight of the map at work: its 8-bit form, and that form transposed. torchao, which makes them anew in each pass,
measured 47.8 GB against 47.7 in bfloat16 (Llama 3 8B; torchao/float8/README.md)."""
DORA_OUTPUT_BYTES = 6.0
"""Per output of an adapted map: the frozen map's in 16 bit and the adapter's in float32 (PEFT's layer)."""
DORA_WEIGHT_BYTES = 12.0
"""Per weight of the largest adapted map: adapters' product, sum and norm in float32."""
_NETWORK_RANGE_RATIO = 0.20
_NETWORK_ACTIVATION_RATIO = 1.22
"""Convolutional networks: cuDNN's workspace and the gradients of large maps."""


class Setup(NamedTuple):
    """One way to train one model."""

    batch_size: int = 1
    tokens: int | None = None
    """Sequence length; ``None`` takes the model's."""
    precision: str = "mixed_bfloat16"
    optimizer: str = "adam"
    method: str = "full"
    checkpointing: bool | None = None
    """``None`` takes the method's habit."""
    fused_attention: bool | None = None
    """Flash-type attention keeps no score matrix; ``None``: yes for decoders, no for BERT."""
    rank: int = 16
    """LoRA rank."""
    framework: str = "transformers"
    optimizer_in_backward: bool = False
    """Each weight is updated as soon as its gradient is there, so that only one layer's gradients live."""
    targets: str = "all"
    """Maps LoRA adapts: ``all``, ``qv``, or ``attention`` of an image generator."""
    fp8: bool = False
    """Products in 8 bit: weights, gradients and what the backward pass keeps stay as they are."""
    resolution: int | None = None
    """Side of a square image in pixels; ``None`` takes the model's."""
    encoders_resident: bool = False
    """Text encoders and autoencoder stay on the card, where their outputs were not computed beforehand."""


class Need(NamedTuple):
    """Bytes of each part at the peak of one step, and the half-width of the range around their sum."""

    weights_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float
    """Kept for the backward pass, logits included."""
    overhead_bytes: float
    """Context, workspaces, the framework's buffers and what its allocator holds in reserve."""
    range_ratio: float

    @property
    def total_bytes(self) -> float:
        """The sum of the parts."""
        return math.fsum(self[:5])

    @property
    def low_bytes(self) -> float:
        """Lower end of the range."""
        return self.total_bytes * (1 - self.range_ratio)

    @property
    def high_bytes(self) -> float:
        """Upper end of the range."""
        return self.total_bytes * (1 + self.range_ratio)


def training_need(model: Model, setup: Setup, framework: Framework | None = None) -> Need:
    """Compute what one training step of ``model`` holds on one device.

    Args:
        model: its dimensions.
        setup: how it is trained.
        framework: another row than the setup names, for checks of the rows themselves.

    Raises:
        UsageError: unknown method, optimizer, framework or precision, or a combination that does not exist.
    """
    method = named(TUNING_METHODS, setup.method, "method")
    optimizer = named(OPTIMIZERS, setup.optimizer, "optimizer")
    framework = framework or named(FRAMEWORKS, setup.framework, "framework")
    single = precision_named(setup.precision).dtype == "float32"
    if single and (method.half_weights or (method.base_bytes is not None and method.base_bytes < 2)):
        raise UsageError(f"{setup.method} has no {setup.precision} form.", next_step="Use mixed_bfloat16.")
    weights, gradients, slots = 0.0, 0.0, 0.0
    if method.base_bytes is None:
        weights, gradients = _full_bytes(model, method, framework, single)
        slots = model.parameters * (optimizer.half_slot_bytes if method.half_weights else optimizer.slot_bytes)
        if setup.optimizer_in_backward:
            gradients /= model.layers
    else:
        adapters = _adapter_parameters(model, setup)
        embeddings = model.embedding_parameters if method.trains_embeddings else 0
        weights = _frozen_bytes(model, method, framework, single) + adapters * framework.adapter_bytes / 2
        gradients = adapters * framework.adapter_bytes / 2 + embeddings * 2
        adapter_slot = optimizer.slot_bytes if framework.adapter_bytes >= 8 else optimizer.half_slot_bytes
        slots = adapters * adapter_slot + embeddings * optimizer.half_slot_bytes
    activations = _activation_bytes(model, setup, method, 4 if single else 2) * framework.activation_ratio
    activations += _logit_bytes(model, setup, framework) + _decomposed_bytes(model, setup, method)
    used = weights + gradients + slots + activations
    overhead = CONTEXT_BYTES + framework.fixed_bytes + _unpacked_bytes(model, method)
    overhead += FP8_COPY_BYTES * _largest_matrix(model) if setup.fp8 else 0.0
    overhead += used * (framework.reserve_ratio - 1)
    return Need(weights, gradients, slots, activations, overhead, framework.range_ratio)


def network_need(network: Network, setup: Setup) -> Need:
    """Compute what one full training step of a convolutional network holds on one device.

    Raises:
        UsageError: unknown optimizer, or another method than full training.
    """
    if setup.method != "full":
        raise UsageError(f"{network.name} has no {setup.method} form.", next_step="Use full.")
    slot_bytes = named(OPTIMIZERS, setup.optimizer, "optimizer").slot_bytes
    single = precision_named(setup.precision).dtype == "float32"
    elements = setup.batch_size * network.saved_elements * _NETWORK_ACTIVATION_RATIO
    return Need(
        weights_bytes=float(network.parameters * (4 if single else 6)),
        gradients_bytes=float(network.parameters * 4),
        optimizer_bytes=network.parameters * slot_bytes,
        activations_bytes=elements * (4 if single else 2),
        overhead_bytes=CONTEXT_BYTES + 64 * 2**20,
        range_ratio=_NETWORK_RANGE_RATIO,
    )


def _full_bytes(model: Model, method: TuningMethod, framework: Framework, single: bool) -> tuple[float, float]:
    """Weights and gradients where everything is trained."""
    if method.half_weights:
        return 2.0 * model.parameters, 2.0 * model.parameters
    extra = 0.0 if single else framework.full_extra_bytes
    return (4 + extra) * model.parameters, 4.0 * model.parameters


def _frozen_bytes(model: Model, method: TuningMethod, framework: Framework, single: bool) -> float:
    assert method.base_bytes is not None
    rest = model.parameters - model.layer_parameters
    if single:
        return 4.0 * model.parameters
    embedding_bytes = framework.quantised_embedding_bytes if method.base_bytes < 2 else 2
    return model.layer_parameters * method.base_bytes + rest * embedding_bytes


def _adapter_parameters(model: Model, setup: Setup) -> int:
    shapes = model.adapted_shapes if setup.targets == "all" else model.attention_shapes[:3:2]
    return model.layers * setup.rank * sum(inputs + outputs for inputs, outputs in shapes)


def _activation_bytes(model: Model, setup: Setup, method: TuningMethod, compute_bytes: int) -> float:
    tokens = setup.tokens or model.tokens
    layer = tokens * setup.batch_size * _layer_bytes_per_token(model, tokens, setup.fused_attention, compute_bytes)
    checkpointing = method.checkpointing if setup.checkpointing is None else setup.checkpointing
    embedded = tokens * setup.batch_size * model.hidden * compute_bytes
    if not checkpointing:
        return float(model.layers * layer + embedded)
    return float(model.layers * embedded + layer)  # one input per layer is kept, one layer at a time is recomputed


def _layer_bytes_per_token(model: Model, tokens: int, fused: bool | None, compute_bytes: int) -> float:
    """Count the bytes that one layer keeps per token for the backward pass."""
    flash = fused if fused is not None else model.form in ("llama", "gpt2", "vit")
    hidden, query, narrow = model.hidden, model.query_width, model.key_value_width
    wide = model.intermediate * model.active_experts
    if model.is_gated:
        # Both norms' inputs and outputs, q and attention's output, k, v; gate, up, their product and the activation.
        kept, masks = 4 * hidden + 2 * query + 2 * narrow + 4 * wide, 0
    else:
        # Korthikanti: 34·h in 16 bit = 16 h elements and, where there is dropout, two masks.
        kept, masks = 8 * hidden + 2 * wide, 2 * hidden if model.form == "bert" else 0
    scores = model.heads * (4 if flash else tokens * (2 * compute_bytes + (1 if model.form == "bert" else 0)))
    return float(kept * compute_bytes + masks + scores)


def _logit_bytes(model: Model, setup: Setup, framework: Framework) -> float:
    """Count the bytes of a language model's logits; a classifier's are nothing."""
    if model.form in ("bert", "vit"):
        return 0.0
    tokens = setup.batch_size * (setup.tokens or model.tokens)
    return tokens * model.vocabulary * framework.logit_bytes * framework.logit_share


def _unpacked_bytes(model: Model, method: TuningMethod) -> float:
    """Count the bytes of the largest matrix, which a quantised base unpacks to 16 bit."""
    if method.base_bytes is None or method.base_bytes >= 2:
        return 0.0
    return 2.0 * _largest_matrix(model)


def _largest_matrix(model: Model) -> float:
    return float(max(inputs * outputs for inputs, outputs in (*model.attention_shapes, *model.mlp_shapes)))


def _decomposed_bytes(model: Model, setup: Setup, method: TuningMethod) -> float:
    """Count the bytes that DoRA adds to LoRA: outputs kept apart for the magnitude, one adapted weight made dense."""
    if not method.decomposes:
        return 0.0
    shapes = model.adapted_shapes if setup.targets == "all" else model.attention_shapes[:3:2]
    recomputed = method.checkpointing if setup.checkpointing is None else setup.checkpointing
    tokens, layers = (setup.tokens or model.tokens) * setup.batch_size, 1 if recomputed else model.layers
    kept = DORA_OUTPUT_BYTES * layers * tokens * sum(outputs for _, outputs in shapes)
    return kept + DORA_WEIGHT_BYTES * max(inputs * outputs for inputs, outputs in shapes)


def fit_state(low_bytes: float, high_bytes: float, memory_bytes: float) -> FitState:
    """Return ``fits`` if even the upper end fits in the card's memory, ``tight`` if only the lower, else ``no``."""
    if high_bytes <= memory_bytes:
        return "fits"
    return "tight" if low_bytes <= memory_bytes else "no"


def largest_batch(need_at: Callable[[int], float], memory_bytes: float, limit: int = 1 << 20) -> int:
    """Largest batch size whose need fits (0: not even one example); ``need_at`` must not fall with the batch."""
    if need_at(1) > memory_bytes:
        return 0
    low, high = 1, 2
    while high <= limit and need_at(high) <= memory_bytes:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if need_at(middle) <= memory_bytes else (low, middle)
    return low

"""Will it fit? What one training step holds in device memory, part by part, and the largest batch a card takes.

Parts: weights, gradients, optimizer slots, activations kept for the backward pass, logits, workspace, and the
driver's own context. Activations follow Korthikanti et al. 2022 (arXiv:2205.05198, equation 1) for BERT and GPT-2,
and the same count done for the Llama form; full fine-tuning in mixed precision costs 18 bytes a parameter, in float32
16 (float32 weights, gradients, two Adam moments; half-precision copies beside them).

The answer is a range, not a number. The lower end is the tensors alone, as a well tuned framework holds them. The
upper end adds what allocators, temporaries and less tuned frameworks added in published measurements
(docs/prediction.md has the check): *fits* means that even the upper end fits, *tight* that it depends on the
framework, *no* that not even the tensors do.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from rtxbench.advice.memory.models import Model, Network
from rtxbench.errors import UsageError
from rtxbench.lookup import named
from rtxbench.precision import precision_named

__all__ = [
    "CONTEXT_BYTES",
    "OPTIMIZER_SLOT_BYTES",
    "TUNING_METHODS",
    "FitState",
    "Line",
    "Need",
    "Setup",
    "TuningMethod",
    "fit_state",
    "largest_batch",
    "line_through",
    "network_need",
    "training_need",
]

FitState: TypeAlias = Literal["fits", "tight", "no"]

CONTEXT_BYTES = 0.65 * 2**30
"""CUDA context, cuBLAS and cuDNN handles of one process; 0.5-0.7 GiB on Ampere and newer, 1.3 GiB at worst."""

ACTIVATION_OVERHEAD_RATIO = 1.26
"""Upper end ÷ lower end of the activations: Hugging Face's BERT-large measurement (2,089 MiB an example against
1,656 MiB of tensors), the worst of the published checks."""

CONVOLUTION_OVERHEAD_RATIO = 1.45
"""The same for convolutional networks (cuDNN's workspace, gradients of large maps): what puts ResNet-50's published
batches on 24 and 40 GB cards inside the range."""

_LOSS_CHUNKS = 8
"""Tuned frameworks compute the loss in chunks and never hold all logits (torchtune's default is 8)."""

OPTIMIZER_SLOT_BYTES: Mapping[str, float] = {
    # Bytes per trained parameter.
    "adam": 8,  # two float32 moments
    "adam-8bit": 2,  # Dettmers et al. 2022, arXiv:2110.02861
    "momentum": 4,
    "sgd": 0,
    "adafactor": 0.02,  # factored second moment, Shazeer & Stern 2018
}


class TuningMethod(NamedTuple):
    """How a model is trained, in bytes per parameter."""

    base_bytes: float | None
    """Frozen weights of the linear maps; ``None`` where everything is trained."""
    trained_bytes: Mapping[str, float]
    """Weights and gradients per *trained* parameter by kind of precision: ``full`` or ``half``."""
    overhead_ratio: float
    """Upper end ÷ lower end of weights, gradients and optimizer slots, from published peaks."""
    checkpointing: bool
    """Whether activations inside a layer are recomputed, as is usual for this method."""
    note: str


_TORCHTUNE = "arXiv:2305.14314, section 3; overhead: torchtune 0.1's 9.29 GB for Llama-2-7B against 4.8 GB of tensors"

TUNING_METHODS: Mapping[str, TuningMethod] = {
    "full": TuningMethod(
        None,
        {"full": 8, "half": 10},
        1.03,
        False,
        "every weight trained; in mixed precision float32 master weights and gradients beside 2-byte copies",
    ),
    "full-bf16": TuningMethod(None, {"half": 4}, 1.03, True, "every weight trained and kept in bfloat16 only"),
    "lora": TuningMethod(
        2,
        {"half": 8, "full": 8},
        1.18,
        True,
        "16-bit frozen base, float32 adapters on every linear map; overhead: torchtune 0.1's 17.18 GB for Llama-2-7B",
    ),
    "int8-lora": TuningMethod(
        1, {"half": 8, "full": 8}, 1.96, True, "8-bit frozen base (arXiv:2208.07339); overhead unpublished, as qlora"
    ),
    "qlora": TuningMethod(4.127 / 8, {"half": 8, "full": 8}, 1.96, True, _TORCHTUNE),
}
"""Fine-tuning methods by name."""


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
    """Flash-type attention keeps no score matrix; ``None``: yes for the Llama form, no for BERT and GPT-2."""
    rank: int = 16
    """LoRA rank."""


class Need(NamedTuple):
    """Bytes of each part. ``low_bytes`` and ``high_bytes`` bound the peak."""

    weights_bytes: float
    gradients_bytes: float
    optimizer_bytes: float
    activations_bytes: float
    logits_bytes: float
    workspace_bytes: float
    fixed_overhead_ratio: float
    activation_overhead_ratio: float = ACTIVATION_OVERHEAD_RATIO
    context_bytes: float = CONTEXT_BYTES

    @property
    def low_bytes(self) -> float:
        """The tensors and the context, perfectly packed, with a loss computed in chunks of an eighth."""
        fixed = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes + self.workspace_bytes
        return fixed + self.activations_bytes + self.logits_bytes / _LOSS_CHUNKS + self.context_bytes

    @property
    def high_bytes(self) -> float:
        """With all logits at once and the overheads seen on real allocators."""
        fixed = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes
        moving = (self.activations_bytes + self.logits_bytes) * self.activation_overhead_ratio
        return fixed * self.fixed_overhead_ratio + moving + self.workspace_bytes + self.context_bytes


def training_need(model: Model, setup: Setup) -> Need:
    """Compute what one training step of ``model`` holds on one device.

    Raises:
        UsageError: unknown method, optimizer or precision, or a combination that does not exist.
    """
    method = named(TUNING_METHODS, setup.method, "method")
    slot_bytes = named(OPTIMIZER_SLOT_BYTES, setup.optimizer, "optimizer")
    kind = "full" if precision_named(setup.precision).dtype == "float32" else "half"
    if kind not in method.trained_bytes:
        raise UsageError(f"{setup.method} has no {setup.precision} form.", next_step="Use mixed_bfloat16.")
    compute_bytes = 4 if kind == "full" else 2
    trained = model.parameters if method.base_bytes is None else _adapter_parameters(model, setup.rank)
    gradient_bytes = 2 if setup.method == "full-bf16" else 4
    frozen = 0.0
    if method.base_bytes is not None:
        other = model.parameters - model.layer_parameters
        frozen = model.layer_parameters * method.base_bytes + other * 2
    moments = slot_bytes / 2 if setup.method == "full-bf16" and setup.optimizer == "adam" else slot_bytes
    tokens = setup.batch_size * (setup.tokens or model.tokens)
    return Need(
        weights_bytes=frozen + trained * (method.trained_bytes[kind] - gradient_bytes),
        gradients_bytes=trained * gradient_bytes,
        optimizer_bytes=trained * moments,
        activations_bytes=_activation_bytes(model, setup, method, compute_bytes),
        logits_bytes=_logit_bytes(model, tokens, compute_bytes),
        workspace_bytes=_workspace_bytes(model, method),
        fixed_overhead_ratio=method.overhead_ratio,
    )


def network_need(network: Network, setup: Setup) -> Need:
    """Compute what one full training step of a convolutional network holds on one device.

    Raises:
        UsageError: unknown optimizer, or another method than full training.
    """
    if setup.method != "full":
        raise UsageError(f"{network.name} has no {setup.method} form.", next_step="Use full.")
    method, slot_bytes = TUNING_METHODS["full"], named(OPTIMIZER_SLOT_BYTES, setup.optimizer, "optimizer")
    kind = "full" if precision_named(setup.precision).dtype == "float32" else "half"
    compute_bytes = 4 if kind == "full" else 2
    return Need(
        weights_bytes=network.parameters * (method.trained_bytes[kind] - 4),
        gradients_bytes=network.parameters * 4,
        optimizer_bytes=network.parameters * slot_bytes,
        activations_bytes=float(setup.batch_size * network.saved_elements * compute_bytes),
        logits_bytes=0.0,
        workspace_bytes=64 * 2**20,
        fixed_overhead_ratio=method.overhead_ratio,
        activation_overhead_ratio=CONVOLUTION_OVERHEAD_RATIO,
    )


def _adapter_parameters(model: Model, rank: int) -> int:
    return model.layers * rank * sum(inputs + outputs for inputs, outputs in model.linear_shapes)


def _activation_bytes(model: Model, setup: Setup, method: TuningMethod, compute_bytes: int) -> float:
    tokens = setup.tokens or model.tokens
    layer = tokens * setup.batch_size * _layer_bytes_per_token(model, tokens, setup.fused_attention, compute_bytes)
    checkpointing = method.checkpointing if setup.checkpointing is None else setup.checkpointing
    embedded = tokens * setup.batch_size * model.hidden * compute_bytes
    if not checkpointing:
        return model.layers * layer + embedded
    return model.layers * embedded + layer  # one input per layer is kept, one layer at a time is recomputed


def _layer_bytes_per_token(model: Model, tokens: int, fused: bool | None, compute_bytes: int) -> float:
    """Bytes one layer keeps per token for the backward pass."""
    flash = fused if fused is not None else model.form == "llama"
    if model.form == "llama":
        # Norm inputs (2), q, attention output, o's and the MLP's input: 6 hidden; k, v; gate, up, act, product.
        kept = 6 * model.hidden + 2 * model.key_value_width + 4 * model.intermediate
        masks, scores = 0, model.heads * tokens * 2 * compute_bytes
    else:
        # Korthikanti: 34·h in 16 bit = 16 h elements and two dropout masks; the scores twice and their mask.
        kept = 8 * model.hidden + 2 * model.intermediate
        masks, scores = 2 * model.hidden, model.heads * tokens * (2 * compute_bytes + 1)
    return kept * compute_bytes + masks + (model.heads * 4 if flash else scores)


def _logit_bytes(model: Model, tokens: int, compute_bytes: int) -> float:
    """Logits in the compute type, their float32 copy and its gradient; a classifier's are nothing."""
    return 0.0 if model.form == "bert" else float(tokens * model.vocabulary * (compute_bytes + 8))


def _workspace_bytes(model: Model, method: TuningMethod) -> float:
    """CuBLAS workspace; a quantised base also unpacks its largest matrix to 16 bit."""
    unpacked = max(inputs * outputs for inputs, outputs in model.linear_shapes) * 2
    return 64 * 2**20 + (unpacked if method.base_bytes is not None and method.base_bytes < 2 else 0)


def fit_state(low_bytes: float, high_bytes: float, memory_bytes: float) -> FitState:
    """``fits`` if even the upper end fits in the card's memory, ``tight`` if only the lower, else ``no``."""
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


class Line(NamedTuple):
    """Peak memory linear in the batch size, from peaks an engine reported at two batch sizes."""

    fixed_bytes: float
    bytes_per_example: float
    how: str

    def need_bytes(self, batch_size: int) -> float:
        """Peak at ``batch_size``."""
        return self.fixed_bytes + self.bytes_per_example * batch_size


def line_through(peaks_bytes: Mapping[int, float], how: str) -> Line:
    """The line through the peaks of the smallest and the largest batch size.

    Raises:
        UsageError: fewer than two batch sizes, or a peak that falls as the batch grows.
    """
    if len(peaks_bytes) < 2:
        raise UsageError(
            "memory peaks at two batch sizes are needed.", next_step="Measure the workload at a second batch size."
        )
    small, large = min(peaks_bytes), max(peaks_bytes)
    slope = (peaks_bytes[large] - peaks_bytes[small]) / (large - small)
    if slope < 0 or not math.isfinite(slope):
        raise UsageError(
            f"the peak falls from batch {small} to batch {large}.",
            next_step="Measure again: the allocator's peak was not reset between the cases.",
        )
    return Line(max(0.0, peaks_bytes[small] - slope * small), slope, how)

"""Requests and replies of the trial worker (`rtxbench.trials.server`): one JSON line each. No engine here."""

from typing import Final, Literal, TypeAlias

import msgspec

from rtxbench.workers.protocol import Close, Failed, Ready

__all__ = [
    "TRIAL_REPLIES",
    "TRIAL_REQUESTS",
    "DataSpec",
    "Deploy",
    "Deployed",
    "Pipeline",
    "Pipelined",
    "Probe",
    "Probed",
    "Split",
    "SplitChecked",
    "Train",
    "Trained",
    "TrialFailed",
    "TrialMessage",
    "TrialReply",
    "TrialRequest",
    "TrialResult",
]


class TrialMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Any request or result; ``key`` names the trial, and its result carries the same."""

    key: str


class DataSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A set of images, and how many of each part (a downloaded set is cut to these counts)."""

    name: Literal["auto", "mnist", "generated"] = "auto"
    train: int = 3000
    validation: int = 1000
    test: int = 2000
    seed: int = 0
    """Draws the images: of MNIST which ones, of the project's own digits all of them."""
    upright: bool = False
    """Digits drawn by the project without drawn rotations, shifts, scales and shears: not augmented already."""


class Train(TrialMessage, frozen=True, kw_only=True):
    """Train the small digit classifier once. Same seed: same weights, same order of images, in every arm."""

    data: DataSpec
    seed: int
    precision: str = "float32"
    batch_size: int = 64
    learning_rate: float = 1e-3
    epochs: int = 5
    target_accuracies: dict[str, float] = {}
    """Data set → validation accuracy to clock; ``stop_at_target`` ends the run there."""
    stop_at_target: bool = False
    time_limit_s: float | None = None
    """The run ends with the epoch in which its training time passes this: it has lost a race then."""
    pixels: Literal["raw", "normalised"] = "normalised"
    """Pixels as stored, 0-255, or divided by 255."""
    augmentation: Literal["none", "article", "article-no-flip"] = "none"
    halved: bool = False
    """Train the classifier with half of its layers."""
    corrupted_test: bool = False
    """Also test on blurred, noisy, faint and partly covered test images: nothing that augmentation trains on."""


class Trained(TrialMessage, frozen=True, kw_only=True):
    """The result of one training. Times are of the training epochs alone: no tracing, no validation."""

    device_kind: str
    dataset: str
    checksum: str
    epoch_s: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    validation_loss: tuple[float | None, ...]
    """``None`` where not finite."""
    target_accuracy: float | None
    """The one clocked: that of the data set used."""
    time_to_target_s: float | None
    epochs_to_target: int | None
    test_accuracy: float
    corrupted_test_accuracy: float | None
    loss_scale_overflows: int | None
    """Steps whose gradients were not finite and were skipped; ``None`` without a loss scale."""
    finite: bool


class Probe(TrialMessage, frozen=True, kw_only=True):
    """Try one training step at this batch size, within ``memory_limit_bytes`` of host memory where it runs on a CPU."""

    batch_size: int
    precision: str = "float32"
    memory_limit_bytes: int | None = None


class Probed(TrialMessage, frozen=True, kw_only=True):
    """The answer whether a step fitted; ``reason`` is the framework's own message where not."""

    batch_size: int
    device_kind: str
    fits: bool
    step_s: float | None
    peak_memory_bytes: int | None
    reason: str | None = None


class Pipeline(TrialMessage, frozen=True, kw_only=True):
    """Examples per second of each input pipeline alone, and of training fed by it."""

    data: DataSpec
    batch_size: int = 32
    repeats: int = 5


class Pipelined(TrialMessage, frozen=True, kw_only=True):
    """One value per repeat: of the pipelines alone, and of training fed by each with its waits for the next batch."""

    device_kind: str
    dataset: str
    alone_per_s: dict[str, tuple[float, ...]]
    training_per_s: dict[str, tuple[float, ...]]
    input_wait_ratio: dict[str, tuple[float, ...]]
    missing: dict[str, str]


class Deploy(TrialMessage, frozen=True, kw_only=True):
    """Save, load and evaluate in every format, and time inference."""

    data: DataSpec
    seed: int
    latency_batches: tuple[int, ...] = ()
    latency_precisions: tuple[str, ...] = ("float32",)
    requests: int = 100
    repeats: int = 5


class FormatResult(msgspec.Struct, frozen=True, kw_only=True):
    """One format's round trip. ``reason`` instead of figures where it failed or cannot be done here."""

    size_bytes: int | None = None
    save_s: float | None = None
    load_s: float | None = None
    probability_difference: float | None = None
    accuracy_difference: float | None = None
    reason: str | None = None


class LatencyResult(msgspec.Struct, frozen=True, kw_only=True):
    """Latency of one batch size and precision, one value per repeat; of p99 one, or none where requests are too few."""

    batch_size: int
    precision: str
    p50_s: tuple[float, ...]
    p99_s: tuple[float, ...]
    throughput_per_s: tuple[float, ...]


class Deployed(TrialMessage, frozen=True, kw_only=True):
    """All formats and latencies of one seed's model."""

    device_kind: str
    dataset: str
    accuracy: float
    formats: dict[str, FormatResult]
    latencies: tuple[LatencyResult, ...]
    unsafe_files_loaded: int
    """Files with code in them that loaded although safe mode was on: must be 0."""


class Split(TrialMessage, frozen=True, kw_only=True):
    """Train a model whose layers lie on ``device_count`` devices and the same model on one: a check and two figures."""

    device_count: int = 2
    steps: int = 8
    batch_size: int = 64
    width: int = 512
    seed: int = 0


class SplitChecked(TrialMessage, frozen=True, kw_only=True):
    """Losses of both, and what each device holds."""

    device_kind: str
    logical: bool
    """True when the devices are shares of one chip: says nothing of speed."""
    losses_one: tuple[float, ...]
    losses_split: tuple[float, ...]
    bytes_one: int
    bytes_per_device: tuple[int, ...]
    step_s_one: float
    step_s_split: float


class TrialFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The trial has no result. Made by the coordinator: of a request that failed, or of a worker that was lost."""

    key: str
    worker_lost: bool = False
    message: str
    next_step: str


TrialRequest: TypeAlias = Train | Probe | Pipeline | Deploy | Split
TrialResult: TypeAlias = Trained | Probed | Pipelined | Deployed | SplitChecked
TrialReply: TypeAlias = TrialResult | TrialFailed

TRIAL_REQUESTS: Final[msgspec.json.Decoder[TrialRequest | Close]] = msgspec.json.Decoder(TrialRequest | Close)
TRIAL_REPLIES: Final[msgspec.json.Decoder[TrialResult | Ready | Failed]] = msgspec.json.Decoder(
    TrialResult | Ready | Failed
)

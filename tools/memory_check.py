"""What the memory model is held to: published peaks, published largest batches, and compilers' own plans."""

from collections.abc import Iterator
from typing import NamedTuple

from rtxbench.advice.memory.models import MODELS, NETWORKS
from rtxbench.advice.memory.need import (
    CONTEXT_BYTES,
    Need,
    Setup,
    largest_batch,
    line_through,
    network_need,
    training_need,
)
from rtxbench.advice.memory_basis import compiled_peaks
from rtxbench.catalog.cards import Card, load_cards
from rtxbench.catalog.published import Published, curated

__all__ = [
    "PUBLISHED_PEAKS",
    "BatchCheck",
    "CompiledCheck",
    "PeakCheck",
    "PlanCheck",
    "compiled_checks",
    "plan_checks",
    "published_batch_checks",
    "published_peak_checks",
]

_HF = "Hugging Face Transformers 4.27 documentation, perf_train_gpu_one (V100, PyTorch, AdamW, 512 tokens)"
_TUNE_OLD = "torchtune 0.1 README: torch.cuda.max_memory_reserved, RTX 4090, batch 2, at most 512 tokens"
_TUNE_NEW = "torchtune 0.4 README: RTX 4090, batch 2, packed to 2,048 tokens, torch.compile, loss in chunks"
_MIB, _GB, _GIB = 2**20, 1e9, 2**30

PUBLISHED_PEAKS: tuple[tuple[str, Setup, float, str], ...] = (
    # (model, setup, published peak less the CUDA context in bytes, source)
    ("bert-large", Setup(4, 512, "float32"), (14949 - 1343) * _MIB, _HF),
    ("bert-large", Setup(1, 512, "float32"), (8681 - 1343) * _MIB, _HF),
    ("llama-2-7b", Setup(2, 512, method="lora", rank=8), 17.18 * _GB, _TUNE_OLD),
    ("llama-2-7b", Setup(2, 512, method="qlora", rank=8), 9.29 * _GB, _TUNE_OLD),
    ("llama-3-8b", Setup(2, 2048, method="lora", rank=8), 16.2 * _GIB, _TUNE_NEW),
    ("llama-3-8b", Setup(2, 2048, method="qlora", rank=8), 7.4 * _GIB, _TUNE_NEW),
)
"""Peaks other people measured on GPUs. Overheads in `rtxbench.advice.memory.need` come from the first four."""
_BATCH_MODELS = {"bert_base_squad": "bert-base", "bert_large_squad": "bert-large", "resnet50": "resnet50"}
_SQUAD_TOKENS = 384
_BATCH_STACK = "pytorch-1.13-ngc-22.10"
_UNCATALOGUED_GB = {"V100 16GB": 16, "H100 PCIe 80GB": 80}


class PeakCheck(NamedTuple):
    """One published peak beside the computed range, both without the CUDA context."""

    what: str
    source: str
    published_bytes: float
    low_bytes: float
    high_bytes: float

    @property
    def outside_ratio(self) -> float:
        """How far the published peak lies below the range (negative) or above it; 0 inside."""
        if self.published_bytes < self.low_bytes:
            return self.published_bytes / self.low_bytes - 1
        return max(0.0, self.published_bytes / self.high_bytes - 1)


class BatchCheck(NamedTuple):
    """One published batch, taken as the largest that fits, beside the computed range of the largest batch."""

    what: str
    published_batch: int
    smallest_largest: int
    largest_largest: int

    @property
    def inside(self) -> bool:
        """Whether the published batch lies in the range."""
        return self.smallest_largest <= self.published_batch <= self.largest_largest


class PlanCheck(NamedTuple):
    """A compiler's plan for a CPU beside the range computed for a GPU."""

    what: str
    plan_bytes: int
    low_bytes: float
    high_bytes: float


class CompiledCheck(NamedTuple):
    """A compiler's peak at a batch size the line was not fitted on."""

    workload: str
    precision: str
    batch_size: int
    peak_bytes: int
    error_ratio: float
    """Line ÷ peak − 1."""
    how: str


def published_peak_checks() -> tuple[PeakCheck, ...]:
    """Each of `PUBLISHED_PEAKS` beside its computed range."""
    checks = []
    for name, setup, published_bytes, source in PUBLISHED_PEAKS:
        need = training_need(MODELS[name], setup)
        what = f"{name}, {setup.method}, {setup.precision}, batch {setup.batch_size}, {setup.tokens} tokens"
        low, high = need.low_bytes - CONTEXT_BYTES, need.high_bytes - CONTEXT_BYTES
        checks.append(PeakCheck(what, source, published_bytes, low, high))
    return tuple(checks)


def published_batch_checks() -> tuple[BatchCheck, ...]:
    """Every card of the newest published stack, BERT-base and BERT-large, mixed and full precision."""
    cards = load_cards()
    seen: dict[tuple[str, str, str], BatchCheck] = {}
    for row in curated().kept:
        if row.stack != _BATCH_STACK or row.model not in _BATCH_MODELS or row.device_count != 1 or not row.batch_size:
            continue
        seen[row.card, row.model, row.precision] = _batch_check(row, _memory_bytes(row.card, cards))
    return tuple(seen[key] for key in sorted(seen))


def _batch_check(row: Published, memory_bytes: float) -> BatchCheck:
    name = _BATCH_MODELS[row.model]

    def need(batch: int) -> Need:
        setup = Setup(batch_size=batch, tokens=_SQUAD_TOKENS, precision=row.precision)
        return network_need(NETWORKS[name], setup) if name in NETWORKS else training_need(MODELS[name], setup)

    return BatchCheck(
        f"{name}, {row.precision}, {row.card}",
        row.batch_size or 0,
        largest_batch(lambda batch: need(batch).high_bytes, memory_bytes),
        largest_batch(lambda batch: need(batch).low_bytes, memory_bytes),
    )


def compiled_checks() -> Iterator[CompiledCheck]:
    """Fit the line to two batch sizes of each workload and precision, check it on the third: between and beyond."""
    groups: dict[tuple[str, str], dict[int, int]] = {}
    for peak in compiled_peaks():
        groups.setdefault((peak.workload, peak.precision), {})[peak.batch_size] = peak.peak_bytes
    for (workload, precision), peaks in groups.items():
        if len(peaks) < 3:
            continue
        small, middle, large = sorted(peaks)
        for ends, held_out, where in (((small, large), middle, "between"), ((small, middle), large, "beyond")):
            line = line_through({batch: peaks[batch] for batch in ends}, "")
            error_ratio = line.need_bytes(held_out) / peaks[held_out] - 1
            how = f"{where} batches {ends[0]} and {ends[1]}"
            yield CompiledCheck(workload, precision, held_out, peaks[held_out], error_ratio, how)


def plan_checks() -> tuple[PlanCheck, ...]:
    """The largest surveyed batch of each workload whose need is also computed; contexts left out."""
    largest = {(peak.workload, peak.precision): peak for peak in sorted(compiled_peaks(), key=lambda p: p.batch_size)}
    checks = []
    for (workload, precision), peak in largest.items():
        setup = Setup(batch_size=peak.batch_size, precision=precision)
        if workload in NETWORKS:
            need = network_need(NETWORKS[workload], setup)
        elif workload in MODELS:
            need = training_need(MODELS[workload], setup)
        else:
            continue
        what = f"{workload}, {precision}, batch {peak.batch_size}"
        checks.append(PlanCheck(what, peak.peak_bytes, need.low_bytes - CONTEXT_BYTES, need.high_bytes - CONTEXT_BYTES))
    return tuple(checks)


def _memory_bytes(card: str, cards: dict[str, Card]) -> float:
    return float(_UNCATALOGUED_GB[card] * 2**30 if card in _UNCATALOGUED_GB else cards[card].memory_bytes)

"""What the memory model is held to: published peaks, published largest batches, and compilers' own plans."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import product
from typing import NamedTuple

from rtxbench.advice.memory.images import IMAGE_MODELS, image_need
from rtxbench.advice.memory.lines import line_through
from rtxbench.advice.memory.models import MODELS, NETWORKS
from rtxbench.advice.memory.need import CONTEXT_BYTES, Need, Setup, largest_batch, network_need, training_need
from rtxbench.advice.memory.practice import FRAMEWORKS, Framework
from rtxbench.advice.memory_basis import compiled_peaks
from rtxbench.catalog.cards import Card, load_cards
from rtxbench.catalog.published import Published, curated

__all__ = [
    "BatchCheck",
    "CompiledCheck",
    "PeakCheck",
    "PlanCheck",
    "PublishedPeak",
    "compiled_checks",
    "left_out_peak_checks",
    "plan_checks",
    "published_batch_checks",
    "published_peak_checks",
    "published_peaks",
]

_BATCH_MODELS = {"bert_base_squad": "bert-base", "bert_large_squad": "bert-large", "resnet50": "resnet50"}
_SQUAD_TOKENS = 384
_BATCH_STACK = "pytorch-1.13-ngc-22.10"
_UNCATALOGUED_GB = {"V100 16GB": 16, "H100 PCIe 80GB": 80}


class PublishedPeak(NamedTuple):
    """One peak somebody measured on a GPU (``catalog/memory_peaks.csv``)."""

    model: str
    setup: Setup
    peak_bytes: float
    with_context: bool
    """Whether the CUDA context is in it: read from the driver, not from the framework's allocator."""
    source: str


class PeakCheck(NamedTuple):
    """One published peak beside the computed range."""

    peak: PublishedPeak
    need: Need
    low_bytes: float
    high_bytes: float

    @property
    def inside(self) -> bool:
        """Whether the published peak lies in the range."""
        return self.low_bytes <= self.peak.peak_bytes <= self.high_bytes

    @property
    def error_ratio(self) -> float:
        """The middle of the range ÷ the published peak − 1."""
        return (self.low_bytes + self.high_bytes) / 2 / self.peak.peak_bytes - 1


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


@cache
def published_peaks() -> tuple[PublishedPeak, ...]:
    """Every published peak with its setup."""
    with resources.files("rtxbench.catalog").joinpath("memory_peaks.csv").open(encoding="utf-8") as stream:
        return tuple(_peak(row) for row in csv.DictReader(stream))


def _peak(row: Mapping[str, str]) -> PublishedPeak:
    setup = Setup(
        batch_size=int(row["batch_size"]),
        tokens=int(row["tokens"] or 0) or None,
        precision=row["precision"],
        optimizer=row["optimizer"],
        method=row["method"],
        checkpointing=row["checkpointing"] == "1",
        fused_attention=row["attention"] == "flash",
        rank=int(row["rank"]),
        framework=row["framework"],
        optimizer_in_backward=row["in_backward"] == "1",
        targets=row["targets"],
        resolution=int(row["resolution"] or 0) or None,
        fp8=row["fp8"] == "1",
        encoders_resident=row["encoders"] == "1",
    )
    return PublishedPeak(row["model"], setup, float(row["peak_gb"]) * 1e9, row["with_context"] == "1", row["source"])


def published_peak_checks() -> tuple[PeakCheck, ...]:
    """Each published peak beside its computed range."""
    return tuple(_peak_check(peak, FRAMEWORKS[peak.setup.framework]) for peak in published_peaks())


def _peak_check(peak: PublishedPeak, framework: Framework) -> PeakCheck:
    if peak.model in IMAGE_MODELS:
        need = image_need(IMAGE_MODELS[peak.model], peak.setup, framework)
    else:
        need = training_need(MODELS[peak.model], peak.setup, framework)
    context = 0.0 if peak.with_context else CONTEXT_BYTES
    return PeakCheck(peak, need, need.low_bytes - context, need.high_bytes - context)


def left_out_peak_checks() -> tuple[PeakCheck, ...]:
    """Each published peak where the framework's constants were chosen without any peak of its model.

    A framework seen with one model alone keeps its row: there is nothing to choose from.
    """
    checks = []
    for name in {peak.setup.framework for peak in published_peaks()}:
        peaks = [peak for peak in published_peaks() if peak.setup.framework == name]
        for model in sorted({peak.model for peak in peaks}):
            others = [peak for peak in peaks if peak.model != model]
            chosen = min(_candidates(name), key=lambda row: _ninth_decile(others, row)) if others else FRAMEWORKS[name]
            checks += [_peak_check(peak, chosen) for peak in peaks if peak.model == model]
    return tuple(checks)


def _candidates(name: str) -> list[Framework]:
    grid = product((6, 8, 10), (0.8, 1.0, 1.15), (1.0, 1.03, 1.06), (0.1e9, 0.6e9, 1.2e9, 1.6e9, 4e9))
    return [
        FRAMEWORKS[name]._replace(logit_bytes=logit, activation_ratio=act, reserve_ratio=reserve, fixed_bytes=fixed)
        for logit, act, reserve, fixed in grid
    ]


def _ninth_decile(peaks: Sequence[PublishedPeak], framework: Framework) -> float:
    errors = sorted(abs(math.log1p(_peak_check(peak, framework).error_ratio)) for peak in peaks)
    return errors[min(len(errors) - 1, int(0.9 * len(errors)))]


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

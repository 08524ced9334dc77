"""Public measurements of training throughput, and which of them may be used.

``python -m rtxbench.catalog.published`` counts the rows each filter drops and lists them with ``--list``. Nothing is
ever deleted from the data: a dropped row stays on disk with its source, and the filter says why it is not used.

A *stack* is one software build. Figures of two stacks are never one comparison: torch.compile alone is worth 1.67×
(median over public models) on the same card.
"""

import csv
import gzip
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import cache
from importlib import resources
from typing import NamedTuple, TypeAlias

from rtxbench.catalog.cards import Card, load_cards

__all__ = [
    "FILTERS",
    "PUBLISHERS",
    "WORKLOAD_MODELS",
    "Curated",
    "Published",
    "PublishedModel",
    "curated",
    "load_published",
    "workload_of",
]


class Published(NamedTuple):
    """One public measurement as printed, with its source."""

    source: str
    path: str
    license: str
    date: str
    framework: str
    stack: str
    model: str
    task: str
    """``train`` or ``infer``."""
    precision: str
    """Precision that really ran: NGC's "fp32" on Ampere is TF32."""
    precision_as_printed: str
    batch_size: int | None
    card: str
    """Catalogue name where the card is in the catalogue."""
    card_as_printed: str
    device_count: int
    """0 for a CPU."""
    metric: str
    value: float
    unit: str

    @property
    def case(self) -> tuple[str, str, str, str]:
        """Identity of the experiment on whatever hardware: stack, task, model, precision."""
        return self.stack, self.task, self.model, self.precision


class PublishedModel(NamedTuple):
    """A published model that stands for one of rtxbench's workloads, and how it differs from it."""

    model: str
    difference: str
    tokens: int | None = None
    """Sequence length of one example, where it is a language model."""


WORKLOAD_MODELS: Mapping[str, tuple[PublishedModel, ...]] = {
    "resnet50": (
        PublishedModel("resnet50", "same network at 224×224, in the publisher's framework"),
        PublishedModel("ResNet50", "Keras application at 224×224, XLA"),
    ),
    "bert-base": (PublishedModel("bert_base_squad", "BERT-base fine-tuned on SQuAD, sequences of 384 tokens", 384),),
    "bert-large": (
        PublishedModel("bert_large_squad", "BERT-large fine-tuned on SQuAD, sequences of 384 tokens", 384),
        PublishedModel("BERT-Large", "Keras with XLA"),
    ),
}
"""rtxbench workload → published stand-ins. A workload without a row has no published figure."""

PUBLISHERS: Mapping[str, str] = {
    # stack: who ran it. Ratios of two cards carry from one stack of a publisher to another.
    "pytorch-ngc-20.10": "Lambda",
    "pytorch-1.13-ngc-22.10": "Lambda",
}


def workload_of(model: str) -> tuple[str, int | None]:
    """Rtxbench's workload a published model stands for, and its tokens an example; the model's own name without one."""
    for workload, stand_ins in WORKLOAD_MODELS.items():
        for stand_in in stand_ins:
            if stand_in.model == model:
                return workload, stand_in.tokens
    return model, None


_PRE_AMPERE = ("GeForce RTX 2080 Ti", "V100 16GB")


class _Context(NamedTuple):
    """Medians that a filter may compare a row with."""

    single_device: Mapping[tuple[object, ...], float]
    tf32: Mapping[tuple[object, ...], float]
    fewer: Mapping[tuple[object, ...], float]
    """The most that one or two of a card gave."""
    beaten: Set[Published]
    """Single-card training rows of which a card that is better in everything was much slower, or the reverse."""


Predicate: TypeAlias = Callable[[Published, _Context], bool]


def _scales_too_well(row: Published, context: _Context) -> bool:
    single = context.single_device.get((*row.case, row.card))
    return row.device_count > 1 and single is not None and row.value > 1.10 * row.device_count * single


def _half_slower_than_full(row: Published, context: _Context) -> bool:
    full = context.tf32.get((row.stack, row.task, row.model, row.card, row.device_count))
    return row.precision == "mixed_float16" and row.task == "train" and full is not None and row.value < 0.9 * full


def _pairs_out_of_order(rows: Sequence[Published]) -> Set[Published]:
    """Find both rows where a card with at least all of another's figures, and its batch, is over 10 % slower."""
    cards, cases = load_cards(), defaultdict(list)
    for row in rows:
        if row.task == "train" and row.device_count == 1 and row.card in cards and row.batch_size and row.value > 0:
            cases[row.case].append(row)
    return {
        row
        for members in cases.values()
        for better in members
        for worse in members
        if better.value < 0.9 * worse.value and _has_everything(better, worse, cards)
        for row in (better, worse)
    }


def _has_everything(one: Published, other: Published, cards: Mapping[str, Card]) -> bool:
    """Tell whether ``one`` ran on a card of the other's architecture with at least all that it has, and its batch."""

    def figures(row: Published) -> tuple[float, ...]:
        """Collect all that the laws read of a row and its card; a zero is a gap."""
        card = cards[row.card]
        cycles = (card.sm_count or 0) * (card.boost_clock_hz or 0)
        rate, power = card.peak_flop_per_s(row.precision) or 0.0, card.power_limit_w or 0.0
        return (rate, card.memory_bandwidth_bytes_per_s, card.memory_bytes, cycles, power, row.batch_size or 0)

    pairs = zip(figures(one), figures(other), strict=True)
    same = cards[one.card].architecture == cards[other.card].architecture
    return same and one.card != other.card and all(mine >= theirs for mine, theirs in pairs)


FILTERS: tuple[tuple[str, Predicate, str], ...] = (
    ("not-throughput", lambda row, _: row.metric != "throughput", "a power or relative figure, not a throughput"),
    ("not-positive", lambda row, _: row.value <= 0, "zero or negative: a failed run written as a number"),
    ("approximate", lambda row, _: "(" in row.unit, "the source gives a range or an approximation"),
    ("precision-unknown", lambda row, _: row.precision == "unknown", "the source does not say which precision ran"),
    (
        "mixed-stack",
        lambda row, _: row.stack == "pytorch-ngc-20.10" and row.card in _PRE_AMPERE,
        "the source names two container releases for one table; only cards of Ampere and newer must have run the later",
    ),
    (
        "scaling-above-110-percent",
        _scales_too_well,
        "several devices beat N times one device by more than 10 %: one of the two figures is wrong",
    ),
    (
        "more-cards-slower-than-fewer",
        lambda row, context: row.device_count > 2 and row.value < context.fewer.get((*row.case, row.card), 0.0),
        "four or eight cards slower than one or two of them: a fault of that run",
    ),
    (
        "half-slower-than-full",
        _half_slower_than_full,
        "mixed precision more than 10 % slower than TF32 of the same card, stack and model: a fault of that run",
    ),
    (
        "slower-than-a-lesser-card",
        lambda row, context: row in context.beaten,
        "more than 10 % slower than a card of its architecture that it equals or exceeds in every figure, or the other "
        "of the two: one is wrong, and nothing says which",
    ),
)
"""Literal table of (name, predicate, reason). A row is dropped by the first filter that holds."""


class Curated(NamedTuple):
    """Rows that may be used, and those dropped with the name of the filter."""

    kept: tuple[Published, ...]
    dropped: tuple[tuple[str, Published], ...]


@cache
def load_published() -> tuple[Published, ...]:
    """Load every published row of the package, unfiltered."""
    with resources.files("rtxbench.catalog").joinpath("published.csv.gz").open("rb") as raw:
        text = gzip.decompress(raw.read()).decode("utf-8")
    return tuple(_row(row) for row in csv.DictReader(text.splitlines()))


def curated(rows: Sequence[Published] | None = None) -> Curated:
    """Split rows (default: the package's) by `FILTERS`."""
    return _curated_package() if rows is None else _split(rows)


@cache
def _curated_package() -> Curated:
    return _split(load_published())


def _split(rows: Sequence[Published]) -> Curated:
    context = _Context(
        single_device=_medians(((*r.case, r.card), r.value) for r in rows if r.device_count == 1),
        tf32=_medians(
            ((r.stack, r.task, r.model, r.card, r.device_count), r.value) for r in rows if r.precision == "tf32"
        ),
        fewer=_most(((*r.case, r.card), r.value) for r in rows if r.device_count in (1, 2)),
        beaten=_pairs_out_of_order(rows),
    )
    kept: list[Published] = []
    dropped: list[tuple[str, Published]] = []
    for row in rows:
        name = next((name for name, predicate, _ in FILTERS if predicate(row, context)), None)
        if name is None:
            kept.append(row)
        else:
            dropped.append((name, row))
    return Curated(tuple(kept), tuple(dropped))


def _row(row: Mapping[str, str]) -> Published:
    return Published(
        **{name: row[name] for name in Published._fields if name not in ("batch_size", "device_count", "value")},
        batch_size=int(row["batch_size"]) if row["batch_size"] else None,
        device_count=int(row["device_count"]),
        value=float(row["value"]),
    )


def _most(pairs: Iterable[tuple[tuple[object, ...], float]]) -> dict[tuple[object, ...], float]:
    found: dict[tuple[object, ...], float] = {}
    for key, value in pairs:
        found[key] = max(value, found.get(key, 0.0))
    return found


def _medians(pairs: Iterable[tuple[tuple[object, ...], float]]) -> dict[tuple[object, ...], float]:
    groups: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return {key: statistics.median(values) for key, values in groups.items()}


def summary(curation: Curated, listing: bool) -> str:
    """Counts per filter with its reason; with ``listing`` every dropped row and its source."""
    lines = [f"{len(curation.kept)} rows kept, {len(curation.dropped)} dropped"]
    for name, _, reason in FILTERS:
        rows = [row for dropped_by, row in curation.dropped if dropped_by == name]
        lines.append(f"{len(rows):5d}  {name}: {reason}")
        if listing:
            lines += [
                f"       {r.card} ×{r.device_count} {r.model} {r.precision}: {r.value:g} {r.unit} [{r.stack}] {r.path}"
                for r in rows
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(summary(curated(), "--list" in sys.argv[1:]) + "\n")

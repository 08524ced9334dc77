"""Training throughput of a card nobody measured, from cards somebody did: anchors, a scaling law, a checked range.

Every method has one shape. A *scaling law* h(card, case) says how log throughput should vary with the card's paper
figures and the batch; the anchors (the same case on other cards, same software stack, same card class) say where it
stands. The prediction for card t is

    log v̂(t) = mean over anchors a of [log v(a) − h(a)] + h(t)

so that a constant error of h cancels. Laws differ in what they believe (`METHODS`); which one is used was decided by
cross-validation over the published data (`tools.cross_validation`, docs/prediction.md), and the range is
the split-conformal quantile of the errors the method made there on cards it had not seen.

References: wave scaling after Yu et al., "Habitat", USENIX ATC 2021; roofline after Williams et al., CACM 52(4), 2009;
conformal range after Lei et al., JASA 113 (2018).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtxbench.catalog.cards import Card
from rtxbench.catalog.published import Published

__all__ = [
    "CHOSEN_METHOD",
    "METHODS",
    "Experiment",
    "Law",
    "Method",
    "Points",
    "anchored",
    "conformal_log_half_width",
    "leave_one_card_out",
    "points_of",
    "training_points",
]

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.str_]
Masks: TypeAlias = NDArray[np.bool_]


class Experiment(NamedTuple):
    """One experiment that different cards can run."""

    stack: str
    model: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Points:
    """Single-device training throughputs as parallel arrays of length n; logarithms are natural."""

    card: Labels
    card_class: Labels
    stack: Labels
    model: Labels
    precision: Labels
    log_throughput: Floats
    log_flops: Floats
    """Paper peak of the unit that runs this precision, FLOP/s."""
    log_bandwidth: Floats
    """Paper memory bandwidth, byte/s."""
    log_waves: Floats
    """SM count × boost clock: how fast waves of thread blocks retire."""
    log_batch: Floats

    def __len__(self) -> int:
        return len(self.card)

    def take(self, chosen: Masks) -> "Points":
        """The points where ``chosen`` (n booleans) holds."""
        return Points(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @cached_property
    def group(self) -> Labels:
        """Points of one group may anchor each other: same stack, card class, model and precision."""
        return _joined(self.stack, self.card_class, self.model, self.precision)


Law: TypeAlias = Callable[[Points], Floats]
"""h: points → log throughput up to a constant per group."""


class Method(NamedTuple):
    """A way to fit a scaling law, and the settings cross-validation may choose from."""

    fit: Callable[[Points, Mapping[str, float]], Law]
    grid: tuple[Mapping[str, float], ...]
    belief: str


def training_points(rows: Sequence[Published], cards: Mapping[str, Card]) -> Points:
    """Single-device training rows of catalogued cards; several hosts of one card become their geometric mean."""
    merged: dict[tuple[str, ...], list[Published]] = {}
    for row in rows:
        usable = row.task == "train" and row.device_count == 1 and row.batch_size is not None and row.card in cards
        # Other datacenter chips share neither class formula nor memory with the cards that are predicted.
        usable = usable and cards[row.card].architecture not in ("Volta", "Hopper")
        if usable and cards[row.card].peak_flop_per_s(row.precision) and cards[row.card].sm_count:
            merged.setdefault((row.card, row.stack, row.model, row.precision, str(row.batch_size)), []).append(row)
    # One batch size per card and case: the largest published, which is how the figures are quoted.
    largest: dict[tuple[str, ...], list[Published]] = {}
    for key, group in sorted(merged.items(), key=lambda item: int(item[0][4])):
        largest[key[:4]] = group
    shared = Counter(key[1:] for key in largest)  # a case on one card alone says nothing of how cards differ
    return points_of(
        [
            (cards[card], Experiment(stack, model, precision), _batch(group), _geometric_mean([r.value for r in group]))
            for (card, stack, model, precision), group in sorted(largest.items())
            if shared[stack, model, precision] > 1
        ]
    )


def points_of(entries: Sequence[tuple[Card, Experiment, int, float]]) -> Points:
    """Points from (card, case, batch size, throughput per second); throughput 1.0 for a query."""

    def column(of: Callable[[tuple[Card, Experiment, int, float]], float]) -> Floats:
        return np.array([math.log(of(entry)) for entry in entries], dtype=np.float64)

    return Points(
        card=np.array([card.name for card, *_ in entries], dtype=np.str_),
        card_class=np.array([card.card_class for card, *_ in entries], dtype=np.str_),
        stack=np.array([entry[1].stack for entry in entries], dtype=np.str_),
        model=np.array([entry[1].model for entry in entries], dtype=np.str_),
        precision=np.array([entry[1].precision for entry in entries], dtype=np.str_),
        log_throughput=column(lambda entry: entry[3]),
        log_flops=column(lambda entry: entry[0].peak_flop_per_s(entry[1].precision) or math.nan),
        log_bandwidth=column(lambda entry: entry[0].memory_bandwidth_bytes_per_s),
        log_waves=column(lambda entry: (entry[0].sm_count or math.nan) * (entry[0].boost_clock_hz or math.nan)),
        log_batch=column(lambda entry: entry[2]),
    )


def _fixed_exponents(compute: float) -> Callable[[Points, Mapping[str, float]], Law]:
    def fit(_: Points, __: Mapping[str, float]) -> Law:
        return lambda points: compute * points.log_flops + (1 - compute) * points.log_bandwidth

    return fit


def _per_case(score: Callable[[Points, float], Floats], train: Points) -> Law:
    """Give each (model, precision) the share in 0..1 whose law leaves the least spread within its groups."""
    shares = np.linspace(0.0, 1.0, 21)
    keys = _joined(train.model, train.precision)
    spread = _within(train.log_throughput - np.stack([score(train, s) for s in shares]), train.group) ** 2
    overall = float(shares[spread.sum(axis=1).argmin()])
    best = {str(key): float(shares[spread[:, keys == key].sum(axis=1).argmin()]) for key in np.unique(keys)}

    def law(points: Points) -> Floats:
        chosen = [best.get(str(key), overall) for key in _joined(points.model, points.precision)]
        table = np.stack([score(points, s) for s in shares])
        return np.asarray(table[np.searchsorted(shares, chosen), np.arange(len(points))], dtype=np.float64)

    return law


def _fit_roofline_share(train: Points, _: Mapping[str, float]) -> Law:
    """Time per example = share ÷ FLOP/s + (1 − share) ÷ bandwidth, both relative to a reference card."""
    flops_0, bandwidth_0 = train.log_flops.mean(), train.log_bandwidth.mean()

    def score(points: Points, share: float) -> Floats:
        compute = share * np.exp(flops_0 - points.log_flops)
        memory = (1 - share) * np.exp(bandwidth_0 - points.log_bandwidth)
        return np.asarray(-np.log(compute + memory), dtype=np.float64)

    return _per_case(score, train)


def _fit_wave_scaling(train: Points, _: Mapping[str, float]) -> Law:
    """Habitat: time scales with bandwidth^−γ × (SM count × clock)^−(1−γ), γ per case."""
    return _per_case(lambda points, gamma: gamma * points.log_bandwidth + (1 - gamma) * points.log_waves, train)


def _fit_batch_aware(train: Points, settings: Mapping[str, float]) -> Law:
    """FLOP/s^α × bandwidth^(1−α) × batch^c, c per model, shrunk toward the pooled slope.

    Published batches are the largest that fit: a small card is starved by its batch, not by its arithmetic. Ignoring
    that charges the card's memory to its speed.
    """
    compute, ridge = settings["compute_exponent"], settings["ridge"]

    def hardware(points: Points) -> Floats:
        return compute * points.log_flops + (1 - compute) * points.log_bandwidth

    batch = _within(train.log_batch, train.group)
    rest = _within(train.log_throughput - hardware(train), train.group)
    pooled = float(batch @ rest / (batch @ batch + 0.01))
    slopes = {}
    for model in np.unique(train.model):
        x, y = batch[train.model == model], rest[train.model == model]
        slopes[str(model)] = pooled + float(x @ (y - pooled * x) / (x @ x + ridge))

    def law(points: Points) -> Floats:
        slope = np.array([slopes.get(str(model), pooled) for model in points.model])
        return hardware(points) + slope * points.log_batch

    return law


def _fit_batch_saturation(train: Points, settings: Mapping[str, float]) -> Law:
    """FLOP/s^α × bandwidth^(1−α) × b ÷ (b + κ): a step costs a fixed time plus a time per example, κ per model.

    κ is searched relative to the model's median batch, from nothing to seven times it, and shrunk toward the value
    that serves all models best.
    """
    compute, ridge = settings["compute_exponent"], settings["ridge"]
    grid = np.concatenate([[_NO_FIXED_COST], np.linspace(-5.0, 2.0, 29)])
    centre = {str(m): float(np.median(train.log_batch[train.model == m])) for m in np.unique(train.model)}

    def hardware(points: Points) -> Floats:
        return compute * points.log_flops + (1 - compute) * points.log_bandwidth

    def saturation(points: Points) -> Floats:
        """Log share of the saturated throughput, one row per grid value (grid, n)."""
        middle = np.array([centre.get(str(m), float(b)) for m, b in zip(points.model, points.log_batch, strict=True)])
        return np.asarray(-np.log1p(np.exp(grid[:, None] + middle - points.log_batch)), dtype=np.float64)

    rest, table = train.log_throughput - hardware(train), saturation(train)
    spread = _within(rest - table, train.group) ** 2
    pooled = int(spread.sum(axis=1).argmin())
    pull = ridge * (np.maximum(grid, -6.0) - max(grid[pooled], -6.0)) ** 2
    best = {m: int((spread[:, train.model == m].sum(axis=1) + pull).argmin()) for m in centre}

    def law(points: Points) -> Floats:
        chosen = np.array([best.get(str(model), pooled) for model in points.model], dtype=np.intp)
        return np.asarray(hardware(points) + saturation(points)[chosen, np.arange(len(points))], dtype=np.float64)

    return law


_NO_FIXED_COST = -20.0


METHODS: Mapping[str, Method] = {
    "flops-ratio": Method(_fixed_exponents(1.0), ({},), "throughput follows peak FLOP/s at the precision"),
    "bandwidth-ratio": Method(_fixed_exponents(0.0), ({},), "throughput follows memory bandwidth"),
    "geometric-mean": Method(_fixed_exponents(0.5), ({},), "√(FLOP/s × bandwidth)"),
    "wave-scaling": Method(_fit_wave_scaling, ({},), "bandwidth^γ × (SM × clock)^(1−γ), γ fitted per case"),
    "roofline-share": Method(_fit_roofline_share, ({},), "a compute share and a memory share of time, fitted per case"),
    "batch-aware": Method(
        _fit_batch_aware,
        tuple(
            {"compute_exponent": exponent, "ridge": ridge}
            for exponent in (0.4, 0.5, 0.6, 0.7)
            for ridge in (0.3, 1.0, 3.0)
        ),
        "FLOP/s^α × bandwidth^(1−α) × batch^c, c per model",
    ),
    "batch-saturation": Method(
        _fit_batch_saturation,
        tuple(
            {"compute_exponent": exponent, "ridge": ridge}
            for exponent in (0.4, 0.5, 0.6, 0.7)
            for ridge in (0.001, 0.01, 0.1)
        ),
        "FLOP/s^α × bandwidth^(1−α) × b ÷ (b + κ): a fixed cost per step, κ per model",
    ),
}
"""Candidates of the cross-validation, by name."""

CHOSEN_METHOD: tuple[str, Mapping[str, float]] = ("batch-saturation", {"compute_exponent": 0.6, "ridge": 0.001})
"""What the cross-validation over the package's published data chose; a test holds it to that."""


def anchored(train: Points, query: Points, law: Law) -> Floats:
    """Predicted log throughput of ``query`` (n), NaN where no point of ``train`` is in the same group."""
    groups, inverse = np.unique(np.concatenate([train.group, query.group]), return_inverse=True)
    rest = train.log_throughput - law(train)
    mine, theirs = inverse[: len(train)], inverse[len(train) :]
    count = np.bincount(mine, minlength=len(groups))
    total = np.bincount(mine, weights=rest, minlength=len(groups))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((total / count)[theirs] + law(query), dtype=np.float64)


def leave_one_card_out(points: Points, method: str, settings: Mapping[str, float]) -> Floats:
    """Predicted log throughput of every point (n) from the other cards alone; NaN where no anchor is left.

    The held-out card is removed from every stack, so nothing fitted has seen it.
    """
    predicted = np.full(len(points), np.nan)
    for card in np.unique(points.card):
        out = points.card == card
        train = points.take(~out)
        predicted[out] = anchored(train, points.take(out), METHODS[method].fit(train, settings))
    return predicted


def conformal_log_half_width(errors: Floats, coverage: float = 0.90) -> float:
    """Half-width q (log scale) that covers a new error of the same kind with probability ≥ ``coverage``.

    ``errors`` are out-of-sample log errors (NaN ignored). Split conformal: the ⌈(n+1)·coverage⌉-th smallest |error|.

    Raises:
        ValueError: too few errors for that coverage.
    """
    sizes = np.sort(np.abs(errors[~np.isnan(errors)]))
    rank = math.ceil((len(sizes) + 1) * coverage)
    if rank > len(sizes):
        raise ValueError(f"{len(sizes)} errors cannot support a {coverage:.0%} range")
    return float(sizes[rank - 1])


def _within(values: Floats, groups: Labels) -> Floats:
    """``values`` (…, n) less the mean of their group (n labels)."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(values[..., order], starts, axis=-1)
    return np.asarray(values - (sums / counts)[..., inverse], dtype=np.float64)


def _joined(*columns: Labels) -> Labels:
    return np.array(["|".join(parts) for parts in zip(*columns, strict=True)], dtype=np.str_)


def _batch(group: Sequence[Published]) -> int:
    return group[0].batch_size or 1


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(value) for value in values) / len(values))

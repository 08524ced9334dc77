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
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from rtxbench.advice.prediction.kernel_law import fit_kernel_roofline
from rtxbench.advice.prediction.points import Floats, Labels, Points, joined
from rtxbench.units import format_percent

__all__ = [
    "CHOSEN_METHODS",
    "METHODS",
    "Choice",
    "Fit",
    "Law",
    "Method",
    "anchored",
    "conformal_log_half_width",
    "first_that_speaks",
    "fit_law",
    "leave_one_card_out",
]

Law: TypeAlias = Callable[[Points], Floats]
"""h: points → log throughput up to a constant per group."""


Fit: TypeAlias = Callable[[Points, str, Mapping[str, float]], Law]
"""Fits the law of a named method, with settings, to points."""


class Method(NamedTuple):
    """A way to fit a scaling law, and the settings cross-validation may choose from."""

    fit: Callable[[Points, Mapping[str, float]], Law]
    grid: tuple[Mapping[str, float], ...]
    belief: str
    crosses_classes: bool = False
    """Anchors of other card classes count too."""


def _fixed_exponents(compute: float) -> Callable[[Points, Mapping[str, float]], Law]:
    def fit(_: Points, __: Mapping[str, float]) -> Law:
        return lambda points: compute * points.log_flops + (1 - compute) * points.log_bandwidth

    return fit


def _per_case(score: Callable[[Points, float], Floats], train: Points) -> Law:
    """Give each (model, precision) the share in 0..1 whose law leaves the least spread within its groups."""
    shares = np.linspace(0.0, 1.0, 21)
    keys = joined(train.model, train.precision)
    spread = _within(train.log_throughput - np.stack([score(train, s) for s in shares]), train.group) ** 2
    overall = float(shares[spread.sum(axis=1).argmin()])
    best = {str(key): float(shares[spread[:, keys == key].sum(axis=1).argmin()]) for key in np.unique(keys)}

    def law(points: Points) -> Floats:
        chosen = [best.get(str(key), overall) for key in joined(points.model, points.precision)]
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
    "kernel-roofline": Method(
        fit_kernel_roofline,
        ({},),
        "a roofline per kernel of the model's own program, seven constants for all",
        crosses_classes=True,
    ),
}
"""Candidates of the cross-validation, by name."""

Choice: TypeAlias = tuple[str, Mapping[str, float]]
"""A method and its settings."""

CHOSEN_METHODS: tuple[Choice, ...] = (
    ("kernel-roofline", {}),
    ("batch-saturation", {"compute_exponent": 0.6, "ridge": 0.001}),
)
"""Choice of the cross-validation over the package's published data, to which a test holds it: the first that speaks of
a model predicts it."""

_OWN_CLASS_WEIGHT = 3.0
"""Weight of an anchor of the card's own class against one of another."""


def anchored(
    train: Points, query: Points, law: Law, *, crosses_classes: bool = False, own_class: bool = True
) -> Floats:
    """Predicted log throughput of ``query`` (n), NaN where no point of ``train`` may anchor it.

    Args:
        train: published points.
        query: what is asked.
        law: fitted to ``train``.
        crosses_classes: anchors of other card classes count, those of the card's own three times.
        own_class: with False those of the card's own class do not count.
    """
    rest = train.log_throughput - law(train)
    count, total = _sums(train.group, query.group, rest)
    if crosses_classes:
        every, sums = _sums(train.case, query.case, rest)
        weight = _OWN_CLASS_WEIGHT - 1 if own_class else -1.0
        count, total = every + weight * count, sums + weight * total
        total = np.where(count > 0, total, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count + law(query), dtype=np.float64)


def _sums(groups: Labels, wanted: Labels, values: Floats) -> tuple[Floats, Floats]:
    """Count the values of each wanted group, and sum them."""
    names, inverse = np.unique(np.concatenate([groups, wanted]), return_inverse=True)
    mine, theirs = inverse[: len(groups)], inverse[len(groups) :]
    count = np.bincount(mine, minlength=len(names)).astype(np.float64)
    total = np.bincount(mine, weights=values, minlength=len(names)).astype(np.float64)
    return count[theirs], total[theirs]


def fit_law(train: Points, method: str, settings: Mapping[str, float]) -> Law:
    """Fit a method of `METHODS` to ``train``."""
    return METHODS[method].fit(train, settings)


def leave_one_card_out(
    points: Points, method: str, settings: Mapping[str, float], fit: Fit = fit_law, *, own_class: bool = True
) -> Floats:
    """Predict the log throughput of every point (n) from the other cards alone; NaN where no anchor is left.

    The held-out card is removed from every stack, so nothing fitted has seen it.

    Args:
        points: published points.
        method: key of `METHODS`.
        settings: one of the method's grid.
        fit: `fit_law`, or one that remembers what it has fitted.
        own_class: as in `anchored`.
    """
    predicted, crosses = np.full(len(points), np.nan), METHODS[method].crosses_classes
    for out, train, query in points.card_splits:
        law = fit(train, method, settings)
        predicted[out] = anchored(train, query, law, crosses_classes=crosses, own_class=own_class)
    return predicted


def first_that_speaks(predictions: Sequence[Floats]) -> Floats:
    """Take of several predictions (n each) the first that is no NaN."""
    result = predictions[0]
    for other in predictions[1:]:
        result = np.where(np.isnan(result), other, result)
    return np.asarray(result, dtype=np.float64)


def conformal_log_half_width(errors: Floats, coverage: float = 0.90) -> float:
    """Half-width q (log scale) that covers a new error of the same kind with probability ≥ ``coverage``.

    ``errors`` are out-of-sample log errors (NaN ignored). Split conformal: the ⌈(n+1)·coverage⌉-th smallest |error|.

    Raises:
        ValueError: too few errors for that coverage.
    """
    sizes = np.sort(np.abs(errors[~np.isnan(errors)]))
    rank = math.ceil((len(sizes) + 1) * coverage)
    if rank > len(sizes):
        raise ValueError(f"{len(sizes)} errors cannot support a {format_percent(coverage, 0)} range")
    return float(sizes[rank - 1])


def _within(values: Floats, groups: Labels) -> Floats:
    """Subtract from ``values`` (…, n) the mean of their group (n labels)."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(values[..., order], starts, axis=-1)
    return np.asarray(values - (sums / counts)[..., inverse], dtype=np.float64)

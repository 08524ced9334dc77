"""Summarise the gate's self-test: rates from gates that were run, and from gates replayed on their launches.

A replayed gate draws launches, without replacement, from all that were measured at one planted slow-down and decides
on them as a real gate would. Beside it stands what ``--benchmark-compare-fail=min:5%`` says when the baseline blocks
of one launch are the stored run and the candidate blocks of a later launch are the run compared with it.

Replayed gates share launches, so a thousand of them are no thousand experiments: their interval is as wide as that of
the gates which the launches could make if each were used once.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtxbench.gate.records import NOTHING, Planting, planted_in
from rtxbench.gate.statistics.decision import LAUNCHES_MOST, replay
from rtxbench.gate.statistics.operating_characteristics import compare_min_alarm
from rtxbench.records import GATE_SELFTEST_TOPIC, Estimate, Observation
from rtxbench.stats import clopper_pearson

__all__ = ["SelftestRow", "selftest_rows"]

_BOOTSTRAP: Final = 400


class SelftestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One planted increase (0: an A/A test). Shares carry 95 % intervals over gates that share no launch.

    Only gates of step time are replayed: other quantities have no stored baseline to stand beside.
    """

    planted_ratio: float
    planted_quantity: str = "step time"

    @property
    def planted(self) -> Planting:
        """Planted slow-down."""
        return Planting(self.planted_quantity, self.planted_ratio)

    gates: int
    """Gates really run, from launch to outcome."""
    regression: Estimate | None
    inconclusive: int
    launches_mean: float | None
    replayed_gates: int
    replayed_regression: Estimate | None
    replayed_from: Literal["planted launches", "A/A launches, shifted"]
    launches: int
    """Real launches that the replayed gates are drawn from."""
    stored_baseline: Estimate | None
    """``--benchmark-compare-fail=min:5%`` on the same data; ``n`` is the number of launches."""


class _Launch(NamedTuple):
    log_ratio: float
    baseline_min_s: float
    candidate_min_s: float


def selftest_rows(observations: Iterable[Observation], replayed: int = 1000, seed: int = 22) -> list[SelftestRow]:
    """Make one row per planted slow-down found among the self-test's records, smallest first.

    Args:
        observations: of topic ``gate-selftest``; others are passed over.
        replayed: gates to replay per row.
        seed: of the draws.
    """
    chosen = sorted((o for o in observations if o.topic == GATE_SELFTEST_TOPIC), key=lambda o: o.finished_at)
    levels = sorted({planted_in(o) for o in chosen}, key=lambda one: (-len(one.quantity), one.ratio))
    pools = {
        level: [_launch(o) for o in chosen if o.metric == "step_time_s" and planted_in(o) == level] for level in levels
    }
    gates = {level: [o for o in chosen if o.metric == "log_ratio" and planted_in(o) == level] for level in levels}
    generator = np.random.default_rng(seed)
    return [_row(level, gates[level], pools[level], pools.get(NOTHING, []), replayed, generator) for level in levels]


def _row(
    level: Planting,
    gates: Sequence[Observation],
    own: list[_Launch],
    unplanted: list[_Launch],
    replayed: int,
    generator: np.random.Generator,
) -> SelftestRow:
    outcomes = [gate.labels["outcome"] for gate in gates]
    enough = len(own) >= LAUNCHES_MOST or len(own) >= len(unplanted)
    pool = own if enough else [_shifted(launch, level.ratio) for launch in unplanted]
    pool = pool if level.quantity == "step time" else []
    share = _replayed_regressions(pool, replayed, generator) if len(pool) >= LAUNCHES_MOST else None
    return SelftestRow(
        planted_ratio=level.ratio,
        planted_quantity=level.quantity,
        gates=len(gates),
        regression=clopper_pearson(outcomes.count("regression"), len(gates)) if gates else None,
        inconclusive=outcomes.count("inconclusive"),
        launches_mean=float(np.mean([float(gate.labels["launches"]) for gate in gates])) if gates else None,
        replayed_gates=0 if share is None else replayed,
        replayed_regression=share,
        replayed_from="planted launches" if enough else "A/A launches, shifted",
        launches=len(pool),
        stored_baseline=_stored_baseline(pool, generator),
    )


def _replayed_regressions(pool: Sequence[_Launch], gates: int, generator: np.random.Generator) -> Estimate:
    """Share of the replayed gates; ``n`` is the number of gates the pool could make without using a launch twice."""
    values = np.array([launch.log_ratio for launch in pool])
    played = [replay(generator.permutation(values)[:LAUNCHES_MOST].tolist()) for _ in range(gates)]
    share = sum(decision.outcome == "regression" for decision, _used in played) / gates
    apart = max(1, int(len(pool) / np.mean([used for _decision, used in played])))
    most, least = clopper_pearson(math.ceil(share * apart), apart), clopper_pearson(math.floor(share * apart), apart)
    return Estimate(value=share, low=least.low, high=most.high, n=apart, confidence=0.95)


def _stored_baseline(pool: Sequence[_Launch], generator: np.random.Generator) -> Estimate | None:
    """Share of (earlier, later) pairs of launches that alarm; the interval is a bootstrap over launches."""
    if len(pool) < 3:
        return None
    alarms = np.array(
        [[compare_min_alarm(old.baseline_min_s, new.candidate_min_s) for new in pool] for old in pool], dtype=float
    )
    later = np.triu(np.ones_like(alarms), k=1)
    resampled = [_share(alarms, later, generator.integers(0, len(pool), len(pool))) for _ in range(_BOOTSTRAP)]
    low, high = np.nanquantile(resampled, (0.025, 0.975))
    value = float((alarms * later).sum() / later.sum())
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value), n=len(pool))


def _share(alarms: NDArray[np.float64], later: NDArray[np.float64], drawn: NDArray[np.int64]) -> float:
    """Count the same share when launches are drawn with replacement."""
    weights = np.bincount(drawn, minlength=len(alarms)).astype(float)
    pairs = later * np.outer(weights, weights)
    return float((alarms * pairs).sum() / pairs.sum()) if pairs.any() else float("nan")


def _shifted(launch: _Launch, level: float) -> _Launch:
    """Return the launch as it would be, had the candidate's steps taken (1 + level) as long."""
    return _Launch(
        launch.log_ratio + float(np.log1p(level)), launch.baseline_min_s, launch.candidate_min_s * (1 + level)
    )


def _launch(observation: Observation) -> _Launch:
    times_s = np.asarray(observation.values).reshape(-1, 2, 2)
    assert observation.estimate is not None
    return _Launch(observation.estimate.value, float(times_s[:, 0].min()), float(times_s[:, 1].min()))

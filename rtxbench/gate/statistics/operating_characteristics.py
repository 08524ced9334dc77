"""Simulate what the statistics promise: interval coverage, and the gate's false alarms and power.

Every figure here is *simulated* (see `.noise`); the real counterpart is ``rtxbench selftest gate``.
"""

import itertools
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtxbench.gate.statistics.decision import DEFAULT_MARGINS, LAUNCHES_MOST, GateOutcome, replay
from rtxbench.gate.statistics.noise import (
    LAUNCH_REGIMES,
    REGIMES,
    NoiseRegime,
    paired_log_ratios,
    simulate_blocks,
    simulate_log_ratios,
)
from rtxbench.records import Estimate
from rtxbench.stats import lower_bound, student_t, upper_bound, wilson

__all__ = [
    "Coverage",
    "GateRate",
    "PoolRow",
    "RuleRate",
    "RuleRow",
    "compare_min_alarm",
    "coverage",
    "coverage_table",
    "former_replay",
    "gate_rates",
    "gate_table",
    "pool_table",
    "pool_turn",
    "rule_table",
]

ROUNDS: Final = 16
PAIRS: Final = 5
"""Of processes in a launch of a step that starts quickly; six where the machine is idle."""
_FORMER_MOST: Final = 17
"""Launches the first edition's rule took at most."""


class Coverage(NamedTuple):
    """Frequency with which the nominal 95 % interval over ``launches`` launches holds the truth in one regime."""

    regime: str
    launches: int
    share: Estimate


class GateRate(NamedTuple):
    """Frequency with which the gate, and a stored baseline with a 5 % limit on the minimum, call it a regression."""

    regime: str
    slowdown_ratio: float
    regression: Estimate
    inconclusive: Estimate
    stored_baseline_alarm: Estimate
    launches_mean: float


class RuleRate(NamedTuple):
    """Frequencies with which one rule's gates end in each outcome."""

    regression: float
    passed: float
    inconclusive: float
    launches_mean: float

    @property
    def text(self) -> str:
        """``99.9 / 0.1 / 0.0, 5.4``: shares in per cent and mean launches."""
        shares = " / ".join(f"{100 * share:.1f}" for share in (self.regression, self.passed, self.inconclusive))
        return f"{shares}, {self.launches_mean:.1f}"


class RuleRow(NamedTuple):
    """The present rule beside the first edition's in the same simulated noise."""

    regime: str
    slowdown_ratio: float
    former: RuleRate
    """Of launches that are one pair of processes, as the first edition's were."""
    present: RuleRate
    """Of launches of `PAIRS` pairs."""
    slow_start: RuleRate
    """The present rule on the former's launches: what a step that starts slowly gets."""


def coverage(log_ratios: NDArray[np.float64], truth: float, confidence: float = 0.95) -> Estimate:
    """Share of experiments whose launch-level t interval holds ``truth``, with its own interval (Wilson).

    Args:
        log_ratios: shape (experiments, launches), at least 2 launches.
        truth: the log-ratio that was simulated.
        confidence: nominal, of the t interval.
    """
    launches = log_ratios.shape[1]
    half = student_t(0.5 + confidence / 2, launches - 1) * log_ratios.std(axis=1, ddof=1) / np.sqrt(launches)
    held = np.abs(log_ratios.mean(axis=1) - truth) <= half
    return wilson(int(held.sum()), held.size)


def coverage_table(
    experiments: int = 5000, launch_counts: Sequence[int] = (5, 8), slowdown_ratio: float = 0.02, seed: int = 20
) -> list[Coverage]:
    """Coverage of the 95 % interval in every regime, from simulated launches. Takes seconds.

    Args:
        experiments: simulated per regime and number of launches.
        launch_counts: launches per experiment, at least 2.
        slowdown_ratio: the truth the interval should hold, 0.02 for 2 %.
        seed: of the simulation; equal seeds give equal tables.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for regime in REGIMES:
        for launches in launch_counts:
            logs = simulate_blocks(regime, (experiments, launches, ROUNDS), slowdown_ratio, generator)
            share = coverage(paired_log_ratios(logs), float(np.log1p(slowdown_ratio)))
            rows.append(Coverage(regime.name, launches, share))
    return rows


def gate_rates(regime: NoiseRegime, slowdown_ratio: float, gates: int, generator: np.random.Generator) -> GateRate:
    """Run whole gates on simulated launches of one regime, as many launches as each asks for.

    Args:
        regime: the machine's noise.
        slowdown_ratio: planted in the candidate, 0.05 for 5 %; 0 makes every regression a false alarm.
        gates: simulated.
        generator: advanced by the simulation.
    """
    logs = simulate_blocks(regime, (gates, LAUNCHES_MOST, ROUNDS), slowdown_ratio, generator)
    results = [replay(row) for row in paired_log_ratios(logs).tolist()]
    outcomes = [decision.outcome for decision, _ in results]
    return GateRate(
        regime=regime.name,
        slowdown_ratio=slowdown_ratio,
        regression=wilson(outcomes.count("regression"), gates),
        inconclusive=wilson(outcomes.count("inconclusive"), gates),
        stored_baseline_alarm=wilson(_stored_baseline_alarms(logs), gates),
        launches_mean=float(np.mean([used for _, used in results])),
    )


def gate_table(
    gates: int = 1000, slowdowns: Sequence[float] = (0.0, 0.02, 0.05, 0.10), seed: int = 21
) -> list[GateRate]:
    """False alarms (slow-down 0) and power (above 0) of the gate in every regime.

    Args:
        gates: simulated per regime and slow-down.
        slowdowns: planted, 0.05 for 5 %.
        seed: of the simulation; equal seeds give equal tables.
    """
    generator = np.random.default_rng(seed)
    return [gate_rates(regime, slowdown, gates, generator) for regime in REGIMES for slowdown in slowdowns]


def rule_table(
    gates: int = 1000, slowdowns: Sequence[float] = (0.0, 0.02, 0.05, 0.10), seed: int = 23
) -> list[RuleRow]:
    """Old rule against new, in every regime of `rtxbench.gate.statistics.noise.LAUNCH_REGIMES`.

    Args:
        gates: simulated per regime and slow-down.
        slowdowns: planted, 0.05 for 5 %.
        seed: of the simulation; equal seeds give equal tables.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for regime in LAUNCH_REGIMES:
        for slowdown in slowdowns:
            single = simulate_log_ratios(regime, (gates, _FORMER_MOST), slowdown, generator).tolist()
            several = simulate_log_ratios(regime, (gates, LAUNCHES_MOST), slowdown, generator, PAIRS).tolist()
            former = _rule_rate([former_replay(row) for row in single])
            rows.append(RuleRow(regime.name, slowdown, former, _present(several), _present(single)))
    return rows


def _present(launches: Sequence[Sequence[float]]) -> RuleRate:
    return _rule_rate([(decision.outcome, used) for decision, used in map(replay, launches)])


def former_replay(
    log_ratios: Sequence[float], margin_ratio: float = DEFAULT_MARGINS["step time"]
) -> tuple[GateOutcome, int]:
    """Replay the first edition's rule, the line to beat: a screen at 3, 5, 8 and 12 launches, 5 more to confirm."""
    suspicious, margin = float(np.log1p(margin_ratio / 2)), float(np.log1p(margin_ratio))
    for launches, alpha in ((3, 0.001), (5, 0.002), (8, 0.003), (12, 0.004)):
        seen = log_ratios[:launches]
        if np.mean(seen) < suspicious:
            if upper_bound(seen, 0.95) < margin:
                return "pass", launches
        elif lower_bound(seen, 1.0 - alpha) > 0.0:
            fresh = log_ratios[launches : launches + 5]
            if np.mean(fresh) >= suspicious and lower_bound(fresh, 0.95) > 0.0:
                return "regression", launches + 5
            return ("pass" if upper_bound(fresh, 0.95) < margin else "inconclusive"), launches + 5
    return "inconclusive", 12


def _rule_rate(ends: Sequence[tuple[GateOutcome | None, int]]) -> RuleRate:
    outcomes = [outcome for outcome, _used in ends]
    failed, passed, open_ones = (outcomes.count(name) / len(ends) for name in ("regression", "pass", "inconclusive"))
    return RuleRate(failed, passed, open_ones, float(np.mean([used for _outcome, used in ends])))


def compare_min_alarm(stored_min_s: float, now_min_s: float, limit_ratio: float = 0.05) -> bool:
    """Decide as ``pytest-benchmark --benchmark-compare-fail=min:5%`` does: the minimum rose by more than the limit.

    Args:
        stored_min_s: least step time of the stored run, seconds.
        now_min_s: that of the run compared with it.
        limit_ratio: 0.05 for ``min:5%``.
    """
    return now_min_s / stored_min_s - 1.0 > limit_ratio


def _stored_baseline_alarms(logs: NDArray[np.float64]) -> int:
    """Hold the baseline's blocks of another gate against this gate's candidate blocks."""
    blocks = np.exp(logs[:, 0])
    stored = np.roll(blocks[:, :, 0, :], 1, axis=0).reshape(len(logs), -1).min(axis=1)
    now = blocks[:, :, 1, :].reshape(len(logs), -1).min(axis=1)
    return sum(compare_min_alarm(old, new) for old, new in zip(stored.tolist(), now.tolist(), strict=True))


class PoolRow(NamedTuple):
    """Gates over a pool of equal machines, each with an effect of its own on the ratio."""

    machines: int
    machine_deviation: float
    """Of the machines' own effects, log units: 0.01 is 1 %."""
    slowdown_ratio: float
    ignored: RuleRate
    """Launches counted as if one machine had made them."""
    random_effect: RuleRate
    """Machine as a random effect: the gate's rule."""


def pool_turn(number: int, machines: int) -> int:
    """Choose the machine of a launch: two in a row, so that either arm is started first on each."""
    return (number - 1) // 2 % machines


def pool_table(
    gates: int = 1000,
    pools: Sequence[int] = (2, 4, 8),
    deviations: Sequence[float] = (0.0, 0.005, 0.01, 0.02),
    slowdowns: Sequence[float] = (0.0, 0.05),
    launch_deviation: float = 0.02,
    seed: int = 29,
) -> list[PoolRow]:
    """False alarms and power of gates over a pool, machines ignored and as a random effect.

    Args:
        gates: simulated a row.
        pools: numbers of machines.
        deviations: standard deviation of a machine's own effect on the ratio, log units.
        slowdowns: planted, 0.05 for 5 %.
        launch_deviation: scatter of a launch's log-ratio within a machine.
        seed: of the simulation; equal seeds give equal tables.
    """
    generator = np.random.default_rng(seed)
    turns = {count: [pool_turn(number, count) for number in range(1, LAUNCHES_MOST + 1)] for count in pools}
    rows = []
    for count, deviation, slowdown in itertools.product(pools, deviations, slowdowns):
        effects = generator.normal(0.0, deviation, (gates, count))[:, turns[count]]
        launches = np.log1p(slowdown) + effects + generator.normal(0.0, launch_deviation, effects.shape)
        names = [str(turn) for turn in turns[count]]
        ends = [
            (decision.outcome, used) for row in launches.tolist() for decision, used in [replay(row, machines=names)]
        ]
        rows.append(PoolRow(count, deviation, slowdown, _present(launches.tolist()), _rule_rate(ends)))
    return rows

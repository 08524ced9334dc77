"""What the protocol gains on the ratios of the committed records, in counts: ``python -m tools.protocol_replay``.

The variances between and within the launches of every recorded ratio are taken from its own blocks. From these,
launches are drawn anew for five fixed launches and for launches that stop when the question is decided.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from rtxbench.records import GATE_SELFTEST_TOPIC, CaseRecord, Estimate, Launch, Observation, RatioRecord
from rtxbench.results.store import load_results
from rtxbench.stats import kalibera_jones_rounds, log_ratio_per_round, ratio_estimate, trimmed_mean
from rtxbench.verdicts.claims import Comparison
from rtxbench.verdicts.statistics.decision import decide
from rtxbench.verdicts.statistics.pooling import LogRatio

_LOOKS: Final = (3, 4, 6, 8)
_DRAWS: Final = 200
_MOST_ROUNDS: Final = 26
_QUESTION: Final = Comparison(name="replay", varies=("precision",), rule="at-least", threshold_ratio=1.1)


class Variances(NamedTuple):
    """One recorded ratio: its logarithm, what varies, and what a launch and a round cost."""

    log_ratio: float
    between_launches: float
    between_rounds: float
    rounds: int
    rounds_that_pay: int

    def scatter(self, rounds: int) -> float:
        """Standard deviation of a launch's number with so many rounds."""
        return math.sqrt(self.between_launches + self.between_rounds / rounds)


def recorded(folder: Path, timed_s: float) -> Iterator[Variances]:
    """Yield the variances of every ratio over launches whose blocks are recorded."""
    for run in load_results([folder]):
        cases = {r.record_id: r.measurement for r in run.records if isinstance(r, CaseRecord)}
        for ratio in (r for r in run.records if isinstance(r, RatioRecord) and r.replicate == "launch"):
            arms = [cases.get(name) for name in (ratio.baseline_record, ratio.candidate_record)]
            launches = [arm.launches for arm in arms if arm is not None]
            if len(launches) == 2 and len(launches[0]) == len(launches[1]) >= 3:
                yield _variances(launches[0], launches[1], timed_s)


def _variances(baseline: Sequence[Launch], candidate: Sequence[Launch], timed_s: float) -> Variances:
    pairs = [log_ratio_per_round(_blocks_s(a), _blocks_s(b)) for a, b in zip(baseline, candidate, strict=True)]
    rounds = min(map(len, pairs))
    data = np.array([pair[:rounds] for pair in pairs])
    within = float(data.var(axis=1, ddof=1).mean())
    between = max(0.0, float(data.mean(axis=1).var(ddof=1)) - within / rounds)
    both = [*baseline, *candidate]
    start_s = sum(launch.build_s + launch.first_step_s + 0.5 for launch in both) / len(baseline)
    round_s = sum(float(np.diff(launch.blocks_ns).sum()) / 1e9 for launch in both) / len(baseline) / rounds
    wanted = kalibera_jones_rounds(data, start_s, round_s) or _MOST_ROUNDS
    affordable = max(3, min(int(timed_s / round_s), _MOST_ROUNDS))
    return Variances(-float(data.mean()), between, within, rounds, max(3, min(wanted, affordable)))


def _blocks_s(launch: Launch) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    blocks = np.array(launch.blocks_ns, dtype=float)
    return (blocks[:, 1] - blocks[:, 0]).reshape(-1, 2) / 1e9 / launch.steps_per_block


def _state(values: Sequence[float], *, adaptive: bool) -> str | None:
    """Decide the question on these launches; ``None`` while it is open."""
    estimate: Estimate = ratio_estimate(values, adaptive=adaptive)
    plain = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    ratio = LogRatio(
        math.log(estimate.value), plain * (1.1 if adaptive else 1.0), len(values) - 1.0, len(values), _step(values)
    )
    decision = decide(ratio, _QUESTION, doubtful=adaptive)
    return decision.state if decision.state != "inconclusive" else _settled(decision.reason)


def _step(values: Sequence[float]) -> float:
    return float(np.diff(np.sort(values)).max())


def _settled(reason: str) -> str | None:
    return reason if reason == "about-the-line" else None


def stopped(generator: np.random.Generator, log_ratio: float, scatter: float) -> tuple[str | None, int]:
    """Draw launches until the question is decided; returns the state and the launches used."""
    return _first_decision(generator.normal(log_ratio, scatter, _LOOKS[-1]).tolist(), _LOOKS)


def _first_decision(ratios: Sequence[float], looks: Sequence[int]) -> tuple[str | None, int]:
    for launches in looks:
        state = _state(ratios[:launches], adaptive=True)
        if state is not None:
            return state, launches
    return None, looks[-1]


def main() -> None:
    """Print rounds, half-widths, shares decided, launches, and false support on the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--timed-s", type=float, default=24.0, help="seconds of rounds a launch may take")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    rows = list(recorded(options.results, options.timed_s))
    print(f"{len(rows)} ratios with their blocks")
    print(f"rounds: recorded {np.median([r.rounds for r in rows]):.0f}, that pay {_quartiles(rows)}")
    narrower = [row.scatter(row.rounds_that_pay) / row.scatter(row.rounds) for row in rows]
    print(f"half-width at equal launches: × {np.median(narrower):.2f} (median)")
    fixed = [
        _state(generator.normal(row.log_ratio, row.scatter(row.rounds), 5).tolist(), adaptive=False) is not None
        for row in rows
        for _ in range(_DRAWS)
    ]
    print(f"five fixed launches: {np.mean(fixed):.0%} decided")
    for name, rounds in (("recorded rounds", "rounds"), ("rounds that pay", "rounds_that_pay")):
        outcomes = [
            stopped(generator, row.log_ratio, row.scatter(getattr(row, rounds))) for row in rows for _ in range(_DRAWS)
        ]
        decided = np.mean([state is not None for state, _ in outcomes])
        print(f"stopped when decided, {name}: {decided:.0%} in {np.mean([used for _, used in outcomes]):.2f} launches")
    same = unchanged(options.results)
    print(_against_itself(same) if same else "no self-test of the gate is among the results")
    for scatter in (0.015, 0.029, 0.057):
        states = [stopped(generator, math.log(1.1), scatter)[0] for _ in range(20_000)]
        print(f"truth on the line, scatter {scatter:.1%}: {np.mean([s == 'supported' for s in states]):.2%} supported")


def unchanged(folder: Path) -> list[list[float]]:
    """Read what the gate's self-test measured of code against itself.

    Returns:
        Per results file the log-ratio of throughput of every pair of fresh processes, as they followed each other.
    """
    files = [
        [ratio for record in run.of_kind(Observation) if _is_unchanged(record) for ratio in _pairs(record)]
        for run in load_results([folder])
    ]
    return [ratios for ratios in files if ratios]


def _is_unchanged(record: Observation) -> bool:
    of_a_launch = record.topic == GATE_SELFTEST_TOPIC and record.replicate == "block"
    return of_a_launch and record.metric == "step_time_s" and float(record.labels["planted_ratio"]) == 0.0


def _pairs(record: Observation) -> list[float]:
    times = np.array(record.values).reshape(-1, 2, 2)
    rounds = log_ratio_per_round(times[:, 0], times[:, 1])
    sizes = [int(size) for size in record.labels.get("rounds_per_pair", str(len(times))).split()]
    return [-trimmed_mean(pair) for pair in np.split(rounds, np.cumsum(sizes)[:-1])]


def disjoint(files: Sequence[Sequence[float]], looks: Sequence[int]) -> Counter[str]:
    """Judge pairs of unchanged code as launches of a comparison that stops when decided, each pair used once.

    Returns:
        Comparisons by state; ``open`` where the last look decided nothing.
    """
    states: Counter[str] = Counter()
    for ratios in files:
        start = 0
        while start + looks[-1] <= len(ratios):
            state, used = _first_decision(ratios[start : start + looks[-1]], looks)
            states[state or "open"] += 1
            start += used
    return states


def _against_itself(files: Sequence[Sequence[float]]) -> str:
    told = [f"unchanged code, {sum(map(len, files))} pairs of processes, each in one comparison:"]
    for looks in (_LOOKS[:1], _LOOKS):
        states = disjoint(files, looks)
        said = ", ".join(f"{count} {state}" for state, count in states.most_common() if state != "supported")
        most = f"{looks[0]} to {looks[-1]}" if len(looks) > 1 else f"{looks[0]}"
        told.append(f"  {states.total()} of {most} launches: {said}, {states['supported']} supported")
    return "\n".join(told)


def _quartiles(rows: Sequence[Variances]) -> str:
    low, middle, high = np.percentile([row.rounds_that_pay for row in rows], [25, 50, 75])
    return f"{middle:.0f} (quartiles {low:.0f} and {high:.0f})"


if __name__ == "__main__":
    main()

"""Simulated step times under four regimes of machine noise: the ground on which the statistics are proved.

A block's log step time is::

    arm effect + launch effect of that arm's process + what the machine does at that moment + block noise
                                                      └ drift (random walk) + bursts of a neighbour

The launch effect (memory layout, thread placement) is drawn once per process and is the reason why a launch is
the error unit. Drift and bursts belong to the machine and hit whichever arm is running, which is why arms are
interleaved. Everything is vectorised over gates: thousands of gates take seconds.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LAUNCH_REGIMES",
    "REGIMES",
    "LaunchRegime",
    "NoiseRegime",
    "paired_log_ratios",
    "simulate_blocks",
    "simulate_log_ratios",
]


class NoiseRegime(NamedTuple):
    """Magnitudes are standard deviations of the log step time unless said otherwise."""

    name: str
    meaning: str
    launch_sd: float
    """Between processes of the same arm."""
    session_sd: float
    """Between two sessions of the machine (another host, another hour): only a stored baseline feels it."""
    drift_sd_per_block: float
    """Step of the machine's random walk from one block to the next."""
    burst_share: float
    """Share of time in which a neighbour slows the machine."""
    burst_blocks: float
    """Mean length of such a burst, blocks."""
    burst_mean: float
    """Mean slow-down inside a burst, log scale (exponentially distributed)."""
    block_sd: float
    """Independent noise of each block."""


REGIMES: Final = (
    NoiseRegime("quiet", "a machine of one's own, nothing else running", 0.002, 0.005, 0.0002, 0.0, 1.0, 0.0, 0.003),
    NoiseRegime("drift", "clock and temperature wander by several per cent", 0.004, 0.02, 0.004, 0.0, 1.0, 0.0, 0.005),
    NoiseRegime("bursty", "a neighbour takes its share now and then", 0.005, 0.02, 0.0005, 0.15, 3.0, 0.15, 0.01),
    NoiseRegime(
        "hostile", "a shared machine: bursts, drift, unlike processes", 0.009, 0.05, 0.0015, 0.25, 4.0, 0.15, 0.02
    ),
)


class LaunchRegime(NamedTuple):
    """Noise of one launch's log-ratio as found in real records, among it what pairing cannot cancel."""

    name: str
    process_sd: float
    """Of each arm's process, log scale; a ratio of two has √2 times as much."""
    mode_share: float = 0.0
    """Share of processes that fall into a slower mode (memory layout, thread placement)."""
    mode_size: float = 0.15
    """Slow-down, log scale."""
    persistence: float = 0.0
    """Chance that an arm keeps its mode from one launch to the next rather than draws one; then all processes of a
    launch are in it. At 0 each process draws its own."""
    session_sd: float = 0.0
    """Of the ratio itself, one draw for all launches of a gate: no gate can see it."""


LAUNCH_REGIMES: Final = (
    LaunchRegime("1 % per process", 0.01),
    LaunchRegime("2 % per process", 0.02),
    LaunchRegime("15 % bimodal, p ½, i.i.d.", 0.01, mode_share=0.5),
    LaunchRegime("15 % bimodal, p 0.2, i.i.d.", 0.01, mode_share=0.2),
    LaunchRegime("15 % bimodal, p ½, persisting 0.8", 0.01, mode_share=0.5, persistence=0.8),
    LaunchRegime("15 % bimodal, p 0.2, persisting 0.9", 0.01, mode_share=0.2, persistence=0.9),
    LaunchRegime("session effect 1.5 %", 0.01, session_sd=0.015),
)


def simulate_log_ratios(
    regime: LaunchRegime,
    shape: tuple[int, int],
    slowdown_ratio: float,
    generator: np.random.Generator,
    pairs: int = 1,
) -> NDArray[np.float64]:
    """Log-ratios of launches, shape (gates, launches).

    Args:
        regime: the noise of a launch.
        shape: (gates, launches).
        slowdown_ratio: true slow-down of the candidate, 0.05 for 5 %.
        generator: source of randomness.
        pairs: of processes in a launch, whose trimmed mean is its log-ratio.
    """
    gates, launches = shape
    processes = generator.normal(0.0, regime.process_sd, (gates, launches, pairs, 2))
    slow = generator.random((gates, launches, 1 if regime.persistence else pairs, 2)) < regime.mode_share
    stays = generator.random((gates, launches, 1, 2)) < regime.persistence
    for launch in range(1, launches):
        slow[:, launch] = np.where(stays[:, launch], slow[:, launch - 1], slow[:, launch])
    session = generator.normal(0.0, regime.session_sd, (gates, 1))
    arms = processes + regime.mode_size * slow
    return np.asarray(np.log1p(slowdown_ratio) + session + _trimmed(arms[..., 1] - arms[..., 0], 0.2))


def simulate_blocks(
    regime: NoiseRegime,
    shape: tuple[int, int, int],
    slowdown_ratio: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Log step times of interleaved blocks.

    Args:
        regime: the machine's noise.
        shape: (gates, launches, rounds).
        slowdown_ratio: true slow-down of the candidate, 0.05 for 5 %.
        generator: source of randomness.

    Returns:
        Shape (gates, launches, rounds, 2, 2): the last two axes are arm (baseline, candidate) and the arm's two
        blocks of the round. Rounds alternate ABBA and BAAB in time.
    """
    gates, launches, rounds = shape
    in_time = _machine(regime, (gates, launches, rounds * 4), generator).reshape(gates, launches, rounds, 4)
    positions = np.where(np.arange(rounds)[:, None, None] % 2 == 0, [[0, 3], [1, 2]], [[1, 2], [0, 3]])
    blocks = np.take_along_axis(in_time, np.broadcast_to(positions.reshape(1, 1, rounds, 4), in_time.shape), axis=-1)
    logs = blocks.reshape(gates, launches, rounds, 2, 2)
    process = generator.normal(0.0, regime.launch_sd, (gates, launches, 1, 2, 1))
    session = generator.normal(0.0, regime.session_sd, (gates, 1, 1, 1, 1))
    arm = np.log1p(slowdown_ratio) * np.array([0.0, 1.0]).reshape(1, 1, 1, 2, 1)
    return np.asarray(logs + process + session + arm)


def paired_log_ratios(logs: NDArray[np.float64], proportion: float = 0.2) -> NDArray[np.float64]:
    """Per-launch log-ratio of `simulate_blocks` by the protocol: paired in rounds, trimmed mean over rounds.

    Returns:
        Shape (gates, launches). The vectorised form of `rtxbench.stats.log_ratio_per_round` and ``trimmed_mean``.
    """
    return _trimmed(logs[..., 1, :].mean(axis=-1) - logs[..., 0, :].mean(axis=-1), proportion)


def _trimmed(values: NDArray[np.float64], proportion: float) -> NDArray[np.float64]:
    """Trimmed mean over the last axis."""
    cut = int(proportion * values.shape[-1])
    return np.asarray(np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1))


def _machine(regime: NoiseRegime, shape: tuple[int, int, int], generator: np.random.Generator) -> NDArray[np.float64]:
    """Simulate what the machine does over time, shape (gates, launches, blocks); launches start from a fresh drift."""
    drift = np.cumsum(generator.normal(0.0, regime.drift_sd_per_block, shape), axis=-1)
    noise = generator.normal(0.0, regime.block_sd, shape)
    return np.asarray(drift + noise + _bursts(regime, shape, generator))


def _bursts(regime: NoiseRegime, shape: tuple[int, int, int], generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw from a two-state Markov chain (calm, burst), each burst of its own exponential strength."""
    slowdown = np.zeros(shape)
    if regime.burst_share == 0.0:
        return slowdown
    leave = 1.0 / regime.burst_blocks
    enter = leave * regime.burst_share / (1.0 - regime.burst_share)
    active = generator.random(shape[:2]) < regime.burst_share
    strength = generator.exponential(regime.burst_mean, shape[:2])
    for block in range(shape[2]):
        slowdown[..., block] = np.where(active, strength, 0.0)
        chance = generator.random(shape[:2])
        starts = ~active & (chance < enter)
        strength = np.where(starts, generator.exponential(regime.burst_mean, shape[:2]), strength)
        active = starts | (active & (chance >= leave))
    return slowdown

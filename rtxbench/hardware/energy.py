"""Energy over measured windows, and the power a device draws while idle.

The driver's energy counter is the figure, the zero-order-hold integral of instant power its check. (A trapezoid over
de-duplicated readings overstates: 22 % in one example.) Both sensors update every 100 ms, so each stretch of time
carries up to 0.2 s of power as quantisation error: the counter is refused for stretches under 5 s, where that is 4 %.
Interleaved blocks are shorter, and readings of them show a mixture of the arms: there is no energy of theirs.
Board sensors themselves under-read by 2-7 % on RTX 30 and 40 cards and differ card by card: differences of energy per
example under 8 % between cards are no evidence.
"""

from typing import Final, NamedTuple

import numpy as np

from rtxbench.hardware.windows import Samples, Windows, merge_windows, overlap_ns, values_in

__all__ = ["SENSOR_ERROR_RATIO", "EnergyFinding", "idle_power_w", "power_of_counter", "window_energy"]

SENSOR_ERROR_RATIO: Final = 0.08
"""Board power sensors against an external meter, RTX 30 and 40 series (about 20 cards, arXiv:2312.02741)."""
_SHORTEST_STRETCH_S: Final = 5.0
_QUANTISATION_S: Final = 0.2
_IDLE_SAMPLES: Final = 10


class EnergyFinding(NamedTuple):
    """Energy over all windows, or ``None``; how it was obtained, or why there is none."""

    value_j: float | None
    how: str
    quantisation_ratio: float | None = None
    """Largest relative error from the sensor's 100 ms update."""
    disagreement_ratio: float | None = None
    """|counter - integral| ÷ counter, where both exist."""


def window_energy(counter: Samples | None, power: Samples | None, windows_ns: Windows) -> EnergyFinding:
    """Energy in joules over the windows.

    Args:
        counter: cumulative joules; its steps down (a reset) disqualify it.
        power: instant power in watts.
        windows_ns: monotonic nanoseconds; windows that touch count as one stretch.
    """
    stretches = merge_windows(windows_ns)
    duration_s = sum(end - start for start, end in stretches) / 1e9
    if not stretches or duration_s / len(stretches) < _SHORTEST_STRETCH_S:
        return EnergyFinding(None, f"stretches shorter than {_SHORTEST_STRETCH_S:g} s, too short for the sensor")
    quantisation = _QUANTISATION_S * len(stretches) / duration_s
    counted, refused = _counter_delta_j(counter, stretches)
    integral = _integral_j(power, stretches, duration_s)
    if counted is None and integral is None:
        return EnergyFinding(None, refused)
    if counted is None:
        return EnergyFinding(integral, f"integral of power ({refused})", quantisation)
    if integral is None or counted == 0:
        return EnergyFinding(counted, "energy counter, unchecked: no power samples", quantisation)
    return EnergyFinding(counted, "energy counter", quantisation, abs(counted - integral) / counted)


def power_of_counter(counter: Samples) -> Samples:
    """Mean power between consecutive readings of a cumulative energy counter; steps down (resets) are left out."""
    steps_j, steps_s = np.diff(counter.values), np.diff(counter.times_ns) / 1e9
    rising = (steps_j >= 0) & (steps_s > 0)
    return Samples(counter.times_ns[1:][rising], steps_j[rising] / steps_s[rising])


def _counter_delta_j(counter: Samples | None, stretches: Windows) -> tuple[float | None, str]:
    """Sum of the counter's increase over each stretch, or ``None`` and the reason."""
    if counter is None or counter.times_ns.size < 2:
        return None, "no energy counter"
    total = 0.0
    for start, end in stretches:
        if counter.times_ns[0] > start or counter.times_ns[-1] < end:
            return None, "the recording does not span the windows"
        inside = (counter.times_ns >= start - int(2e8)) & (counter.times_ns <= end + int(2e8))
        if np.any(np.diff(counter.values[inside]) < 0):
            return None, "the energy counter went backwards"
        first, last = np.interp([start, end], counter.times_ns, counter.values)
        total += float(last - first)
    return total, ""


def _integral_j(power: Samples | None, stretches: Windows, duration_s: float) -> float | None:
    """Integrate: each reading holds for the time it stands for; gaps are filled with the mean."""
    if power is None:
        return None
    weights, _spans = overlap_ns(power.times_ns, stretches)
    if weights.sum() < 0.5e9 * duration_s:
        return None
    return float(np.average(power.values, weights=weights)) * duration_s


def idle_power_w(power: Samples | None, utilization: Samples | None, before_ns: int) -> float | None:
    """Median power in watts before ``before_ns`` while no kernel ran; ``None`` below ten such samples (1 s)."""
    if power is None or utilization is None or power.times_ns.size == 0:
        return None
    before = [(int(power.times_ns[0]), before_ns)] if before_ns > power.times_ns[0] else []
    if not before or values_in(power, before).size < _IDLE_SAMPLES:
        return None
    nearest = np.searchsorted(utilization.times_ns, power.times_ns).clip(max=utilization.times_ns.size - 1)
    idle = (power.times_ns < before_ns) & (utilization.values[nearest] == 0)
    return float(np.median(power.values[idle])) if idle.sum() >= _IDLE_SAMPLES else None

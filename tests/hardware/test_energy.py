"""Energy over windows and idle power."""

import csv
from importlib import resources

import numpy as np
import pytest

from rtxbench.hardware.energy import SENSOR_ERROR_RATIO, idle_power_w, power_of_counter, window_energy
from rtxbench.hardware.windows import Samples
from tests.hardware_traces import SECOND_NS, series

TEN_SECONDS = [(5 * SECOND_NS, 15 * SECOND_NS)]


def test_counter_delta_is_the_energy():
    """300 W for 10 s is 3 kJ, whatever the counter read when the machine started."""
    finding = window_energy(series(lambda t: 1e6 + 300 * t), series(300.0), TEN_SECONDS)
    assert finding.value_j == pytest.approx(3000)
    assert finding.disagreement_ratio == pytest.approx(0, abs=1e-9)
    assert finding.quantisation_ratio == pytest.approx(0.02)


def test_energy_of_changing_power_follows_the_counter():
    """A step of power in the middle of the window is integrated, not averaged over the recording."""
    power = series(lambda t: np.where(t > 10, 400.0, 100.0))
    counter = series(lambda t: np.where(t > 10, 1000 + 400 * (t - 10), 100 * t))
    finding = window_energy(counter, power, TEN_SECONDS)
    assert finding.value_j == pytest.approx(2500, rel=0.01)
    assert finding.disagreement_ratio < 0.01


def test_disagreement_is_reported():
    """A counter 20 % fast is seen by the integral of power."""
    finding = window_energy(series(lambda t: 360 * t), series(300.0), TEN_SECONDS)
    assert finding.disagreement_ratio == pytest.approx(1 / 6, abs=0.01)


def test_counter_going_backwards_is_not_used():
    """A reset inside the window falls back on the integral and says why."""
    counter = series(lambda t: np.where(t < 10, 300 * t, 300 * (t - 10)))
    finding = window_energy(counter, series(300.0), TEN_SECONDS)
    assert finding.value_j == pytest.approx(3000)
    assert "backwards" in finding.how


def interleaved(count, length_s=0.5):
    return [(i * SECOND_NS, int((i + length_s) * SECOND_NS)) for i in range(1, count + 1)]


@pytest.mark.parametrize(("count", "length_s"), [(24, 0.5), (4, 0.5), (24, 0.1)])
def test_interleaved_blocks_have_no_energy(count, length_s):
    """However many: between them another arm ran, and the sensors cannot tell the two apart."""
    finding = window_energy(series(lambda t: 200 * t), series(300.0), interleaved(count, length_s))
    assert finding.value_j is None
    assert "too short" in finding.how


def test_power_from_a_counter():
    """The rate of the counter, without its resets."""
    counter = Samples(np.arange(5) * SECOND_NS, np.array([0.0, 50, 100, 10, 60]))
    assert power_of_counter(counter).values.tolist() == [50, 50, 50]


def test_no_sensor_is_no_energy_with_a_reason():
    """Nothing recorded is None and a reason, never 0 J."""
    assert window_energy(None, None, TEN_SECONDS) == (None, "no energy counter", None, None)


def test_window_outside_the_recording_is_refused():
    """A window the recording does not span has no energy."""
    assert window_energy(series(lambda t: 300 * t), None, [(25 * SECOND_NS, 35 * SECOND_NS)]).value_j is None


def test_idle_power_is_the_median_before_the_work():
    """Power before the first window, only where no kernel ran."""
    power = series(lambda t: np.where(t < 5, 25.0, 300.0))
    busy = series(lambda t: np.where(t < 5, 0.0, 0.98))
    assert idle_power_w(power, busy, 10 * SECOND_NS) == 25.0


def test_idle_power_needs_a_second_of_idleness():
    """A busy start has no idle power."""
    assert idle_power_w(series(300.0), series(0.98), 10 * SECOND_NS) is None
    assert idle_power_w(Samples(np.array([], dtype=np.int64), np.array([])), series(0.0), SECOND_NS) is None


def test_the_stated_error_of_board_sensors_holds_every_published_one() -> None:
    """Published steady-state errors of RTX 30 and 40 sensors lie below the meter, none by more than is stated."""
    with resources.files("rtxbench.catalog").joinpath("power_sensor_error.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if "RTX" in row["gpu"]]
    known = [float(row["steady_state_error_pct"]) for row in rows if row["steady_state_error_pct"]]
    assert len(known) >= 10
    assert all(-100 * SENSOR_ERROR_RATIO < error < 0 for error in known)

"""The per-sensor policy: what a failure or a cost does to one sensor, and to no other."""

import time

import pytest

from rtxbench.hardware.sensors import COST_SHARE, ScheduledSensor, Sensor, SensorError


def sensor(read, period_s=0.1):
    return ScheduledSensor(Sensor(device="d", name="s", metrics=("m",), period_s=period_s, read=read))


def failing(policy, code=None):
    def read():
        raise SensorError("because", policy=policy, code=code)

    return read


def test_a_costly_sensor_is_read_less_often():
    """A read of 4 ms may happen every 2 s at most: no sensor takes more than its share of a core."""
    scheduled = sensor(lambda: time.sleep(0.004) or {"m": 1.0})
    probe = scheduled.probe()
    assert probe.median_s >= 0.004
    assert scheduled.period_s == pytest.approx(probe.median_s / COST_SHARE)


def test_a_cheap_sensor_keeps_its_period():
    """A read of microseconds happens as often as asked."""
    scheduled = sensor(lambda: {"m": 1.0})
    assert scheduled.probe().reason is None
    assert scheduled.period_s == 0.1


def test_not_supported_disables_for_good():
    """After NotSupported the sensor is never due again, and its probe carries code and reason."""
    scheduled = sensor(failing("disable", 3))
    assert scheduled.probe()[2:] == (3, "because")
    assert not scheduled.due(1e9)


def test_other_failures_back_off_and_recover():
    """Unknown errors double the pause from 1 s to at most 60 s; one good read resets it."""
    outcomes = [SensorError("x", policy="back-off")] * 8

    def read():
        if outcomes:
            raise outcomes.pop()
        return {"m": 1.0}

    scheduled, now, pauses = sensor(read), 0.0, []
    while outcomes:
        assert isinstance(scheduled.sample(now), SensorError)
        pause = next(p for p in range(1, 100) if scheduled.due(now + p))
        pauses.append(pause)
        now += pause
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert scheduled.sample(now) == {"m": 1.0}
    assert scheduled.failure is None
    assert scheduled.due(now + 0.1)


def test_a_lost_device_is_raised():
    """A lost GPU is not one sensor's failure: it goes to the loop, which drops the device."""
    with pytest.raises(SensorError):
        sensor(failing("lost", 15)).sample(0.0)
    with pytest.raises(SensorError):
        sensor(failing("lost", 15)).probe()

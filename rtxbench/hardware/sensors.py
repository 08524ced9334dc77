"""One sensor, its probe, and what happens to it when it fails. Standard library only.

A *sensor* is one call that yields one or several metrics (NVML's utilisation call, one read of ``/proc/stat``).
Each is probed at start: what a read costs decides how often it may be read, so that no single sensor takes more
than `COST_SHARE` of one core and a machine of 256 cores is not slowed by watching it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["COST_SHARE", "HOST", "TRACE_VERSION", "Reading", "ScheduledSensor", "Sensor", "SensorError", "SensorProbe"]

HOST: Final = "host"
"""Device key of the host in traces and summaries."""
TRACE_VERSION: Final = 1
"""Of the trace's format: its writer says it, its reader refuses a newer one."""

COST_SHARE: Final = 0.002  # of one core, per sensor; about eight sensors then stay under the 2 % target
_PROBE_READS: Final = 50
_PROBE_BUDGET_S: Final = 0.05
_FIRST_BACKOFF_S: Final = 1.0
_LONGEST_BACKOFF_S: Final = 60.0

Reading: TypeAlias = dict[str, float | list[float]]
Policy: TypeAlias = Literal["disable", "back-off", "lost"]


class SensorError(Exception):
    """A read failed. ``policy`` says what follows, ``code`` is the library's own number, ``reason`` is for people.

    ``disable``: it can never work here. ``back-off``: it may work later. ``lost``: the whole device is gone.
    """

    def __init__(self, reason: str, *, policy: Policy, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.policy = policy
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One call on one device. ``read`` raises only `SensorError`; its dictionary may lack metrics not known yet."""

    device: str
    """GPU UUID, or ``host``."""
    name: str
    metrics: tuple[str, ...]
    period_s: float
    """Shortest time between two reads; a costly sensor is read less often."""
    read: Callable[[], Reading]


class SensorProbe(NamedTuple):
    """Findings of the start-up probe about one sensor."""

    median_s: float | None
    p99_s: float | None
    error_code: int | None
    reason: str | None
    """Reason why it cannot be read; ``None`` when it can."""


class ScheduledSensor:
    """A sensor with its schedule and its failures. Not thread-safe: one loop owns it."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self.period_s = sensor.period_s
        self.failure: SensorError | None = None
        """The failure now in force, or ``None``."""
        self.failures = 0
        self._backoff_s = _FIRST_BACKOFF_S
        self._due_s = 0.0

    def probe(self) -> SensorProbe:
        """Read up to 50 times (at most 50 ms) and set the period from the median cost.

        Raises:
            SensorError: with policy ``lost``; every other failure is part of the answer.
        """
        costs: list[float] = []
        deadline = time.perf_counter() + _PROBE_BUDGET_S
        while len(costs) < _PROBE_READS and (not costs or time.perf_counter() < deadline):
            start = time.perf_counter()
            try:
                self.sensor.read()
            except SensorError as error:
                self._fail(error, time.monotonic())
                return SensorProbe(None, None, error.code, error.reason)
            costs.append(time.perf_counter() - start)
        median_s = statistics.median(costs)
        self.period_s = max(self.sensor.period_s, median_s / COST_SHARE)
        return SensorProbe(median_s, sorted(costs)[int(0.99 * (len(costs) - 1))], None, None)

    def due(self, now_s: float) -> bool:
        """Return whether to read the sensor at the tick planned for ``now_s`` (monotonic seconds)."""
        return now_s >= self._due_s

    def sample(self, now_s: float) -> Reading | SensorError:
        """Read once. A failure is returned, and sets when (or whether) the sensor is read again.

        Raises:
            SensorError: with policy ``lost``: the device is gone, and with it every sensor on it.
        """
        self._due_s = now_s + self.period_s * 0.99  # planned times are exact but for rounding
        try:
            reading = self.sensor.read()
        except SensorError as error:
            self._fail(error, now_s)
            return error
        self.failure = None
        self._backoff_s = _FIRST_BACKOFF_S
        return reading

    def _fail(self, error: SensorError, now_s: float) -> None:
        if error.policy == "lost":
            raise error
        self.failure = error
        self.failures += 1
        if error.policy == "disable":
            self._due_s = float("inf")
        else:
            self._due_s = now_s + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _LONGEST_BACKOFF_S)

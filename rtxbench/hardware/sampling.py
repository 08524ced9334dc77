"""Inside the recorder process: loops that read sensors on a fixed grid and append lines to the trace file.

::

    main thread      commands from the parent (mark, watch, stop) · watchdog · CPU governor · parent alive?
    host thread      host sensors, every interval
    gpu thread       NVML sensors of every GPU, every interval (absent without NVML)

A hanging NVML call therefore stops neither the host samples nor the recorder's own exit. Standard library,
``pynvml`` and ``psutil`` only. Times are ``time.monotonic_ns()``, the clock of the measuring workers.
"""

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rtxbench.errors import UnavailableError
from rtxbench.hardware.cuda_visible_devices import ListedGpu, visible_gpus
from rtxbench.hardware.host import HOST, ProcessTree, host_sensors
from rtxbench.hardware.nvml import GpuDevice, Nvml
from rtxbench.hardware.sensors import TRACE_VERSION, Reading, ScheduledSensor, SensorError
from rtxbench.units import format_duration, format_percent

__all__ = ["CPU_SHARE_LIMIT", "Recording", "TraceWriter"]

CPU_SHARE_LIMIT: Final = 0.015
"""Of one core. Above it the recorder doubles its interval, so that it never reaches 2 %."""
_INTERVAL_S: Final = 0.1
_HOST_ONLY_INTERVAL_S: Final = 0.5
"""Without a GPU the processor that samples is the one that is measured, and it can do without us more often."""
_HUNG_AFTER_S: Final = 5.0
_SHORTEST_SLEEP_S: Final = 0.1
"""The two clocks are read one after the other: what a busy machine does in between is no suspension."""
_FIRST_LOOK_BACK_US: Final = 1_000_000
"""Time that the first mark looks back for work of other processes; every later one looks back to the mark before."""
_INITIAL_PID_NAMESPACE: Final = 0xEFFFFFFC  # inode of the initial PID namespace, include/linux/proc_ns.h


class TraceWriter:
    """Appends JSON lines to a new file; safe to call from several threads.

    Raises:
        OSError: the file exists already, or cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self.samples = 0

    def write(self, kind: str, **fields: Any) -> None:
        """Queue one line; `flush` puts it on disk."""
        line = json.dumps({"kind": kind, **fields}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            self._pending.append(line)
            self.samples += kind == "sample"

    def flush(self) -> None:
        """Write what is queued. A full disk raises OSError: the parent then sees the recorder end."""
        with self._lock:
            data, self._pending = b"".join(self._pending), []
            while data:
                data = data[os.write(self._descriptor, data) :]


class _Tick(NamedTuple):
    """The read a loop is in right now, for the watchdog."""

    sensor: str
    since_s: float


class SamplingLoop(threading.Thread):
    """Reads its sensors at ``start + n·interval``; a late tick is skipped and counted, never squeezed in."""

    def __init__(self, name: str, sensors: Sequence[ScheduledSensor], writer: TraceWriter, interval_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.interval_s = interval_s
        self.missed = 0
        self.busy: _Tick | None = None
        self._writer = writer
        self._stop_event = threading.Event()
        self._by_device: dict[str, list[ScheduledSensor]] = {}
        for sensor in sensors:
            self._by_device.setdefault(sensor.sensor.device, []).append(sensor)

    def stop(self) -> None:
        """Ask the loop to end after its current read."""
        self._stop_event.set()

    def run(self) -> None:
        """Sample until stopped."""
        due_s = time.monotonic()
        while not self._stop_event.wait(max(due_s - time.monotonic(), 0.0)):
            for device in list(self._by_device):
                self._sample_device(device, due_s)
            due_s += self.interval_s
            late = int((time.monotonic() - due_s) / self.interval_s)
            if late > 0:
                self.missed += late
                due_s += late * self.interval_s

    def _sample_device(self, device: str, tick_s: float) -> None:
        now_ns = time.monotonic_ns()
        values: Reading = {}
        for scheduled in self._by_device[device]:
            if not scheduled.due(tick_s):
                continue
            self.busy = _Tick(scheduled.sensor.name, time.monotonic())
            try:
                values |= self._read(scheduled, tick_s, now_ns)
            except SensorError as lost:
                self._writer.write("event", t=now_ns, code="gpu-lost", device=device, detail=lost.reason)
                del self._by_device[device]
                break
            finally:
                self.busy = None
        if values:
            rounded = {name: round(v, 6) if isinstance(v, float) else v for name, v in values.items()}
            self._writer.write("sample", t=now_ns, device=device, values=rounded)

    def _read(self, scheduled: ScheduledSensor, tick_s: float, now_ns: int) -> Reading:
        outcome = scheduled.sample(tick_s)
        if isinstance(outcome, SensorError):
            write_failure(self._writer, scheduled, outcome, now_ns)
            return {}
        return outcome


def write_failure(writer: TraceWriter, scheduled: ScheduledSensor, error: SensorError, now_ns: int) -> None:
    """Write one line per failed read: which metrics are missing from here on, and why.

    Args:
        writer: of the trace.
        scheduled: the sensor that failed.
        error: its code, what follows from it (policy), and the reason in words.
        now_ns: when, ``time.monotonic_ns()``.
    """
    sensor = scheduled.sensor
    writer.write(
        "failure",
        t=now_ns,
        device=sensor.device,
        sensor=sensor.name,
        metrics=sensor.metrics,
        code=error.code,
        policy=error.policy,
        reason=error.reason,
    )


class Recording:
    """One recording from header to end line. `start`, then `mark`/`watch`/`check`, then `finish`."""

    def __init__(self, writer: TraceWriter, interval_s: float | None, watch_pids: Sequence[int]) -> None:
        self._writer = writer
        self._asked_interval_s = interval_s
        self._watch_pids = tuple(watch_pids)
        self._tree = ProcessTree(watch_pids)
        self._nvml: Nvml | None = None
        self._gpus: list[GpuDevice] = []
        self._loops: list[SamplingLoop] = []
        self._hung = False
        self._marked_us = int(time.time() * 1e6) - _FIRST_LOOK_BACK_US
        self._cpu_mark = (0.0, 0.0)
        self._started = (0.0, 0.0)
        self._slept_s = slept_s()

    def start(self) -> None:
        """Open NVML, write the header, probe every sensor, start the loops."""
        gpu_missing = self._open_nvml()
        interval_s = self._asked_interval_s or (_INTERVAL_S if self._gpus else _HOST_ONLY_INTERVAL_S)
        self._write_header(gpu_missing, interval_s)
        host = self._probed([ScheduledSensor(s) for s in host_sensors(self._tree)])
        self._loops.append(SamplingLoop("host", host, self._writer, interval_s))
        if self._nvml is not None:
            gpu_sensors = [ScheduledSensor(s) for gpu in self._gpus for s in self._nvml.sensors(gpu)]
            self._loops.append(SamplingLoop("gpu", self._probed(gpu_sensors), self._writer, interval_s))
        self.mark("start")
        for loop in self._loops:
            loop.start()
        self._cpu_mark = self._started = (time.monotonic(), time.process_time())

    def watch(self, pid: int) -> None:
        """Count a process and what it starts as the program under measurement."""
        self._tree.watch(pid)

    def mark(self, label: str) -> None:
        """Write a labelled point in time with the compute processes on every GPU. Not for timed windows (≈5 ms)."""
        own = set(self._tree.members())
        since_us, self._marked_us = self._marked_us, int(time.time() * 1e6)
        processes: dict[str, list[dict[str, Any]]] = {}
        for gpu in self._gpus if self._nvml is not None and not self._hung else ():
            try:
                listed = self._nvml.processes(gpu, since_us) if self._nvml is not None else []
            except SensorError as error:
                self._writer.write(
                    "event", t=time.monotonic_ns(), code="processes-unknown", device=gpu.uuid, detail=error.reason
                )
                continue
            processes[gpu.uuid] = [{**p._asdict(), "watched": p.pid in own} for p in listed]
        self._writer.write("mark", t=time.monotonic_ns(), label=label, processes=processes)
        self._writer.flush()

    def check(self) -> None:
        """Once a second: flush, look for a hanging read, keep the recorder's own CPU share below its limit."""
        for loop in self._loops:
            busy = loop.busy
            if busy is not None and not self._hung and time.monotonic() - busy.since_s > _HUNG_AFTER_S:
                self._hung = True
                detail = f"{busy.sensor} has not returned for {_HUNG_AFTER_S:g} s"
                self._writer.write("event", t=time.monotonic_ns(), code="read-hung", device=loop.name, detail=detail)
        self._note_sleep()
        self._govern()
        self._writer.flush()

    def finish(self, reason: str) -> None:
        """Stop the loops and write the end line. Never waits for a hanging call."""
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            loop.join(timeout=1.0)
        if all(not loop.is_alive() for loop in self._loops):
            self.mark("end")
        elapsed_s, cpu_s = (now - then for now, then in zip(_own_times(), self._started, strict=True))
        self._writer.write(
            "end",
            t=time.monotonic_ns(),
            realtime_ns=time.time_ns(),
            elapsed_s=round(elapsed_s, 6),
            cpu_s=round(cpu_s, 6),
            samples=self._writer.samples,
            missed=sum(loop.missed for loop in self._loops),
            reason=reason,
        )
        self._writer.flush()

    def _open_nvml(self) -> str | None:
        try:
            self._nvml = Nvml.open()
            self._gpus = _watched_gpus(self._nvml.devices())
        except UnavailableError as error:
            self._nvml = None
            return error.message.rstrip(".")
        return None if self._gpus else "CUDA_VISIBLE_DEVICES hides every GPU"

    def _write_header(self, gpu_missing: str | None, interval_s: float) -> None:
        self._writer.write(
            "trace",
            version=TRACE_VERSION,
            interval_s=interval_s,
            monotonic_ns=time.monotonic_ns(),
            realtime_ns=time.time_ns(),
            watch_pids=self._watch_pids,
            logical_cores=os.cpu_count() or 1,
            pids_comparable=_pids_are_the_drivers(),
            gpus=[{"uuid": g.uuid, "name": g.name, "index": g.index, "parent_uuid": g.parent_uuid} for g in self._gpus],
            gpu_missing=gpu_missing,
        )
        for gpu, reason in (self._nvml.refused if self._nvml is not None else {}).items():
            self._writer.write("event", t=time.monotonic_ns(), code="gpu-refused", device=gpu, detail=reason)

    def _probed(self, sensors: list[ScheduledSensor]) -> list[ScheduledSensor]:
        """Probe all, write what was found, and keep every sensor whose device still answers."""
        kept: list[ScheduledSensor] = []
        lost: set[str] = set()
        for scheduled in sensors:
            sensor = scheduled.sensor
            if sensor.device in lost:
                continue
            try:
                probe = scheduled.probe()
            except SensorError as error:
                lost.add(sensor.device)
                self._writer.write(
                    "event", t=time.monotonic_ns(), code="gpu-lost", device=sensor.device, detail=error.reason
                )
                continue
            identity = {"device": sensor.device, "sensor": sensor.name, "metrics": sensor.metrics}
            self._writer.write("probe", **identity, **probe._asdict(), period_s=round(scheduled.period_s, 6))
            kept.append(scheduled)
        return [scheduled for scheduled in kept if scheduled.sensor.device not in lost]

    def _note_sleep(self) -> None:
        before_s, self._slept_s = self._slept_s, slept_s()
        if self._slept_s - before_s > _SHORTEST_SLEEP_S:
            detail = f"the machine was suspended for {format_duration(self._slept_s - before_s)}"
            self._writer.write("event", t=time.monotonic_ns(), code="suspended", device=HOST, detail=detail)

    def _govern(self) -> None:
        now = _own_times()
        elapsed_s, cpu_s = now[0] - self._cpu_mark[0], now[1] - self._cpu_mark[1]
        if elapsed_s < 5.0:
            return
        self._cpu_mark = now
        if cpu_s / elapsed_s > CPU_SHARE_LIMIT:
            for loop in self._loops:
                loop.interval_s *= 2
            used = format_percent(cpu_s / elapsed_s)
            detail = f"the recorder used {used} of a core; sampling every {self._loops[0].interval_s} s"
            self._writer.write("event", t=time.monotonic_ns(), code="interval-doubled", device=HOST, detail=detail)


def _watched_gpus(listed: Sequence[GpuDevice]) -> list[GpuDevice]:
    """Return the GPUs that what is measured can use: sampling all eight of a server costs eight times as much.

    A MIG instance brings its card along, whose power and clocks are its own.
    """
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        return list(listed)
    visible = visible_gpus([ListedGpu(g.uuid, g.name, g.parent_uuid) for g in listed], os.environ).uuids
    parents = {gpu.parent_uuid for gpu in listed if gpu.uuid in visible}
    return [gpu for gpu in listed if gpu.uuid in visible or gpu.uuid in parents]


def slept_s() -> float:
    """Return how long the machine has been suspended since it started, seconds: the monotonic clock stands still."""
    if not hasattr(time, "CLOCK_BOOTTIME"):  # not Linux
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _own_times() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _pids_are_the_drivers() -> bool:
    """Check that process ids here are those NVML reports: not so inside a container with its own PID namespace."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _INITIAL_PID_NAMESPACE
    except OSError:
        return os.name == "nt"

"""Read the host's sensors: processor, memory, throttling, energy. Standard library and psutil only.

Rates are differences between two reads of a counter, so the first read of a sensor yields nothing. What a system
does not have (PSI before Linux 4.20, RAPL in a virtual machine) is an absent sensor with its reason.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import psutil

from rtxbench.hardware.sensors import HOST, Reading, Sensor, SensorError

__all__ = ["HOST", "ProcessTree", "host_sensors"]

_HOT_PERIOD_S: Final = 0.1
_SLOW_PERIOD_S: Final = 1.0


def host_sensors(tree: "ProcessTree", proc: Path = Path("/proc"), sys_root: Path = Path("/sys")) -> list[Sensor]:
    """Return every host sensor; those this system lacks fail their probe. Roots are parameters for tests."""
    rows: tuple[tuple[str, tuple[str, ...], float, Callable[[], Reading]], ...] = (
        ("cpu", ("cpu_utilization_ratio", "steal_ratio"), _HOT_PERIOD_S, _CpuTimes()),
        ("processes", ("watched_cpu_cores", "rss_bytes"), 2 * _HOT_PERIOD_S, _Processes(tree)),
        ("cores", ("core_utilization_ratio", "busiest_core_utilization_ratio"), _SLOW_PERIOD_S, _CoreTimes()),
        ("frequency", ("cpu_frequency_hz",), _SLOW_PERIOD_S, _frequency),
        ("memory", ("memory_available_bytes",), _SLOW_PERIOD_S, _memory),
        ("cgroup", ("cgroup_throttled_ratio",), _SLOW_PERIOD_S, _CgroupThrottling(proc, sys_root)),
        *(
            (f"psi_{resource}", (f"psi_{resource}_some_ratio",), _SLOW_PERIOD_S, _Pressure(proc, resource))
            for resource in ("cpu", "memory", "io")
        ),
        ("rapl", ("cpu_energy_j",), _HOT_PERIOD_S, _Rapl(sys_root)),
    )
    return [
        Sensor(device=HOST, name=name, metrics=metrics, period_s=period_s, read=_translated(name, read))
        for name, metrics, period_s, read in rows
    ]


def _translated(name: str, read: Callable[[], Reading]) -> Callable[[], Reading]:
    """Turn the operating system's refusals into the sensor policy: no file is final, no permission may change."""

    def translated() -> Reading:
        """Read the sensor; whatever the system answers becomes a `SensorError` with what to do about it."""
        try:
            return read()
        except PermissionError as error:
            raise SensorError(f"{name}: no permission to read {error.filename}", policy="back-off") from error
        except FileNotFoundError as error:
            raise SensorError(f"{name}: this system has no {error.filename}", policy="disable") from error
        except (OSError, ValueError, IndexError) as error:
            raise SensorError(f"{name}: {error}", policy="back-off") from error

    return translated


class _CpuTimes:
    """Share of all cores' time that was busy, and that the hypervisor took away, since the last read."""

    def __init__(self) -> None:
        self._previous: tuple[float, float, float] | None = None

    def __call__(self) -> Reading:
        now = _totals(psutil.cpu_times())
        previous, self._previous = self._previous, now
        if previous is None or now[0] <= previous[0]:
            return {}
        total = now[0] - previous[0]
        return {
            "cpu_utilization_ratio": _share(now[1] - previous[1], total),
            "steal_ratio": _share(now[2] - previous[2], total),
        }


class _CoreTimes:
    """The same per core. One core at 100 % with the others idle is what a launch-bound program looks like."""

    def __init__(self) -> None:
        self._previous: list[tuple[float, float, float]] | None = None

    def __call__(self) -> Reading:
        now = [_totals(times) for times in psutil.cpu_times(percpu=True)]
        previous, self._previous = self._previous, now
        if previous is None or len(previous) != len(now):
            return {}
        busy: list[float] = [
            round(_share(after[1] - before[1], after[0] - before[0]), 3)
            for before, after in zip(previous, now, strict=True)
            if after[0] > before[0]
        ]
        return {"core_utilization_ratio": busy, "busiest_core_utilization_ratio": max(busy)} if busy else {}


def _totals(times: object) -> tuple[float, float, float]:
    """Return (total, busy, steal) seconds. Guest time is already within user time on Linux."""
    fields: dict[str, float] = times._asdict()  # type: ignore[attr-defined]  # psutil's named tuple differs by system
    total = sum(value for name, value in fields.items() if not name.startswith("guest"))
    steal = fields.get("steal", 0.0)
    idle = fields.get("idle", 0.0) + fields.get("iowait", 0.0)
    return total, total - idle - steal, steal


def _share(part: float, whole: float) -> float:
    """Counters of different cores are read at slightly different times; keep the ratio a ratio."""
    return min(max(part / whole, 0.0), 1.0)


class ProcessTree:
    """The watched processes and their descendants. Thread-safe enough: `watch` only adds to a set."""

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = set(roots)
        self._members: tuple[int, ...] = tuple(self._roots)
        self._refreshed_s = 0.0
        self._own = os.getpid()

    def watch(self, pid: int) -> None:
        """Add a process (and what it starts) to the watched ones."""
        self._roots.add(pid)
        self._refreshed_s = 0.0

    def members(self) -> tuple[int, ...]:
        """Process ids of the tree without the recorder itself; refreshed at most once a second."""
        now = time.monotonic()
        if now - self._refreshed_s >= _SLOW_PERIOD_S:
            self._members = tuple(pid for pid in _descendants(set(self._roots)) if pid != self._own)
            self._refreshed_s = now
        return self._members


def _descendants(roots: set[int]) -> set[int]:
    """Linux lists children per thread, which is far cheaper than psutil's walk over every process."""
    found: set[int] = set()
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid in found:
            continue
        found.add(pid)
        queue += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    try:
        if sys.platform != "linux":
            return [child.pid for child in psutil.Process(pid).children()]
        children: list[int] = []
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    except (OSError, psutil.Error):
        return []  # it ended between being listed and being read
    return children


class _Processes:
    """Cores used by, and resident memory of, the watched tree."""

    def __init__(self, tree: ProcessTree) -> None:
        self._tree = tree
        self._processes: dict[int, psutil.Process] = {}
        self._cpu_s: dict[int, float] = {}
        self._previous_s: float | None = None

    def __call__(self) -> Reading:
        now_s = time.monotonic()
        used_s, rss_bytes, seen = 0.0, 0, {}
        for pid in self._tree.members():
            try:
                process = self._processes.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                self._processes.pop(pid, None)
                continue  # ended meanwhile; its last interval is lost
            seen[pid] = times.user + times.system
            used_s += max(seen[pid] - self._cpu_s.get(pid, seen[pid]), 0.0)
            rss_bytes += memory.rss
        previous_s, self._previous_s, self._cpu_s = self._previous_s, now_s, seen
        reading: Reading = {"rss_bytes": rss_bytes}
        if previous_s is not None and now_s > previous_s:
            reading["watched_cpu_cores"] = used_s / (now_s - previous_s)
        return reading


def _frequency() -> Reading:
    frequency = psutil.cpu_freq()
    if frequency is None or not frequency.current:
        raise SensorError("frequency: the system does not report a CPU frequency", policy="disable")
    return {"cpu_frequency_hz": frequency.current * 1e6}


def _memory() -> Reading:
    return {"memory_available_bytes": psutil.virtual_memory().available}


class _Pressure:
    """Pressure stall information: share of time in which some task waited for the resource."""

    def __init__(self, proc: Path, resource: str) -> None:
        self._path = proc / "pressure" / resource
        self._metric = f"psi_{resource}_some_ratio"
        self._previous: tuple[float, float] | None = None

    def __call__(self) -> Reading:
        some = self._path.read_text().splitlines()[0]
        now = (time.monotonic(), int(some.rpartition("total=")[2]) / 1e6)
        previous, self._previous = self._previous, now
        if previous is None or now[0] <= previous[0]:
            return {}
        return {self._metric: _share(now[1] - previous[1], now[0] - previous[0])}


class _CgroupThrottling:
    """Share of the CPU controller's enforcement periods in which this control group was throttled (v1 and v2)."""

    def __init__(self, proc: Path, sys_root: Path) -> None:
        self._path = _cpu_stat_path(proc / "self" / "cgroup", sys_root / "fs" / "cgroup")
        self._previous: tuple[int, int] | None = None

    def __call__(self) -> Reading:
        if self._path is None:
            raise SensorError("cgroup: no CPU controller limits this process", policy="disable")
        fields = dict(line.split() for line in self._path.read_text().splitlines())
        if "nr_periods" not in fields:
            raise SensorError("cgroup: no CPU quota is in force here", policy="disable")
        now = (int(fields["nr_periods"]), int(fields["nr_throttled"]))
        previous, self._previous = self._previous, now
        if previous is None:
            return {}
        periods = now[0] - previous[0]
        return {"cgroup_throttled_ratio": _share(now[1] - previous[1], periods) if periods > 0 else 0.0}


def _cpu_stat_path(membership: Path, root: Path) -> Path | None:
    """Find the cpu.stat of this process's group; inside a container its own path may not exist, its root does."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    candidates: list[Path] = []
    for line in lines:
        _number, controllers, group = line.split(":", 2)
        if controllers == "":
            candidates += [root / group.lstrip("/"), root]
        elif "cpu" in controllers.split(","):
            candidates += [root / name / part for part in (group.lstrip("/"), "") for name in (controllers, "cpu")]
    return next((path / "cpu.stat" for path in candidates if (path / "cpu.stat").is_file()), None)


class _Rapl:
    """Energy of all CPU packages in joules since the first read; the counters' wrap is undone."""

    def __init__(self, sys_root: Path) -> None:
        packages = sorted((sys_root / "class" / "powercap").glob("intel-rapl:[0-9]*"))
        self._packages = [path for path in packages if path.name.count(":") == 1]
        self._previous_uj: list[int] = []
        self._total_uj = 0

    def __call__(self) -> Reading:
        if not self._packages:
            raise SensorError("rapl: no energy counter (usual in virtual machines)", policy="disable")
        now_uj = [int((path / "energy_uj").read_text()) for path in self._packages]
        for path, before, after in zip(self._packages, self._previous_uj, now_uj, strict=False):
            wrapped = after < before
            self._total_uj += after - before + (int((path / "max_energy_range_uj").read_text()) if wrapped else 0)
        self._previous_uj = now_uj
        return {"cpu_energy_j": self._total_uj / 1e6}

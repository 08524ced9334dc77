"""NVIDIA's management library through ``nvidia-ml-py``: the only module that imports ``pynvml``.

What each call means, costs and hides is in ``docs/hardware.md``. Only the standard library and ``pynvml`` are
imported here, because the recorder process runs this module.
"""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from rtxbench.errors import UnavailableError
from rtxbench.hardware.sensors import Policy, Reading, Sensor, SensorError

__all__ = ["GPU_SENSORS", "GpuDevice", "GpuProcess", "Nvml"]

HOT_PERIOD_S: Final = 0.1
SLOW_PERIOD_S: Final = 1.0
_FIELD_POWER_INSTANT: Final = 186  # NVML_FI_DEV_POWER_INSTANT, milliwatts, about 100 ms boxcar
_FUNCTION_NOT_FOUND: Final = 13
_MEMORY_V2: Final = 0x02000028  # version tag of nvmlMemory_v2_t
_GPM_METRICS: Final = {"sm_activity_ratio": 2, "tensor_activity_ratio": 5, "dram_activity_ratio": 10}

# nvmlReturn_t codes; their names in pynvml are module constants with the same values.
_POLICY_BY_CODE: Final[dict[int, Policy]] = {
    3: "disable",  # NOT_SUPPORTED
    13: "disable",  # FUNCTION_NOT_FOUND: an older driver
    25: "disable",  # ARGUMENT_VERSION_MISMATCH: the driver does not know this structure
    4: "back-off",  # NO_PERMISSION: recorded; an administrator may grant it meanwhile
    10: "back-off",  # TIMEOUT
    15: "lost",  # GPU_IS_LOST
    16: "lost",  # RESET_REQUIRED
    999: "back-off",  # UNKNOWN
}


@dataclass(frozen=True)
class GpuDevice:
    """One GPU or MIG instance, with its static facts. ``missing`` gives the reason of every ``None``."""

    handle: Any
    uuid: str
    name: str
    index: int
    parent_uuid: str | None
    """The physical GPU of a MIG instance; ``None`` for a whole GPU."""
    facts: dict[str, Any]
    """memory_bytes, driver, cuda_driver, vbios, power_limit_w, compute_capability, pcie_width, …"""
    missing: dict[str, str]
    limits: dict[str, Any] = field(default_factory=dict)
    """Capabilities of the card, for the doctor: pcie_width_most, power_limit_default_w, display_active; absent where
    the driver does not say."""


class GpuProcess(NamedTuple):
    """A process with a compute context on a GPU, as numbered in the driver's own process-id namespace."""

    pid: int
    memory_bytes: int | None
    sm_utilization_ratio: float | None
    """The newest since the time asked for; ``None`` where it did nothing since, or the driver does not say."""


class Nvml:
    """An open NVML session. Use `Nvml.open`; `close` when done."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.refused: dict[str, str] = {}
        """``gpu 1`` → why the driver would not describe it, of the last call of `devices`."""

    @classmethod
    def open(cls) -> "Nvml":
        """Load and initialise NVML.

        Raises:
            UnavailableError: no driver, no library, no permission; the message is NVML's own.
        """
        try:
            import pynvml
        except ImportError as error:
            raise UnavailableError(
                "the Python module pynvml is not installed.", next_step="Run: pip install nvidia-ml-py"
            ) from error
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise UnavailableError(
                f"NVML cannot start: {error}.",
                next_step="On a machine with an NVIDIA card, install its driver and check that nvidia-smi works.",
            ) from error
        return cls(pynvml)

    def close(self) -> None:
        """Release the session. A lost GPU can make even this fail, which changes nothing."""
        try:
            self._library.nvmlShutdown()
        except self._library.NVMLError:
            return

    def devices(self) -> list[GpuDevice]:
        """List every GPU in PCI bus order that this process may ask, each followed by its MIG instances.

        The driver also counts cards it refuses to describe: those another job holds (Slurm, cgroups: no permission)
        and one that was lost. They are left out, with the reason in `refused`.

        Raises:
            UnavailableError: the driver lists no device at all, or refuses every one.
        """
        found: list[GpuDevice] = []
        self.refused = {}
        for index in range(self._call("nvmlDeviceGetCount")):
            try:
                found += self._described(index)
            except SensorError as error:
                self.refused[f"gpu {index}"] = error.reason
        if self.refused and not found:
            reasons = "; ".join(f"{gpu}: {reason}" for gpu, reason in self.refused.items())
            raise UnavailableError(
                f"the NVIDIA driver refuses every GPU ({reasons}).",
                next_step="Ask for a GPU in the job or container, and check that nvidia-smi lists it.",
            )
        if not found:
            raise UnavailableError(
                "the NVIDIA driver is loaded but lists no GPU.", next_step="Check nvidia-smi and the container's flags."
            )
        return found

    def _described(self, index: int) -> list[GpuDevice]:
        """Describe one GPU and its MIG instances."""
        handle = self._sensor_call("nvmlDeviceGetHandleByIndex", index)
        gpu = self._describe(handle, index, None)
        return [gpu, *(self._describe(mig, index, gpu.uuid) for mig in self._mig_handles(handle))]

    def sensors(self, gpu: GpuDevice) -> list[Sensor]:
        """Bind the literal table `GPU_SENSORS` to one device."""
        return [
            Sensor(
                device=gpu.uuid,
                name=row.name,
                metrics=row.metrics,
                period_s=row.period_s,
                read=row.bind(self._sensor_call, self._library, gpu.handle),
            )
            for row in GPU_SENSORS
        ]

    def processes(self, gpu: GpuDevice, since_us: int) -> list[GpuProcess]:
        """Processes with a compute context. Costs up to 4.5 ms: only between timed windows.

        Args:
            gpu: the card.
            since_us: microseconds since 1970. Only what ran after it counts as use: asked without a time, the driver
                returns its whole buffer, in which a process that worked minutes ago still looks busy.

        Raises:
            SensorError: the driver does not say (WSL2, MIG without privilege).
        """
        listed = self._compute_processes(gpu.handle)
        try:
            samples = self._sensor_call("nvmlDeviceGetProcessUtilization", gpu.handle, since_us)
        except SensorError:
            samples = []  # nothing ran since (NotFound), or the driver does not say: flags rest on the list itself
        newest = {s.pid: s.smUtil / 100 for s in sorted(samples, key=lambda s: s.timeStamp)}
        return [GpuProcess(p.pid, p.usedGpuMemory, newest.get(p.pid)) for p in listed]

    def _compute_processes(self, handle: Any) -> list[Any]:
        try:
            return list(self._sensor_call("nvmlDeviceGetComputeRunningProcesses", handle))
        except SensorError as error:
            if error.code != _FUNCTION_NOT_FOUND:
                raise
            return list(self._sensor_call("nvmlDeviceGetComputeRunningProcesses_v2", handle))  # before driver 510

    def _describe(self, handle: Any, index: int, parent_uuid: str | None) -> GpuDevice:
        facts: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for name, (function, arguments, convert) in _FACTS.items():
            try:
                device = () if function.startswith("nvmlSystem") else (handle,)
                facts[name] = convert(self._sensor_call(function, *device, *arguments))
            except SensorError as error:
                facts[name] = None
                missing[name] = error.reason
        uuid = _text(self._sensor_call("nvmlDeviceGetUUID", handle))
        name = _text(self._sensor_call("nvmlDeviceGetName", handle))
        limits: dict[str, Any] = {}
        for limit, (function, convert_limit) in _LIMITS.items():
            with contextlib.suppress(SensorError):
                limits[limit] = convert_limit(self._sensor_call(function, handle))
        return GpuDevice(handle, uuid, name, index, parent_uuid, facts, missing, limits)

    def _mig_handles(self, handle: Any) -> list[Any]:
        try:
            current, _pending = self._sensor_call("nvmlDeviceGetMigMode", handle)
            count = self._sensor_call("nvmlDeviceGetMaxMigDeviceCount", handle) if current else 0
        except SensorError:
            return []  # a card without MIG answers NotSupported
        handles = []
        for index in range(count):
            try:
                handles.append(self._sensor_call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index))
            except SensorError:
                continue  # an unused slot answers NotFound
        return handles

    def _call(self, function: str, *arguments: Any) -> Any:
        """Make an NVML call without which nothing works; failures become `UnavailableError`."""
        try:
            return getattr(self._library, function)(*arguments)
        except self._library.NVMLError as error:
            raise UnavailableError(
                f"{function} failed: {error}.", next_step="Check that nvidia-smi works, then run again."
            ) from error

    def _sensor_call(self, function: str, *arguments: Any) -> Any:
        """Make an NVML call of a sensor; failures become `SensorError` with the policy of their code."""
        try:
            return getattr(self._library, function)(*arguments)
        except self._library.NVMLError as error:
            raise _sensor_error(function, int(error.value), str(error)) from error
        except self._library.NVMLLibraryMismatchError as error:  # not an NVMLError; what an older driver's gap becomes
            raise _sensor_error(function, _FUNCTION_NOT_FOUND, "the driver is older than this call") from error


def _sensor_error(function: str, code: int, message: str) -> SensorError:
    return SensorError(f"{function}: {message}", policy=_POLICY_BY_CODE.get(code, "back-off"), code=code)


NvmlCall: TypeAlias = Callable[..., Any]


class GpuSensor(NamedTuple):
    """One row of `GPU_SENSORS`. ``bind(call, library, handle)`` gives the function that reads one device."""

    name: str
    metrics: tuple[str, ...]
    period_s: float
    bind: Callable[[NvmlCall, Any, Any], Callable[[], Reading]]


def _plain(read: Callable[[NvmlCall, Any], Reading]) -> Callable[[NvmlCall, Any, Any], Callable[[], Reading]]:
    return lambda call, _library, handle: functools.partial(read, call, handle)


def _utilization(call: NvmlCall, handle: Any) -> Reading:
    rates = call("nvmlDeviceGetUtilizationRates", handle)
    return {"gpu_utilization_ratio": rates.gpu / 100, "memory_controller_utilization_ratio": rates.memory / 100}


def _power_instant(call: NvmlCall, handle: Any) -> Reading:
    (field,) = call("nvmlDeviceGetFieldValues", handle, [_FIELD_POWER_INSTANT])
    if field.nvmlReturn != 0:
        raise _sensor_error("nvmlDeviceGetFieldValues(POWER_INSTANT)", int(field.nvmlReturn), "refused by the driver")
    return {"power_w": field.value.uiVal / 1e3}


def _power_average(call: NvmlCall, handle: Any) -> Reading:
    return {"power_average_w": call("nvmlDeviceGetPowerUsage", handle) / 1e3}


def _energy(call: NvmlCall, handle: Any) -> Reading:
    return {"energy_j": call("nvmlDeviceGetTotalEnergyConsumption", handle) / 1e3}


def _sm_clock(call: NvmlCall, handle: Any) -> Reading:
    return {"sm_clock_hz": call("nvmlDeviceGetClockInfo", handle, 1) * 1e6}


def _memory_clock(call: NvmlCall, handle: Any) -> Reading:
    return {"memory_clock_hz": call("nvmlDeviceGetClockInfo", handle, 2) * 1e6}


def _event_reasons(call: NvmlCall, handle: Any) -> Reading:
    try:
        bits = call("nvmlDeviceGetCurrentClocksEventReasons", handle)
    except SensorError as error:
        if error.code != _FUNCTION_NOT_FOUND:
            raise
        bits = call("nvmlDeviceGetCurrentClocksThrottleReasons", handle)  # its name before driver 535
    return {"clock_event_reasons_bitmask": bits}


def _temperature(call: NvmlCall, handle: Any) -> Reading:
    return {"temperature_c": call("nvmlDeviceGetTemperature", handle, 0)}


def _memory(call: NvmlCall, handle: Any) -> Reading:
    info = call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
    return {"memory_used_bytes": info.used, "memory_reserved_bytes": info.reserved}


def _pcie(call: NvmlCall, handle: Any) -> Reading:
    return {
        "pcie_width_lanes": call("nvmlDeviceGetCurrPcieLinkWidth", handle),
        "pcie_generation": call("nvmlDeviceGetCurrPcieLinkGeneration", handle),
    }


def _power_limit(call: NvmlCall, handle: Any) -> Reading:
    return {"power_limit_w": call("nvmlDeviceGetEnforcedPowerLimit", handle) / 1e3}


class _GpmReader:
    """Hopper's profiling counters: activity between this read and the one before, from two alternating samples."""

    def __init__(self, call: NvmlCall, library: Any, handle: Any) -> None:
        self._call, self._library, self._handle = call, library, handle
        self._previous: Any = None

    def __call__(self) -> Reading:
        if self._previous is None:
            support = self._call("nvmlGpmQueryDeviceSupport", self._handle)
            if not support.isSupportedDevice:
                raise SensorError("GPM needs Hopper or newer", policy="disable", code=3)
        sample = self._call("nvmlGpmSampleGet", self._handle, self._call("nvmlGpmSampleAlloc"))
        previous, self._previous = self._previous, sample
        if previous is None:
            return {}
        try:
            return self._metrics_between(previous, sample)
        finally:
            self._call("nvmlGpmSampleFree", previous)

    def _metrics_between(self, first: Any, second: Any) -> Reading:
        request = self._library.c_nvmlGpmMetricsGet_t()
        request.version = self._library.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(_GPM_METRICS)
        request.sample1, request.sample2 = first, second
        for slot, metric_id in enumerate(_GPM_METRICS.values()):
            request.metrics[slot].metricId = metric_id
        answer = self._call("nvmlGpmMetricsGet", request)
        return {
            name: answer.metrics[slot].value / 100
            for slot, name in enumerate(_GPM_METRICS)
            if answer.metrics[slot].nvmlReturn == 0
        }


GPU_SENSORS: Final = (
    GpuSensor(
        "utilization",
        ("gpu_utilization_ratio", "memory_controller_utilization_ratio"),
        HOT_PERIOD_S,
        _plain(_utilization),
    ),
    GpuSensor("power", ("power_w",), HOT_PERIOD_S, _plain(_power_instant)),
    GpuSensor("power_average", ("power_average_w",), HOT_PERIOD_S, _plain(_power_average)),
    GpuSensor("energy", ("energy_j",), HOT_PERIOD_S, _plain(_energy)),
    GpuSensor("sm_clock", ("sm_clock_hz",), HOT_PERIOD_S, _plain(_sm_clock)),
    GpuSensor("memory_clock", ("memory_clock_hz",), HOT_PERIOD_S, _plain(_memory_clock)),
    GpuSensor("event_reasons", ("clock_event_reasons_bitmask",), HOT_PERIOD_S, _plain(_event_reasons)),
    GpuSensor("temperature", ("temperature_c",), SLOW_PERIOD_S, _plain(_temperature)),
    GpuSensor("memory", ("memory_used_bytes", "memory_reserved_bytes"), SLOW_PERIOD_S, _plain(_memory)),
    GpuSensor("pcie", ("pcie_width_lanes", "pcie_generation"), SLOW_PERIOD_S, _plain(_pcie)),
    GpuSensor("power_limit", ("power_limit_w",), SLOW_PERIOD_S, _plain(_power_limit)),
    # As often as blocks are short: only an interval that lies inside one arm's block tells of that arm.
    GpuSensor("gpm", tuple(_GPM_METRICS), HOT_PERIOD_S, _GpmReader),
)
"""Every sensor read on every GPU. To add a metric: a function and a row."""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


_FACTS: Final[dict[str, tuple[str, tuple[Any, ...], Callable[[Any], Any]]]] = {
    "memory_bytes": ("nvmlDeviceGetMemoryInfo", (), lambda info: int(info.total)),
    "driver": ("nvmlSystemGetDriverVersion", (), _text),
    "cuda_driver": ("nvmlSystemGetCudaDriverVersion", (), _cuda_version),
    "vbios": ("nvmlDeviceGetVbiosVersion", (), _text),
    "power_limit_w": ("nvmlDeviceGetEnforcedPowerLimit", (), lambda milliwatts: milliwatts / 1e3),
    "compute_capability": ("nvmlDeviceGetCudaComputeCapability", (), lambda pair: f"{pair[0]}.{pair[1]}"),
    "pcie_width": ("nvmlDeviceGetCurrPcieLinkWidth", (), int),
    "pcie_generation": ("nvmlDeviceGetCurrPcieLinkGeneration", (), int),
    "persistence_mode": ("nvmlDeviceGetPersistenceMode", (), bool),
}
"""Static facts: field of `rtxbench.records.Gpu` → NVML function, extra arguments, conversion."""

_LIMITS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "pcie_width_most": ("nvmlDeviceGetMaxPcieLinkWidth", int),
    "power_limit_default_w": ("nvmlDeviceGetPowerManagementDefaultLimit", lambda milliwatts: milliwatts / 1e3),
    "display_active": ("nvmlDeviceGetDisplayActive", bool),
}
"""Capabilities of a card, which no record holds: entry of `GpuDevice.limits` → NVML function, conversion."""

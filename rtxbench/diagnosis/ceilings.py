"""Measure the most this device can do, on the spot and through the engine the cases run on.

A roofline drawn from a data sheet blames the program for what the card, its clocks, its driver and the framework
never deliver. So: matrix products per precision, memory bandwidth, the price of launching a kernel, host-to-device
copies and all-reduce, each through `keras.ops` on the engine in use. What an engine must lend is in `DeviceControls`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from rtxbench.engines.contract import DeviceControls

__all__ = ["Ceiling", "ProductFormat", "measure_ceilings"]

_REPEATS: Final = 7
_GEMM_SIZES: Final = (512, 1024, 2048, 4096, 8192)
_LONG_ENOUGH_S: Final = 0.05
"""A product that takes this long hides its launch and its caches."""
_COPY_BYTES: Final = {"cpu": 256 * 2**20, "gpu": 512 * 2**20}
"""Well above the last-level caches (at most about 100 MB on GPUs; server CPUs with more will read a little high)."""
_TRANSFER_BYTES: Final = 64 * 2**20
_CHAIN_LENGTH: Final = 200
_CHAINED: Final = {"cpu": 1, "gpu": 10}
"""Products per wait: waiting takes about 0.1 ms, and one 8192³ product of an H100 1.4 ms."""


class ProductFormat(NamedTuple):
    """One precision's matrix products: the dtype of their operands, and whether float32 may be rounded to TF32."""

    precision: str
    dtype: str
    tf32: bool


class Ceiling(NamedTuple):
    """One ceiling: repeats of one figure, or none and the reason."""

    metric: str
    values: tuple[float, ...]
    labels: dict[str, str]
    reason: str | None = None


def measure_ceilings(formats: Sequence[ProductFormat], budget_s: float, device: DeviceControls) -> list[Ceiling]:
    """Measure every ceiling within about ``budget_s`` seconds (at least one repeat of each is made).

    Args:
        formats: of the precisions wanted.
        budget_s: seconds for all ceilings together.
        device: the engine's controls.

    Returns:
        Metrics ``gemm_flop_per_s`` (labels precision, size), ``memory_bandwidth_bytes_per_s``, ``step_call_s``
        (a traced function that does next to nothing), ``kernel_launch_s`` (each further operation in it),
        ``dispatch_s`` (an operation called from Python), ``host_to_device_bytes_per_s``,
        ``all_reduce_bytes_per_s``. Every value is one repeat.
    """
    share_s = budget_s / (len(formats) + 5)
    with device.scope():
        found = [_gemm(row, share_s, device) for row in formats]
        found += [_bandwidth(share_s, device), _step_call(share_s, device)]
        found += [_kernel_launch(share_s, device), _dispatch(share_s, device)]
    found += [_host_to_device(share_s, device), _all_reduce(share_s, device)]
    return found


def _repeats(run: Callable[[], Any], device: DeviceControls, budget_s: float) -> Iterator[float]:
    """Time each synchronised run after one to warm up: at least one, at most seven, within the budget."""
    device.synchronize(run())
    deadline = time.perf_counter() + budget_s
    for repeat in range(_REPEATS):
        start = time.perf_counter()
        device.synchronize(run())
        yield time.perf_counter() - start
        if repeat and time.perf_counter() > deadline:
            return


def _gemm(row: ProductFormat, budget_s: float, device: DeviceControls) -> Ceiling:
    """Square products, doubled in size until one takes 50 ms or eats the budget; the fastest size counts."""
    from keras import ops, random

    device.set_tf32(row.tf32)
    deadline = time.perf_counter() + budget_s
    best: tuple[float, tuple[float, ...], int] = (0.0, (), 0)
    chained = _CHAINED[device.kind]
    for size in _GEMM_SIZES:
        # On the device itself: a processor takes longer to make 8192² numbers than a fast card to multiply them.
        left, right = (ops.cast(random.normal((size, size), seed=seed), row.dtype) for seed in range(2))
        left_s = max(deadline - time.perf_counter(), 0.0)

        def products(a: Any = left, b: Any = right) -> Any:
            return [ops.matmul(a, b) for _ in range(chained)][-1]

        times = [seconds / chained for seconds in _repeats(products, device, left_s / 2)]
        rates = tuple(2.0 * size**3 / seconds for seconds in times)
        median_s = float(np.median(times))
        best = max(best, (float(np.median(rates)), rates, size))
        if median_s > _LONG_ENOUGH_S or 2 * 8 * chained * median_s > deadline - time.perf_counter():
            break
    device.set_tf32(False)
    return Ceiling("gemm_flop_per_s", best[1], {"precision": row.precision, "size": str(best[2])})


def _bandwidth(budget_s: float, device: DeviceControls) -> Ceiling:
    """Negate a large array (one read, one write) and sum it (one read); the faster one counts.

    On a CPU the write may pay for fresh pages from the operating system, which is no property of the memory.
    """
    from keras import ops

    count = _COPY_BYTES[device.kind] // 4
    array = ops.ones((count,), dtype="float32")
    kinds: tuple[tuple[str, float, Callable[[], Any]], ...] = (
        ("negate", 2.0 * 4 * count, lambda: ops.negative(array)),
        ("sum", 1.0 * 4 * count, lambda: ops.sum(array)),
    )
    found = []
    for operation, traffic_bytes, run in kinds:
        rates = tuple(traffic_bytes / seconds for seconds in _repeats(run, device, budget_s / len(kinds)))
        found.append((max(rates), rates, operation))
    _best, rates, operation = max(found)
    return Ceiling("memory_bandwidth_bytes_per_s", rates, {"operation": operation, "bytes": str(4 * count)})


def _step_call(budget_s: float, device: DeviceControls) -> Ceiling:
    """Time of calling a traced function of one small operation and waiting for it: what every step pays once."""
    return Ceiling("step_call_s", _chain_times(1, budget_s, device), {"operations": "1"})


def _kernel_launch(budget_s: float, device: DeviceControls) -> Ceiling:
    """Time of each further operation of a traced chain that has next to nothing to compute."""
    if device.fuses:
        reason = "this engine fuses a chain of small operations into one kernel"
        return Ceiling("kernel_launch_s", (), {}, reason)
    call_s = min(_chain_times(1, budget_s / 4, device))
    times = _chain_times(_CHAIN_LENGTH, budget_s, device)
    launches = tuple((t - call_s) / (_CHAIN_LENGTH - 1) for t in times if t > call_s)
    if not launches:
        return Ceiling("kernel_launch_s", (), {}, "the chain took no longer than its call: too much else was running")
    return Ceiling("kernel_launch_s", launches, {"chain": str(_CHAIN_LENGTH)})


def _chain_times(length: int, budget_s: float, device: DeviceControls) -> tuple[float, ...]:
    from keras import ops

    def chain(x: Any) -> Any:
        for _ in range(length):
            x = ops.sin(x)
        return x

    traced, seed = device.trace(chain), ops.ones((8, 8), dtype="float32")
    return tuple(_repeats(lambda: traced(seed), device, budget_s))


def _dispatch(budget_s: float, device: DeviceControls) -> Ceiling:
    """Time per operation of the same chain called from Python one by one: what an eager loop costs."""
    from keras import ops

    def chain() -> Any:
        """Apply an operation many times to one element, so that only its dispatch takes time."""
        x = seed
        for _ in range(_CHAIN_LENGTH):
            x = ops.sin(x)
        return x

    seed = ops.ones((8, 8), dtype="float32")
    times = _repeats(chain, device, budget_s)
    return Ceiling("dispatch_s", tuple(t / _CHAIN_LENGTH for t in times), {"chain": str(_CHAIN_LENGTH)})


def _host_to_device(budget_s: float, device: DeviceControls) -> Ceiling:
    from keras import ops

    if device.kind == "cpu":
        return Ceiling("host_to_device_bytes_per_s", (), {}, "a CPU computes in the host's own memory")
    array = np.ones(_TRANSFER_BYTES // 4, np.float32)
    with device.scope():
        times = list(_repeats(lambda: ops.convert_to_tensor(array), device, budget_s))
    rates = tuple(_TRANSFER_BYTES / seconds for seconds in times)
    return Ceiling("host_to_device_bytes_per_s", rates, {"memory": "pageable", "bytes": str(_TRANSFER_BYTES)})


def _all_reduce(budget_s: float, device: DeviceControls) -> Ceiling:
    reduce = device.all_reduce
    if reduce is None:
        return Ceiling("all_reduce_bytes_per_s", (), {}, "one device, or an engine that lends no all-reduce")
    reduce(_TRANSFER_BYTES)
    rates: list[float] = []
    deadline = time.perf_counter() + budget_s
    while not rates or (len(rates) < _REPEATS and time.perf_counter() < deadline):
        start = time.perf_counter()
        reduce(_TRANSFER_BYTES)
        rates.append(_TRANSFER_BYTES / (time.perf_counter() - start))
    return Ceiling("all_reduce_bytes_per_s", tuple(rates), {"bytes": str(_TRANSFER_BYTES)})

"""One short extra process for each arm that was never first in its own: what it needs alone."""

from rtxbench.errors import RtxbenchError
from rtxbench.measure.own_memory import NOT_ALONE
from rtxbench.measure.paired.arms import BUILD_LIMIT_S, end_workers, start_workers
from rtxbench.measure.paired.result import ArmResult, PairedResult
from rtxbench.workers.protocol import Build, Built, Describe, Described

__all__ = ["fill_in_peaks"]


def fill_in_peaks(pairing: PairedResult) -> None:
    """Measure the peak memory of the arms whose launches could not show it, for no other reason than company."""
    for result in pairing.results:
        shown = any(launch.peak_memory_bytes is not None for launch in result.launches)
        if result.launches and not shown and result.missing.get("peak_memory_bytes") == NOT_ALONE.how:
            _measure_alone(result)


def _measure_alone(result: ArmResult) -> None:
    arm = result.arm
    try:
        workers = start_workers([arm])
    except RtxbenchError as error:
        result.missing["peak_memory_bytes"] = str(error)
        return
    try:
        workers[arm.key].ask(Build(arm=arm.key, case=arm.case, seed=0), Built, BUILD_LIMIT_S)
        described = workers[arm.key].ask(Describe(arm=arm.key), Described, BUILD_LIMIT_S)
    except RtxbenchError as error:
        result.missing["peak_memory_bytes"] = str(error)
    else:
        result.alone_peak_bytes, result.peak_method = described.peak_memory_bytes, described.peak_memory_method
        result.missing |= described.missing
    finally:
        end_workers(workers)

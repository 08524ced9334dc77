"""Ask each engine once which of the driver's GPUs it can use, before anything is planned for a GPU.

NVML sees a card whether or not an engine can: a TensorFlow without its CUDA libraries trains on the CPU in silence. A
plan must stand on what both see.
"""

import sys
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from rtxbench.doctor.engine_checks import why_engine_cannot
from rtxbench.doctor.installation import inspect_installation
from rtxbench.errors import RtxbenchError, UnavailableError
from rtxbench.hardware.cuda_visible_devices import pin_visible_gpus
from rtxbench.records import Environment
from rtxbench.workers.interpreters import interpreter_of, why_engine_missing, worker_spec
from rtxbench.workers.process import WorkerProcess

__all__ = ["gpus_seen_by", "usable_gpus"]


def gpus_seen_by(engine: str) -> int | str:
    """Start the engine's worker and count the GPUs it sees; why none, in the doctor's words, where it sees none."""
    if interpreter_of(engine) == sys.executable:
        known = why_engine_cannot(engine, inspect_installation(copies=None))
        if known is not None:
            return known
    try:
        worker = WorkerProcess(worker_spec(engine))
        try:
            ready = worker.await_ready()
        finally:
            worker.kill()
    except RtxbenchError as error:
        return str(error)
    count = sum(kind == "gpu" for kind, _name in ready.devices)
    return count or f"{engine} sees no GPU in its process, though the driver lists one."


def usable_gpus(
    environment: Environment, engines: Sequence[str], ask: Callable[[str], int | str] = gpus_seen_by
) -> tuple[Environment, dict[str, str]]:
    """Keep the GPUs that the driver and the engines both see, and name them by UUID to every process from here on.

    Args:
        environment: as the driver describes it.
        engines: that are to run; one that is not installed is left to the plan.
        ask: how many GPUs an engine sees, or why none.

    Returns:
        The environment with those GPUs, and the engines that can use none of them, each with the reason.

    Raises:
        UnavailableError: there are GPUs, and no engine can use one.
    """
    if not environment.gpus:
        return environment, {}
    pin_visible_gpus([gpu.uuid for gpu in environment.gpus])
    answers = {engine: ask(engine) for engine in engines if why_engine_missing(engine) is None}
    refused = {engine: answer for engine, answer in answers.items() if isinstance(answer, str)}
    counts = [answer for answer in answers.values() if isinstance(answer, int)]
    if answers and not counts:
        engine, reason = next(iter(refused.items()))
        raise UnavailableError(
            f"no engine can use this machine's GPU. {engine}: {reason}",
            next_step=f"Run `rtxbench doctor --engine {engine}`; to measure the processor alone, set "
            "CUDA_VISIBLE_DEVICES to nothing.",
        )
    seen = max(counts, default=len(environment.gpus))
    return replace(environment, gpus=environment.gpus[:seen]), refused

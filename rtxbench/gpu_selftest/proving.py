"""The part of a GPU self-test in which every engine proves every precision and names its kernels."""

from collections.abc import Sequence
from typing import NamedTuple

from rtxbench.diagnosis.gather import evidence_spec
from rtxbench.diagnosis.worker import EVIDENCE_REPLIES, KernelNames, KernelRequest
from rtxbench.errors import RtxbenchError
from rtxbench.gpu_selftest.bundle import ObservedKernel, Proof, StepKernels
from rtxbench.gpu_selftest.request import GpuSelftestRequest
from rtxbench.measure.paired.arms import BUILD_LIMIT_S
from rtxbench.planning.memory import step_memory
from rtxbench.records import Case
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import RestartingWorker, threads_of
from rtxbench.workers.protocol import MEASURING_REPLIES, Build, Built, Describe, Described

__all__ = ["Proven", "prove"]

_MOST_KERNELS = 200
_LONGEST_NAME = 400


class Proven(NamedTuple):
    """Everything the engines computed, in the order of the request."""

    proofs: tuple[Proof, ...]
    kernels: tuple[StepKernels, ...]


def prove(request: GpuSelftestRequest, cases: Sequence[Case], limit_s: float) -> Proven:
    """Prove each case in a process of its own, and name the kernels of each in one process per engine.

    Args:
        request: says the number of processes at once.
        cases: of all engines and precisions.
        limit_s: seconds for all of it; what does not answer in time says so.
    """
    engines = list(dict.fromkeys(case.engine for case in cases))
    provers = [RestartingWorker(worker_spec(case.engine), MEASURING_REPLIES) for case in cases]
    namers = [RestartingWorker(evidence_spec(engine), EVIDENCE_REPLIES) for engine in engines]
    with threads_of([*provers, *namers], request.pace.abreast) as pool:
        limits = [limit_s] * len(cases)
        proofs = pool.map(_proof, provers, cases, limits)
        shares = [[case for case in cases if case.engine == engine] for engine in engines]
        kernels = pool.map(_kernels, namers, shares, [limit_s] * len(engines))
        return Proven(tuple(proofs), tuple(step for steps in kernels for step in steps))


def _proof(worker: RestartingWorker, case: Case, limit_s: float) -> Proof:
    held = step_memory(case) if case.placement == "gpu" else None
    planned = None if held is None else held.state_bytes + held.temp_bytes
    try:
        limit_s = min(limit_s, BUILD_LIMIT_S)
        built = worker.ask(Build(arm="alone", case=case, seed=0), Built, limit_s)
        seen = worker.ask(Describe(arm="alone", thorough=True), Described, limit_s)
    except RtxbenchError as error:
        return Proof(case=case, planned_bytes=planned, missing={"all": str(error)[:2000]})
    finally:
        worker.close()
    return Proof(
        case=case,
        matmul_relative_error=seen.matmul_relative_error,
        convolution_relative_error=seen.convolution_relative_error,
        loss=seen.loss,
        flops_per_step=seen.flops_per_step,
        peak_memory_bytes=seen.peak_memory_bytes,
        peak_memory_method=seen.peak_memory_method,
        planned_bytes=planned,
        first_step_s=built.first_step_s,
        missing=seen.missing,
    )


def _kernels(worker: RestartingWorker, cases: Sequence[Case], limit_s: float) -> list[StepKernels]:
    try:
        return [_kernels_of(worker, case, limit_s) for case in cases]
    finally:
        worker.close()


def _kernels_of(worker: RestartingWorker, case: Case, limit_s: float) -> StepKernels:
    try:
        named = worker.ask(KernelRequest(case=case), KernelNames, limit_s)
    except RtxbenchError as error:
        return StepKernels(case=case, reason=str(error)[:2000])
    kernels = tuple(
        ObservedKernel(name=n[:_LONGEST_NAME], calls=c, busy_s=s) for n, c, s in named.kernels[:_MOST_KERNELS]
    )
    return StepKernels(case=case, kernels=kernels, reason=None if kernels else "the profiler saw no kernel")

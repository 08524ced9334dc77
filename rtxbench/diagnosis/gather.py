"""Gather what explains a throughput: ceilings of the device, and what each case's step asks of it.

Runs after the timed work, in processes of its own (`rtxbench.diagnosis.worker`), and yields observations of
topics ``ceiling`` and ``step-evidence`` for `rtxbench.diagnosis.rules`. Evidence that cannot be had is an
observation with its reason; it never fails a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from rtxbench.diagnosis.worker import EVIDENCE_REPLIES, CaseRequest, CeilingRequest, EvidenceFigure, FiguresReply
from rtxbench.errors import RtxbenchError
from rtxbench.placement import placement_named
from rtxbench.precision import PRECISIONS, why_not
from rtxbench.records import Case, CaseRecord, Observation
from rtxbench.results.store import new_record_id, now
from rtxbench.workers.interpreters import worker_spec
from rtxbench.workers.process import RestartingWorker, WorkerSpec, threads_of

__all__ = ["CEILING", "STEP_EVIDENCE", "ceiling_observations", "evidence_spec", "gather_evidence", "step_observations"]

CEILING: Final = "ceiling"
STEP_EVIDENCE: Final = "step-evidence"
_CASE_LIMIT_S: Final = 180.0
_CEILING_START_LIMIT_S: Final = 120.0


def gather_evidence(run_id: str, records: Iterable[CaseRecord], ceiling_budget_s: float = 10.0) -> list[Observation]:
    """Gather all evidence on a run's measured cases: ceilings once per engine and device kind, then each case once.

    Args:
        run_id: of the run the observations join.
        records: the run's cases; those not measured are passed over.
        ceiling_budget_s: seconds for the ceilings of one engine on one device kind.
    """
    cases = list(dict.fromkeys(record.case for record in records if record.status == "measured"))
    found: list[Observation] = []
    for engine, kind in dict.fromkeys((case.engine, placement_named(case.placement).device_kind) for case in cases):
        used = {c.precision for c in cases if c.engine == engine and placement_named(c.placement).device_kind == kind}
        found += ceiling_observations(run_id, engine, kind, sorted(used | {"float32"}), ceiling_budget_s)
    return found + step_observations(run_id, cases)


def ceiling_observations(
    run_id: str, engine: str, kind: str, precisions: Sequence[str], budget_s: float
) -> list[Observation]:
    """Measure the device's ceilings in a fresh process.

    Args:
        run_id: of the run the observations join.
        engine: tensorflow, jax or torch.
        kind: cpu or gpu.
        precisions: rows of `PRECISIONS`; those the device kind cannot run are left out.
        budget_s: seconds of measuring, start-up apart.
    """
    able = tuple(p for p in PRECISIONS if p in precisions and not why_not(p, device_kind=kind, compiler="none"))
    request = CeilingRequest(kind=kind, precisions=able, budget_s=budget_s)
    ((answer,),) = _run([_Errand(engine, [request], _CEILING_START_LIMIT_S + 3 * budget_s)])
    return _observations(run_id, CEILING, answer, None, {"engine": engine, "kind": kind})


def step_observations(run_id: str, cases: Sequence[Case]) -> list[Observation]:
    """Count and profile one step of each case.

    On the CPU the cases of one engine share two processes, since most of the time goes into tracing on one core, and
    what is kept of the profile are shares of its own time. On a GPU each workload has a process of its own.
    """
    found: dict[Case, FiguresReply | str] = {}
    for engine, kind, members in _in_processes(cases):
        shares = [share for share in (members[::2], members[1::2]) if share] if kind == "cpu" else [members]
        for share, answers in zip(shares, _run([_step_errand(engine, kind, share) for share in shares]), strict=True):
            found |= zip(share, answers, strict=True)
    return [record for case in cases for record in _observations(run_id, STEP_EVIDENCE, found[case], case, {})]


def _in_processes(cases: Sequence[Case]) -> list[tuple[str, str, list[Case]]]:
    """Engine, device kind and cases of each process.

    No framework gives a GPU's memory back: in one process the models of a whole run would not fit beside each other.
    """
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        placement = placement_named(case.placement)
        shared = case.workload if placement.device_kind == "gpu" else ""
        own = case.label if placement.isolated else shared
        groups.setdefault((case.engine, placement.device_kind, own), []).append(case)
    return [(engine, kind, members) for (engine, kind, _own), members in groups.items()]


class _Errand(NamedTuple):
    """The requests for one evidence process, and how long each may take."""

    engine: str
    requests: Sequence[CaseRequest | CeilingRequest]
    limit_s: float
    variables: Mapping[str, str] = {}


def _step_errand(engine: str, kind: str, cases: Sequence[Case]) -> _Errand:
    variables = {"ONEDNN_VERBOSE": "1"} if kind == "cpu" else {}
    return _Errand(engine, [CaseRequest(case=case) for case in cases], _CASE_LIMIT_S, variables)


def _run(errands: Sequence[_Errand]) -> list[list[FiguresReply | str]]:
    """Carry out every errand in a process of its own, all at once; answers in the order of its requests."""
    workers = [RestartingWorker(evidence_spec(errand.engine, errand.variables), EVIDENCE_REPLIES) for errand in errands]
    with threads_of(workers) as pool:
        return list(pool.map(_answers, workers, errands))


def evidence_spec(engine: str, variables: Mapping[str, str] | None = None) -> WorkerSpec:
    """Describe how to start an evidence process of an engine, with variables on top of its workers' own."""
    spec = worker_spec(engine)
    command = ("-m", "rtxbench.diagnosis.worker", engine)
    return replace(spec, environment={**spec.environment, **(variables or {})}, command=command)


def _answers(worker: RestartingWorker, errand: _Errand) -> list[FiguresReply | str]:
    """Ask one request after another; where one fails, or kills its worker, the reason stands in its place."""
    found: list[FiguresReply | str] = []
    for request in errand.requests:
        try:
            found.append(worker.ask(request, FiguresReply, errand.limit_s))
        except RtxbenchError as error:
            found.append(error.message)
    return found


def _observations(
    run_id: str, topic: str, answer: FiguresReply | str, case: Case | None, labels: dict[str, str]
) -> list[Observation]:
    if isinstance(answer, str):
        answer = FiguresReply(figures=(EvidenceFigure(metric=f"{topic}-count", values=(), reason=answer),))
    return [
        Observation(
            record_id=new_record_id(),
            run_id=run_id,
            topic=topic,
            metric=figure.metric,
            values=figure.values,
            replicate="repeat",
            finished_at=now(),
            case=case,
            labels={**labels, **figure.labels},
            reason=figure.reason,
        )
        for figure in answer.figures
    ]

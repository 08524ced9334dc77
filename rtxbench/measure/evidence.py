"""Gather what explains a throughput: ceilings of the device, and what each case's step asks of it.

Runs after the timed work, in processes of its own (`rtxbench.engines.evidence_worker`), and yields observations of
topics ``ceiling`` and ``step-evidence`` for `rtxbench.analysis.bottleneck`. Evidence that cannot be had is an
observation with its reason; it never fails a run.
"""

import os
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from rtxbench.engines.evidence_worker import Answer, CaseRequest, CeilingRequest, EvidenceFigure
from rtxbench.measure.interpreters import worker_spec
from rtxbench.measure.summary import new_record_id, now
from rtxbench.placement import placement_named
from rtxbench.precision import PRECISIONS, why_not
from rtxbench.records import Case, CaseRecord, Observation

__all__ = ["CEILING", "STEP_EVIDENCE", "ceiling_observations", "explain", "step_observations"]

CEILING: Final = "ceiling"
STEP_EVIDENCE: Final = "step-evidence"
_CASE_LIMIT_S: Final = 180.0
_CEILING_START_LIMIT_S: Final = 120.0


def explain(run_id: str, records: Iterable[CaseRecord], ceiling_budget_s: float = 10.0) -> list[Observation]:
    """All evidence for a run's measured cases: ceilings once per engine and device kind, then each case once.

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
    (answer,) = _ask(engine, [request], _CEILING_START_LIMIT_S + 3 * budget_s, {})
    return _observations(run_id, CEILING, answer, None, {"engine": engine, "kind": kind})


def step_observations(run_id: str, cases: Sequence[Case]) -> list[Observation]:
    """Count and profile one step of each case; cases of one engine and device kind share a process."""
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        placement = placement_named(case.placement)
        own = case.label if placement.isolated else ""
        groups.setdefault((case.engine, placement.device_kind, own), []).append(case)
    found: list[Observation] = []
    for (engine, kind, _own), members in groups.items():
        variables = {"ONEDNN_VERBOSE": "1"} if kind == "cpu" else {}
        requests = [CaseRequest(case=case) for case in members]
        answers = _ask(engine, requests, _CASE_LIMIT_S * len(requests), variables)
        for case, answer in zip(members, answers, strict=True):
            found += _observations(run_id, STEP_EVIDENCE, answer, case, {})
    return found


def _ask(
    engine: str, requests: Sequence[CaseRequest | CeilingRequest], limit_s: float, variables: dict[str, str]
) -> list[Answer]:
    """One answer per request; a worker that dies or hangs leaves failures in place of the answers it owes."""
    text = b"".join(msgspec.json.encode(request) + b"\n" for request in requests)
    spec = worker_spec(engine)
    command = [spec.python, "-m", "rtxbench.engines.evidence_worker", engine]
    environment = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", **spec.environment, **variables}
    why = "the evidence process ended early"
    try:
        output = subprocess.run(
            command, input=text, capture_output=True, timeout=limit_s, env=environment, check=False
        ).stdout
    except subprocess.TimeoutExpired as error:
        output, why = error.stdout or b"", f"no evidence within {limit_s:.0f} s"
    complete = [line for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    answers = [msgspec.json.decode(line, type=Answer) for line in complete]
    return answers + [Answer(failure=why)] * (len(requests) - len(answers))


def _observations(
    run_id: str, topic: str, answer: Answer, case: Case | None, labels: dict[str, str]
) -> list[Observation]:
    figures = answer.figures or (EvidenceFigure(metric=f"{topic}-count", values=(), reason=answer.failure),)
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
        for figure in figures
    ]

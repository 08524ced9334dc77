"""Hand-made claims and verdicts over synthetic results: one of every state a report must show."""

from collections.abc import Sequence
from pathlib import Path

from rtxbench.records import RatioRecord, Verdict, VerdictState
from rtxbench.report.parts import Context
from rtxbench.report.render.output import load_runs
from rtxbench.results.store import LoadedRun
from rtxbench.verdicts.claims import Claim

__all__ = ["CLAIMS", "context_of", "verdicts_of"]

CLAIMS = (
    Claim(
        id="tensor-cores",
        title="Tensor Cores make training faster",
        says="Tensor Cores speed up the computation of gradients.",
        measured="Training throughput of the same model in each reduced precision against strict float32.",
        kind="claim",
        reproduce="pytest bench/bench_claims.py --benchmark-only --claim tensor-cores",
        where="a machine with an NVIDIA GPU",
    ),
    Claim(
        id="dlss",
        title="DLSS raises training speed",
        says="DLSS raises training speed while keeping image quality.",
        measured="Nothing.",
        kind="claim",
        not_testable="DLSS renders frames; it has no training interface.",
        sources=("https://developer.nvidia.com/rtx/dlss",),
    ),
    Claim(
        id="cpu-matrix-unit",
        title="bfloat16 makes training faster on this machine's CPU",
        says="The CPU's own matrix unit speeds up training.",
        measured="mixed_bfloat16 against float32 on the CPU.",
        kind="finding",
        reproduce="pytest bench/bench_claims.py --benchmark-only --claim cpu-matrix-unit",
    ),
    Claim(id="my-4070", title="My card gains 1.5×", says="At least 1.5× in mixed precision.", measured="", kind="user"),
)


def verdicts_of(runs: Sequence[LoadedRun]) -> tuple[Verdict, ...]:
    """One verdict of every state, hand-made, so that a page does not change with the wording of the claims."""
    ratios = {
        (loaded.run.environment.machine, record.candidate.workload, record.candidate.precision): record
        for loaded in runs
        for record in loaded.of_kind(RatioRecord)
        if record.metric == "throughput" and record.candidate.device_count == 1
    }
    found: list[Verdict] = []
    for (machine, workload, precision), record in ratios.items():
        if precision == "mixed_float16" and workload in {"mlp", "resnet50"}:
            state = "supported" if workload == "resnet50" else "refuted"
            found.append(_verdict("tensor-cores", machine, state, record, f"{workload}: {precision} ÷ float32"))
    for machine in dict.fromkeys(loaded.run.environment.machine for loaded in runs):
        own = [verdict for verdict in found if verdict.machine == machine]
        if own:
            found.append(_verdict("tensor-cores", machine, "inconclusive", None))
            found.append(_verdict("my-4070", machine, "supported", ratios[machine, "resnet50", "mixed_float16"]))
        else:
            found.append(_verdict("tensor-cores", machine, "not-measured", None))
            found.append(_verdict("cpu-matrix-unit", machine, "refuted", ratios[machine, "mlp", "mixed_bfloat16"]))
        found.append(_verdict("dlss", machine, "not-testable", None))
    return tuple(found)


def _verdict(claim: str, machine: str, state: VerdictState, record: RatioRecord | None, subject: str = "") -> Verdict:
    words = {
        "supported": ("interval-above-threshold", "The whole interval lies above the line.", None),
        "refuted": ("interval-below-threshold", "The whole interval lies below the line.", None),
        "inconclusive": ("subjects-inconclusive", "Holds for some workloads only.", "Look at each workload."),
        "not-measured": ("no-gpu", "This machine has no NVIDIA GPU.", "Run `pytest bench` on a machine that has one."),
        "not-testable": ("not-testable", "DLSS renders frames; it has no training interface.", None),
    }
    reason, explanation, next_step = words[state]
    return Verdict(
        claim=claim,
        machine=machine,
        subject=subject,
        state=state,
        reason=reason,
        explanation=explanation,
        estimate=record.ratio if record else None,
        threshold_ratio=1.1 if record else None,
        evidence=(record.record_id,) if record else (),
        cause="launch-bound: the GPU waits for the host" if state == "refuted" else None,
        next_step=next_step,
    )


def context_of(folder: Path) -> Context:
    """A report's context over a results folder, with the hand-made claims and verdicts."""
    runs = load_runs([folder]).runs
    return Context(
        runs=runs,
        verdicts=verdicts_of(runs),
        claims={claim.id: claim for claim in CLAIMS},
    )

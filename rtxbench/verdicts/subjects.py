"""Every comparison and limit that was measured for a claim on one machine, judged by itself.

Several runs of one comparison are combined (`.statistics.pooling`); where every run by itself comes to the same,
that stands, too. Runs that decide opposite ways decide nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from rtxbench.records import Case, CaseRecord, Leaning, Note, Observation, Verdict, VerdictState
from rtxbench.verdicts.claims import Claim, Comparison, Fit, Limit
from rtxbench.verdicts.matching import MachineEvidence, PairedEvidence
from rtxbench.verdicts.next_steps import measure_again, with_step
from rtxbench.verdicts.statistics.decision import Decision, decide
from rtxbench.verdicts.statistics.pooling import combine_runs, log_ratio_of
from rtxbench.verdicts.wording import (
    describe_observation,
    describe_pair,
    evidence_ids,
    explanation_of,
    interval,
    refuted_below,
    scaling_note,
)
from rtxbench.wording import name_of

__all__ = ["Subject", "judge_subjects", "with_quality_checked", "worst_quality"]


@dataclass(frozen=True)
class Subject:
    """One judged comparison or limit, before the claim as a whole is judged."""

    part: str
    required: bool
    verdict: Verdict
    p_value: float = 0.0
    candidate: Case | None = None


def judge_subjects(machine: MachineEvidence, claim: Claim) -> tuple[Subject, ...]:
    """Judge what this machine's records hold for each part of the claim."""
    found: list[Subject] = []
    for comparison in claim.comparisons:
        groups: dict[str, list[PairedEvidence]] = {}
        for pair in machine.pairs(claim, comparison):
            groups.setdefault(describe_pair(pair.record), []).append(pair)
        found += [_judge_pairs(machine, claim, comparison, text, pairs) for text, pairs in groups.items()]
    for limit in claim.limits:
        observations: dict[str, list[Observation]] = {}
        for record in machine.observations(claim, limit):
            observations.setdefault(describe_observation(record), []).append(record)
        found += [_judge_limit(machine, claim, limit, text, records) for text, records in observations.items()]
    for fit in claim.fits:
        tried: dict[str, list[CaseRecord]] = {}
        for case in machine.tried_on_gpu(claim, fit):
            tried.setdefault(name_of(case.case.workload), []).append(case)
        found += [_judge_fit(machine, claim, fit, text, cases) for text, cases in tried.items()]
    return tuple(found)


# --- comparisons ----------------------------------------------------------------------------------------------------


def _judge_pairs(
    machine: MachineEvidence, claim: Claim, comparison: Comparison, subject: str, pairs: list[PairedEvidence]
) -> Subject:
    """Decide by all fit and independent runs; without any, say what is wrong with the latest."""
    fit = _independent([pair for pair in pairs if pair.problem is None])
    latest = (fit or pairs)[-1]
    undecided = Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject=subject,
        state="inconclusive",
        reason="",
        explanation="",
        threshold_ratio=comparison.threshold_ratio,
        refuted_below_ratio=refuted_below(comparison),
        evidence=evidence_ids(pair.record for pair in (fit or pairs)),
        estimate=latest.record.ratio,
    )
    again = measure_again(claim, latest.record, machine.profile_of(latest.record))
    if latest.problem is not None:
        reason, explanation, step = latest.problem
        verdict, p_value = with_step(replace(undecided, reason=reason, explanation=explanation), step, again), 1.0
    else:
        verdict, p_value = _decide_fit(machine, comparison, fit, undecided, again)
    return Subject(comparison.name, comparison.required, verdict, p_value, latest.record.candidate)


def _independent(pairs: Sequence[PairedEvidence]) -> list[PairedEvidence]:
    """Leave out runs over seeds that a later run used again, or may have: those are no replication."""
    kept: list[PairedEvidence] = []
    seen: set[int] = set()
    for pair in reversed(pairs):
        seeds = set(pair.record.seeds)
        if pair.record.replicate == "seed" and kept and (not seeds or not seen or seeds & seen):
            continue
        seen |= seeds
        kept.append(pair)
    return kept[::-1]


def _decide_fit(
    machine: MachineEvidence,
    comparison: Comparison,
    pairs: Sequence[PairedEvidence],
    undecided: Verdict,
    again: str | None,
) -> tuple[Verdict, float]:
    """Verdict and p value from fit runs, oldest first; runs with opposite outcomes decide nothing."""
    record = pairs[-1].record
    runs = [log_ratio_of(pair.record) for pair in pairs]
    own = [decide(run, comparison, doubtful=pair.doubtful) for run, pair in zip(runs, pairs, strict=True)]
    if {"supported", "refuted"} <= {decision.state for decision in own}:
        text = f"{len(runs)} runs on this machine come to opposite results; the latest is {interval(own[-1].estimate)}."
        return with_step(replace(undecided, reason="runs-disagree", explanation=text), _QUIET, again), 1.0
    together = decide(combine_runs(runs), comparison, doubtful=any(pair.doubtful for pair in pairs))
    decision = _agreed(own) if len({d.state for d in own}) == 1 and own[0].state != "inconclusive" else None
    decision = together if decision is None or together.state == decision.state else decision
    verdict = replace(
        undecided,
        state=decision.state,
        reason=decision.reason,
        estimate=decision.estimate,
        leaning=decision.leaning,
        explanation=explanation_of(comparison, record.metric, decision, len(runs)),
        notes=_notes(machine, pairs),
    )
    open_step = _STEPS.get(decision.reason, _MORE[record.replicate])
    return with_step(verdict, open_step, again) if verdict.state == "inconclusive" else verdict, decision.p_value


def _agreed(own: Sequence[Decision]) -> Decision:
    """Return the decision every run came to by itself, with the hull of their intervals."""
    estimates = [decision.estimate for decision in own]
    lows, highs = [e.low for e in estimates if e.low is not None], [e.high for e in estimates if e.high is not None]
    value = math.exp(math.fsum(math.log(e.value) for e in estimates) / len(estimates))
    hull = replace(estimates[-1], value=value, low=min(lows), high=max(highs), n=sum(e.n for e in estimates))
    return own[-1]._replace(estimate=hull, p_value=max(decision.p_value for decision in own))


_QUIET: Final = "Measure again in one quiet session"
_STEPS: Final = {"about-the-line": None, "not-converged": "Train longer"}
_MORE: Final = {"launch": "More launches narrow the interval", "seed": "More seeds narrow the interval"}


def _notes(machine: MachineEvidence, pairs: Sequence[PairedEvidence]) -> tuple[Note, ...]:
    record = pairs[-1].record
    notes = [machine.saving(record), scaling_note(record)]
    if any(pair.trending for pair in pairs):
        text = "The ratio still moved while it was measured, so the interval is wider: 99 %."
        ids = tuple(pair.record.record_id for pair in pairs if pair.trending)
        notes.append(Note(kind="trend", text=text, links=ids))
    improving = [flag.detail for pair in pairs for flag in pair.record.flags if flag.code == "not-converged"]
    notes += [Note(kind="unfinished", text=f"{text}.", links=(record.record_id,)) for text in dict.fromkeys(improving)]
    return tuple(note for note in notes if note is not None)


# --- limits ---------------------------------------------------------------------------------------------------------


def _judge_limit(
    machine: MachineEvidence, claim: Claim, limit: Limit, subject: str, records: list[Observation]
) -> Subject:
    record = records[-1]
    base = Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject=f"{limit.name} ({subject})" if subject else limit.name,
        state="inconclusive",
        reason="too-few-replicates",
        explanation=f"{len(record.values)} values were measured; a verdict needs {limit.minimum_values}.",
        evidence=(record.record_id,),
    )
    base = with_step(base, "Measure more values", measure_again(claim, record, "quick"))
    if record.reason is not None:
        failed = replace(base, reason="failed-arm", explanation=f"It failed: {record.reason}.")
        return Subject(limit.name, limit.required, failed, 1.0)
    worst = max((abs(value) for value in record.values), default=0.0)
    count = len(record.values)
    if any(math.isnan(value) for value in record.values):
        verdict = replace(base, reason="failed-arm", explanation="A value is not a number.")
    elif worst > limit.maximum:
        text = f"The largest of {count} values is {worst:.3g}; the limit is {limit.maximum:.3g}."
        verdict = _decided(base, "refuted", "above-limit", text)
    elif count >= limit.minimum_values:
        text = f"All {count} values are at most {worst:.3g}; the limit is {limit.maximum:.3g}."
        verdict = _decided(base, "supported", "within-limit", text)
    else:
        verdict = base
    return Subject(limit.name, limit.required, verdict, 0.0 if verdict.state != "inconclusive" else 1.0)


def _decided(base: Verdict, state: VerdictState, reason: str, explanation: str) -> Verdict:
    return replace(base, state=state, reason=reason, explanation=explanation, next_step=None, next_command=None)


# --- fits -----------------------------------------------------------------------------------------------------------


def _judge_fit(machine: MachineEvidence, claim: Claim, fit: Fit, subject: str, cases: list[CaseRecord]) -> Subject:
    """Judge whether it fits: one training at any batch shows it; else the latest failure says whether memory lacked."""
    record = next((case for case in reversed(cases) if case.status == "measured"), cases[-1])
    base = Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject=f"{fit.name}: {subject}",
        state="inconclusive",
        reason="failed-arm",
        explanation=f"It failed: {(record.reason or 'no reason given').rstrip('.')}.",
        evidence=(record.record_id,),
    )
    if record.status == "measured":
        verdict = _decided(base, "supported", "fits", f"It trained at batch {record.case.batch_size}.")
    elif "memory" in (record.reason or "").lower():
        verdict = _decided(base, "refuted", "out-of-memory", base.explanation)
    else:
        verdict = with_step(base, "Measure it again", measure_again(claim, record, "quick"))
    return Subject(fit.name, fit.required, verdict, 0.0 if verdict.state != "inconclusive" else 1.0)


# --- equal quality --------------------------------------------------------------------------------------------------

Quality = tuple[VerdictState, Leaning | None]


def worst_quality(subjects: Sequence[Subject]) -> dict[tuple[str, str], Quality]:
    """Map (precision, placement) to the worst state of the required parts of equal-quality, and where it leans."""
    order: tuple[VerdictState, ...] = ("supported", "inconclusive", "refuted")
    worst: dict[tuple[str, str], Quality] = {}
    for subject in subjects:
        if subject.required and subject.candidate is not None:
            key = (subject.candidate.precision, subject.candidate.placement)
            found = subject.verdict.state, subject.verdict.leaning
            worst[key] = max(worst.get(key, ("supported", None)), found, key=lambda quality: order.index(quality[0]))
    return worst


def with_quality_checked(subject: Subject, qualities: dict[tuple[str, str], Quality]) -> Subject:
    """Call a faster precision faster only where it is shown to train as well."""
    case = subject.candidate
    if case is None or subject.verdict.state != "supported" or case.precision == "float32":
        return subject
    quality, leaning = qualities.get((case.precision, case.placement), ("inconclusive", None))
    if quality == "supported":
        return subject
    faster = subject.verdict.explanation
    if quality == "refuted":
        reason, why = "quality-differs", f"but {case.precision} does not train to the same quality on this machine"
        step, command = "See equal-quality for the difference; a larger loss scale or bfloat16 may restore it", None
    else:
        reason, why = "quality-unproven", f"but nothing shows yet that {case.precision} trains to the same quality here"
        step, command = "Measure the quality", "pytest bench/bench_claims.py --benchmark-only --claim equal-quality"
    verdict = replace(
        subject.verdict,
        state="inconclusive",
        reason=reason,
        explanation=f"{faster.rstrip('.')}, {why}.",
        leaning=leaning,
    )
    return Subject(subject.part, subject.required, with_step(verdict, step, command), 1.0, case)

"""Records and claims in, verdicts out: what may be said on each machine, and why.

Every comparison measured (a *subject*: one workload, one pair of arms) gets a verdict of its own, and the claim as a
whole gets one from them, always the stricter reading:

- *supported*: every required part of the claim was measured, and every subject of it supports.
- *refuted*: in at least one required part, every subject refutes.
- *inconclusive*: anything between; the explanation says which subjects hold and which do not.
- *not-measured*: no evidence that may speak for it on this machine, with what to run where.
- *not-testable*: nothing can measure it.

Holm's correction is applied over the claims of one kind on one machine: a claim that holds only because many were
asked is inconclusive. See docs/claims.md.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from rtxbench.diagnosis.facts import Diagnoser
from rtxbench.records import GATE_SELFTEST_TOPIC, GATE_TOPIC, Case, Observation, RatioRecord, Verdict, VerdictState
from rtxbench.stats import holm_adjusted
from rtxbench.store import LoadedRun
from rtxbench.verdicts.causes import with_causes
from rtxbench.verdicts.claims import Claim, Comparison, Limit, load_claims
from rtxbench.verdicts.decision import decide
from rtxbench.verdicts.matching import MachineEvidence, PairedEvidence, by_machine
from rtxbench.verdicts.notes import with_notes
from rtxbench.verdicts.wording import (
    describe_observation,
    describe_pair,
    evidence_ids,
    explain,
    how_to_decide,
    interval,
    one_line,
    scaling_note,
)

__all__ = ["Claim", "judge", "load_claims"]

_ALPHA: Final = 0.05
_QUALITY_CLAIM: Final = "equal-quality"


@dataclass(frozen=True)
class _Subject:
    """One judged comparison or limit, before the claim as a whole is judged."""

    part: str
    required: bool
    verdict: Verdict
    p_value: float = 0.0
    candidate: Case | None = None


@dataclass(frozen=True)
class _JudgedClaim:
    claim: Claim
    subjects: tuple[_Subject, ...]


def judge(runs: Sequence[LoadedRun], claims: Sequence[Claim]) -> list[Verdict]:
    """Judge every claim on every machine of ``runs``.

    Returns:
        Per machine and claim: the verdict of the claim as a whole (empty ``subject``) followed by those of its
        subjects. Figures of two machines never enter one verdict, and a machine that only ran the gate gets none
        beside others.
    """
    spoken = [run for run in runs if not _only_of_the_gate(run)] or runs
    judged = [verdict for machine in by_machine(spoken) for verdict in _judge_machine(machine, claims)]
    diagnoser = Diagnoser(runs)
    return with_notes(runs, with_causes(runs, judged, diagnoser), claims, diagnoser)


def _only_of_the_gate(run: LoadedRun) -> bool:
    return bool(run.records) and all(
        isinstance(record, Observation) and record.topic in (GATE_TOPIC, GATE_SELFTEST_TOPIC) for record in run.records
    )


def _judge_machine(machine: MachineEvidence, claims: Sequence[Claim]) -> list[Verdict]:
    judged = [_JudgedClaim(claim, _subjects(machine, claim)) for claim in claims]
    qualities = _qualities(machine, claims)
    judged = [_with_quality_checked(entry, qualities) for entry in judged]
    wholes = _after_holm([(_whole(machine, entry), _whole_p_value(entry)) for entry in judged], claims)
    return [
        verdict
        for whole, entry in zip(wholes, judged, strict=True)
        for verdict in (whole, *(subject.verdict for subject in entry.subjects))
    ]


# --- subjects -------------------------------------------------------------------------------------------------------


def _subjects(machine: MachineEvidence, claim: Claim) -> tuple[_Subject, ...]:
    found: list[_Subject] = []
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
    return tuple(found)


def _judge_pairs(
    machine: MachineEvidence, claim: Claim, comparison: Comparison, subject: str, pairs: list[PairedEvidence]
) -> _Subject:
    """The latest fit record decides; without one, the latest record says what is wrong with it."""
    fit = [pair for pair in pairs if pair.problem is None]
    latest = (fit or pairs)[-1]
    undecided = Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject=subject,
        state="inconclusive",
        reason="",
        explanation="",
        threshold_ratio=comparison.threshold_ratio,
        evidence=evidence_ids(pair.record for pair in (fit or pairs)),
        estimate=latest.record.ratio,
    )
    if latest.problem is not None:
        reason, explanation, step = latest.problem
        verdict, p_value = replace(undecided, reason=reason, explanation=explanation, next_step=step), 1.0
    else:
        verdict, p_value = _decide_fit(machine, comparison, [pair.record for pair in fit], undecided)
    return _Subject(comparison.name, comparison.required, verdict, p_value, latest.record.candidate)


def _decide_fit(
    machine: MachineEvidence, comparison: Comparison, records: Sequence[RatioRecord], undecided: Verdict
) -> tuple[Verdict, float]:
    """Verdict and p value from fit records, oldest first; runs with opposite outcomes decide nothing."""
    decisions = [decide(record.ratio, comparison) for record in records]
    record, last = records[-1], decisions[-1]
    if {"supported", "refuted"} <= {decision.state for decision in decisions}:
        verdict = replace(
            undecided,
            reason="runs-disagree",
            explanation=f"{len(records)} measurements on this machine come to opposite results; the latest is "
            f"{interval(record)}.",
            next_step="Compare their environments in the report, then measure again in one quiet session.",
        )
        return verdict, 1.0
    verdict = replace(
        undecided,
        state=last.state,
        reason=last.reason,
        estimate=last.estimate,
        explanation=explain(comparison, record, last.state),
        notes=tuple(note for note in (machine.saving(record), scaling_note(record)) if note is not None),
        next_step=how_to_decide(record) if last.state == "inconclusive" else None,
    )
    return verdict, last.p_value


def _judge_limit(
    machine: MachineEvidence, claim: Claim, limit: Limit, subject: str, records: list[Observation]
) -> _Subject:
    record = records[-1]
    base = Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject=f"{limit.name} ({subject})" if subject else limit.name,
        state="inconclusive",
        reason="too-few-replicates",
        explanation=f"{len(record.values)} values were measured; a verdict needs {limit.minimum_values}.",
        evidence=(record.record_id,),
        next_step="Run it with `--profile standard`, which measures enough of them.",
    )
    if record.reason is not None:
        failed = replace(base, reason="failed-arm", explanation=f"It failed: {record.reason}.")
        return _Subject(limit.name, limit.required, failed, 1.0)
    worst = max((abs(value) for value in record.values), default=0.0)
    count = len(record.values)
    if any(math.isnan(value) for value in record.values):
        verdict = replace(base, reason="failed-arm", explanation="A value is not a number.")
    elif worst > limit.maximum:
        text = f"The largest of {count} values is {worst:.3g}; the limit is {limit.maximum:.3g}."
        verdict = replace(base, state="refuted", reason="above-limit", explanation=text, next_step=None)
    elif count >= limit.minimum_values:
        text = f"All {count} values are at most {worst:.3g}; the limit is {limit.maximum:.3g}."
        verdict = replace(base, state="supported", reason="within-limit", explanation=text, next_step=None)
    else:
        verdict = base
    return _Subject(limit.name, limit.required, verdict, 0.0 if verdict.state != "inconclusive" else 1.0)


# --- equal quality --------------------------------------------------------------------------------------------------


def _qualities(machine: MachineEvidence, claims: Sequence[Claim]) -> dict[tuple[str, str], VerdictState]:
    """(precision, placement) → the worst state of the required parts of equal-quality."""
    if not any(claim.needs_equal_quality for claim in claims):
        return {}
    quality = next(claim for claim in (*claims, *load_claims()) if claim.id == _QUALITY_CLAIM)
    order: tuple[VerdictState, ...] = ("supported", "inconclusive", "refuted")
    worst: dict[tuple[str, str], VerdictState] = {}
    for subject in _subjects(machine, quality):
        if subject.required and subject.candidate is not None:
            key = (subject.candidate.precision, subject.candidate.placement)
            worst[key] = max(worst.get(key, "supported"), subject.verdict.state, key=order.index)
    return worst


def _with_quality_checked(entry: _JudgedClaim, qualities: dict[tuple[str, str], VerdictState]) -> _JudgedClaim:
    if not entry.claim.needs_equal_quality:
        return entry
    return _JudgedClaim(entry.claim, tuple(_quality_checked(subject, qualities) for subject in entry.subjects))


def _quality_checked(subject: _Subject, qualities: dict[tuple[str, str], VerdictState]) -> _Subject:
    """A faster precision is only called faster where it is shown to train as well."""
    case = subject.candidate
    if case is None or subject.verdict.state != "supported" or case.precision == "float32":
        return subject
    quality = qualities.get((case.precision, case.placement))
    if quality == "supported":
        return subject
    faster = subject.verdict.explanation
    if quality == "refuted":
        reason, why = "quality-differs", f"but {case.precision} does not train to the same quality on this machine"
        step = "See equal-quality for the difference; a larger loss scale or mixed_bfloat16 may restore it."
    else:
        reason, why = "quality-unproven", f"but nothing shows yet that {case.precision} trains to the same quality here"
        step = "Run `pytest bench/bench_quality.py --benchmark-only`, which measures equal-quality."
    verdict = replace(
        subject.verdict,
        state="inconclusive",
        reason=reason,
        explanation=f"{faster.rstrip('.')}, {why}.",
        next_step=step,
    )
    return _Subject(subject.part, subject.required, verdict, 1.0, case)


# --- the claim as a whole -------------------------------------------------------------------------------------------


def _whole(machine: MachineEvidence, entry: _JudgedClaim) -> Verdict:
    claim = entry.claim
    if claim.not_testable:
        return _verdict(machine, claim, "not-testable", ("not-testable", one_line(claim.not_testable), None))
    required = [subject for subject in entry.subjects if subject.required]
    if not required:
        return _not_measured(machine, claim)
    state, because = _combine(machine, claim, required)
    return replace(
        _verdict(machine, claim, state, because),
        estimate=required[0].verdict.estimate if len(required) == 1 else None,
        threshold_ratio=required[0].verdict.threshold_ratio if len(required) == 1 else None,
        evidence=tuple(dict.fromkeys(record for subject in required for record in subject.verdict.evidence)),
    )


def _combine(
    machine: MachineEvidence, claim: Claim, required: Sequence[_Subject]
) -> tuple[VerdictState, tuple[str, str, str | None]]:
    """The strict reading of the module's docstring: state, and (reason, explanation, next step)."""
    parts = {name: [s for s in required if s.part == name] for name in claim.required_parts}
    missing = [name for name, subjects in parts.items() if not subjects]
    refuted = [name for name, subjects in parts.items() if subjects and _all_are("refuted", subjects)]
    summary = _summary(required)
    if refuted:
        return "refuted", ("part-refuted" if len(parts) > 1 else "every-subject-refutes", summary, None)
    if missing:
        return "inconclusive", _incomplete(machine, claim, summary, missing)
    if _all_are("supported", required):
        return "supported", ("every-subject-supports", summary, None)
    steps = [s.verdict.next_step for s in required if s.verdict.next_step]
    if {"supported", "refuted"} <= {s.verdict.state for s in required}:
        return "inconclusive", ("depends-on-subject", summary, "Read the verdict of the workload nearest to yours.")
    reason = required[0].verdict.reason if len(required) == 1 else "subjects-inconclusive"
    return "inconclusive", (reason, summary, steps[0] if steps else None)


def _incomplete(
    machine: MachineEvidence, claim: Claim, summary: str, missing: Sequence[str]
) -> tuple[str, str, str | None]:
    """Which parts are missing and, where a trial was run and says so, why; then the same command is no cure."""
    reasons = {part.name: machine.why_absent(claim, part) for part in claim.comparisons if part.name in missing}
    named = [f"{name} ({reasons[name]})" if reasons.get(name) else name for name in missing]
    longer = " --profile standard" if any(reasons.values()) else ""
    step = f"Run `{claim.reproduce}{longer}`." if claim.reproduce else None
    return "incomplete-evidence", f"{summary} Not measured: {'; '.join(named)}.", step


def _all_are(state: VerdictState, subjects: Iterable[_Subject]) -> bool:
    return all(subject.verdict.state == state for subject in subjects)


def _summary(subjects: Sequence[_Subject]) -> str:
    if len(subjects) == 1:
        return subjects[0].verdict.explanation
    words: tuple[tuple[VerdictState, str], ...] = (
        ("supported", "Holds for"),
        ("refuted", "Does not hold for"),
        ("inconclusive", "Undecided for"),
    )
    groups = [(word, [s.verdict.subject for s in subjects if s.verdict.state == state]) for state, word in words]
    return " ".join(f"{word} {_listing(names)}." for word, names in groups if names)


def _listing(names: Sequence[str], limit: int = 4) -> str:
    shown = "; ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}; and {len(names) - limit} more"


def _not_measured(machine: MachineEvidence, claim: Claim) -> Verdict:
    lacking = machine.lacks(claim)
    if lacking is not None:
        return _verdict(machine, claim, "not-measured", lacking)
    skipped = machine.skipped(claim)
    detail = (
        ""
        if skipped is None
        else f" {skipped.case.label} was {skipped.status}: {(skipped.reason or 'no reason given').rstrip('.')}."
    )
    step = f"Run `{claim.reproduce}`." if claim.reproduce else "Measure the cases its comparisons name."
    reason = "not-run" if skipped is None else "case-skipped"
    explanation = f"No record of this machine speaks for it.{detail}"
    return _verdict(machine, claim, "not-measured", (reason, explanation, step))


def _verdict(
    machine: MachineEvidence,
    claim: Claim,
    state: VerdictState,
    because: tuple[str, str, str | None],
) -> Verdict:
    """A verdict on the claim as a whole; ``because`` is (reason code, explanation, next step)."""
    reason, explanation, next_step = because
    return Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject="",
        state=state,
        reason=reason,
        explanation=explanation,
        next_step=next_step,
    )


def _whole_p_value(entry: _JudgedClaim) -> float:
    """The largest p value among the subjects that must all agree (intersection-union test, Berger 1982).

    For *supported* these are all required subjects; for *refuted* those of one wholly refuted part.
    """
    required = [subject for subject in entry.subjects if subject.required]
    parts: dict[str, list[_Subject]] = {}
    for subject in required:
        parts.setdefault(subject.part, []).append(subject)
    refuting = [subjects for subjects in parts.values() if _all_are("refuted", subjects)]
    if refuting:
        return min(max(subject.p_value for subject in subjects) for subjects in refuting)
    return max((subject.p_value for subject in required), default=1.0)


def _after_holm(wholes: Sequence[tuple[Verdict, float]], claims: Sequence[Claim]) -> list[Verdict]:
    """Keep supported and refuted only where they survive Holm's correction over the claims of their kind."""
    corrected = [verdict for verdict, _ in wholes]
    for kind in {claim.kind for claim in claims}:
        family = [
            index
            for index, claim in enumerate(claims)
            if claim.kind == kind and corrected[index].state in {"supported", "refuted", "inconclusive"}
        ]
        adjusted = holm_adjusted([wholes[index][1] for index in family])
        for index, p_value in zip(family, adjusted, strict=True):
            if corrected[index].state in {"supported", "refuted"} and p_value > _ALPHA:
                corrected[index] = _not_significant(corrected[index], p_value, len(family))
    return corrected


def _not_significant(verdict: Verdict, p_value: float, count: int) -> Verdict:
    text = f"{verdict.explanation} Judged alone it would be {verdict.state}, but among {count} claims judged together "
    return replace(
        verdict,
        state="inconclusive",
        reason="holm",
        explanation=f"{text}chance is not excluded (Holm-adjusted p = {p_value:.2g}).",
        next_step="Measure more launches (`--profile standard` or `full`).",
    )

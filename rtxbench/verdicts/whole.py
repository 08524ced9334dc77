"""From the judged comparisons of a claim to the claim as a whole, always the stricter reading.

- *refuted*: in at least one required part, every subject refutes.
- *supported*: every required part of the claim was measured, and every subject of it supports.
- *mixed*: some required subjects support and some refute; it says how many hold, over which range, and which do not.
- *inconclusive*: anything between, leaning where all its subjects do.
- *not-measured*: no evidence that may speak for it on this machine, with what to run where.
- *not-testable*: nothing can measure it.

Holm's correction is applied over the claims of one kind on one machine: a claim that holds only because many were
asked is inconclusive. Before it, a refutation's p value is multiplied by the number of parts that could have refuted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec.structs import replace

from rtxbench.printable import one_line
from rtxbench.records import Leaning, Verdict, VerdictState
from rtxbench.stats import holm_adjusted
from rtxbench.verdicts.claims import Claim
from rtxbench.verdicts.matching import MachineEvidence
from rtxbench.verdicts.next_steps import most_frequent_step, with_step
from rtxbench.verdicts.subjects import Subject
from rtxbench.verdicts.wording import range_text
from rtxbench.wording import name_of

__all__ = ["JudgedClaim", "after_holm", "judge_whole", "whole_p_value"]

_ALPHA: Final = 0.05


@dataclass(frozen=True)
class JudgedClaim:
    """A claim and its judged subjects on one machine."""

    claim: Claim
    subjects: tuple[Subject, ...]

    @property
    def required(self) -> list[Subject]:
        """The subjects the claim as a whole rests on."""
        return [subject for subject in self.subjects if subject.required]

    @property
    def parts(self) -> dict[str, list[Subject]]:
        """Required part → its subjects; empty where it was not measured."""
        return {name: [s for s in self.required if s.part == name] for name in self.claim.required_parts}


class _Because(NamedTuple):
    """State of a claim as a whole, with its reason."""

    state: VerdictState
    reason: str
    explanation: str
    next_step: str | None = None
    next_command: str | None = None
    leaning: Leaning | None = None


def judge_whole(machine: MachineEvidence, entry: JudgedClaim) -> Verdict:
    """Judge the claim as a whole, before Holm's correction."""
    claim, required = entry.claim, entry.required
    if claim.not_testable:
        return _verdict(machine, claim, _Because("not-testable", "not-testable", one_line(claim.not_testable)))
    if not required:
        return _not_measured(machine, claim)
    only = required[0].verdict if len(required) == 1 else None
    decided = [s.verdict for s in required if s.verdict.state in ("supported", "refuted")]
    return replace(
        _verdict(machine, claim, _combine(machine, entry)),
        estimate=only.estimate if only else None,
        threshold_ratio=only.threshold_ratio if only else None,
        refuted_below_ratio=only.refuted_below_ratio if only else None,
        held=sum(verdict.state == "supported" for verdict in decided),
        judged=len(decided),
        range_ratio=_range([s for s in required if s.verdict.state == "supported"] or _decided(required)),
        evidence=tuple(dict.fromkeys(record for subject in required for record in subject.verdict.evidence)),
    )


def _decided(subjects: Iterable[Subject]) -> list[Subject]:
    return [subject for subject in subjects if subject.verdict.state in ("supported", "refuted")]


def _range(subjects: Sequence[Subject]) -> tuple[float, float] | None:
    """Lowest and highest estimate, where all are of one part: ratios of time and of errors make no range."""
    values = [s.verdict.estimate.value for s in subjects if s.verdict.estimate is not None]
    return (min(values), max(values)) if values and len({s.part for s in subjects}) == 1 else None


def _combine(machine: MachineEvidence, entry: JudgedClaim) -> _Because:
    """Combine the parts by the strict reading of the module's docstring."""
    parts, required = entry.parts, entry.required
    missing = [name for name, subjects in parts.items() if not subjects]
    summary = _summary(required)
    if any(subjects and _all_are("refuted", subjects) for subjects in parts.values()):
        return _Because("refuted", "part-refuted" if len(parts) > 1 else "every-subject-refutes", summary)
    if {"supported", "refuted"} <= {s.verdict.state for s in required}:
        text = _mixed_summary(parts) + (f" Not measured: {'; '.join(missing)}." if missing else "")
        return _Because("mixed", "depends-on-subject", text, "Read the verdict of the model nearest to yours.")
    if missing:
        return _incomplete(machine, entry, summary, missing)
    if _all_are("supported", required):
        return _Because("supported", "every-subject-supports", summary)
    reason = required[0].verdict.reason if len(required) == 1 else "subjects-inconclusive"
    step = most_frequent_step(entry.claim, [s.verdict for s in required if s.verdict.state == "inconclusive"])
    return _Because("inconclusive", reason, summary, *step, _leaning(parts))


def _leaning(parts: dict[str, list[Subject]]) -> Leaning | None:
    """Lean to no where all of one part refutes or leans to it; to yes where everything supports or leans to it."""
    toward: dict[Leaning, VerdictState] = {"likely-yes": "supported", "likely-no": "refuted"}

    def leans(subjects: Sequence[Subject], leaning: Leaning) -> bool:
        return all(s.verdict.state == toward[leaning] or s.verdict.leaning == leaning for s in subjects)

    if any(subjects and leans(subjects, "likely-no") for subjects in parts.values()):
        return "likely-no"
    return "likely-yes" if all(subjects and leans(subjects, "likely-yes") for subjects in parts.values()) else None


def _incomplete(machine: MachineEvidence, entry: JudgedClaim, summary: str, missing: Sequence[str]) -> _Because:
    """Name the parts that are missing and, where a trial was run and says so, why; then the same command is no cure."""
    claim = entry.claim
    reasons = {part.name: machine.why_absent(claim, part) for part in claim.comparisons if part.name in missing}
    named = [f"{name} ({reasons[name]})" if reasons.get(name) else name for name in missing]
    longer = " --profile standard" if any(reasons.values()) else ""
    command = f"{claim.reproduce}{longer}" if claim.reproduce else None
    step = f"Run `{command}`." if command else None
    old = machine.superseded(claim)
    text = f"{summary} Not measured: {'; '.join(named)}.{' ' + old if old else ''}"
    return _Because("inconclusive", "incomplete-evidence", text, step, command, _leaning(entry.parts))


def _all_are(state: VerdictState, subjects: Iterable[Subject]) -> bool:
    return all(subject.verdict.state == state for subject in subjects)


# --- words ----------------------------------------------------------------------------------------------------------


def _summary(subjects: Sequence[Subject]) -> str:
    if len(subjects) == 1:
        return subjects[0].verdict.explanation
    words: tuple[tuple[VerdictState, str], ...] = (
        ("supported", "Holds for"),
        ("refuted", "Does not hold for"),
        ("inconclusive", "Undecided for"),
    )
    groups = [(word, [s.verdict.subject for s in subjects if s.verdict.state == state]) for state, word in words]
    return " ".join(f"{word} {_listing(names)}." for word, names in groups if names)


def _mixed_summary(parts: dict[str, list[Subject]]) -> str:
    """Write ``Holds for 4 of 5, 1.30× to 1.84×; not for a small dense net (0.98×).`` for every part measured."""
    measured = {name: subjects for name, subjects in parts.items() if subjects}
    texts = []
    for name, subjects in measured.items():
        part = f"{name}: " if len(measured) > 1 else ""
        texts.append(f"{part}{_mixed_part(subjects)}."[0].upper() + f"{part}{_mixed_part(subjects)}."[1:])
    return " ".join(texts)


def _mixed_part(subjects: Sequence[Subject]) -> str:
    held = [s for s in subjects if s.verdict.state == "supported"]
    decided = _decided(subjects)
    span = _range(held)
    over = f", {range_text(*span)}" if span else ""
    text = f"holds for {len(held)} of {len(decided)} decided{over}" if decided else "none is decided"
    names = _short_names(subjects)
    failed = [f"{names[i]}{_figure(s)}" for i, s in enumerate(subjects) if s.verdict.state == "refuted"]
    still_open = [names[i] for i, s in enumerate(subjects) if s.verdict.state == "inconclusive"]
    text += f"; not for {_listing(failed)}" if failed else ""
    return text + (f"; undecided for {_listing(still_open)}" if still_open else "")


def _figure(subject: Subject) -> str:
    estimate = subject.verdict.estimate
    return "" if estimate is None else f" ({range_text(estimate.value, estimate.value)})"


def _short_names(subjects: Sequence[Subject]) -> list[str]:
    """Return the models' names where these tell the subjects apart, else the subjects in full."""
    names = [name_of(s.candidate.workload) if s.candidate is not None else "" for s in subjects]
    return names if len(set(names)) == len(names) and all(names) else [s.verdict.subject for s in subjects]


def _listing(names: Sequence[str], limit: int = 4) -> str:
    shown = "; ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}; and {len(names) - limit} more"


def _not_measured(machine: MachineEvidence, claim: Claim) -> Verdict:
    lacking = machine.lacks(claim)
    command = claim.reproduce or None
    if lacking is not None:
        return _verdict(machine, claim, _Because("not-measured", *lacking, command))
    skipped = machine.skipped(claim)
    old = machine.superseded(claim)
    detail = f" {old}" if old else ""
    if skipped is not None:
        detail += f" {skipped.case.label} was {skipped.status}: {(skipped.reason or 'no reason given').rstrip('.')}."
    step = f"Run `{command}`." if command else "Measure the cases its comparisons name."
    reason = "superseded-line" if old else "not-run" if skipped is None else "case-skipped"
    explanation = f"No record of this machine speaks for it.{detail}"
    return _verdict(machine, claim, _Because("not-measured", reason, explanation, step, command))


def _verdict(machine: MachineEvidence, claim: Claim, because: _Because) -> Verdict:
    return Verdict(
        claim=claim.id,
        machine=machine.machine,
        subject="",
        state=because.state,
        reason=because.reason,
        explanation=because.explanation,
        next_step=because.next_step,
        next_command=because.next_command,
        leaning=because.leaning,
    )


# --- many claims ----------------------------------------------------------------------------------------------------


def whole_p_value(entry: JudgedClaim) -> float:
    """Take the largest p among the subjects that must all agree (Berger 1982), times the alternatives of the state.

    *Supported*: all required subjects must. *Refuted*: all of one part, and any of the required parts could have.
    *Mixed*: one must support and one refute, and any of the subjects could have.
    """
    required, parts = entry.required, entry.parts
    refuting = [subjects for subjects in parts.values() if subjects and _all_are("refuted", subjects)]
    if refuting:
        return min(1.0, len(parts) * min(max(subject.p_value for subject in subjects) for subjects in refuting))
    by_state = {state: [s.p_value for s in required if s.verdict.state == state] for state in ("supported", "refuted")}
    if all(by_state.values()):
        return min(1.0, len(required) * max(min(values) for values in by_state.values()))
    return max((subject.p_value for subject in required), default=1.0)


def after_holm(wholes: Sequence[tuple[Verdict, float]], claims: Sequence[Claim]) -> list[Verdict]:
    """Keep decided states only where they survive Holm's correction over the claims of their kind."""
    corrected = [verdict for verdict, _ in wholes]
    decided = {"supported", "refuted", "mixed"}
    for kind in {claim.kind for claim in claims}:
        family = [
            index
            for index, claim in enumerate(claims)
            if claim.kind == kind and corrected[index].state in {*decided, "inconclusive"}
        ]
        adjusted = holm_adjusted([wholes[index][1] for index in family])
        for index, p_value in zip(family, adjusted, strict=True):
            if corrected[index].state in decided and p_value > _ALPHA:
                corrected[index] = _not_significant(corrected[index], p_value, len(family))
    return corrected


def _not_significant(verdict: Verdict, p_value: float, count: int) -> Verdict:
    leanings: dict[str, Leaning] = {"supported": "likely-yes", "refuted": "likely-no"}
    text = f"{verdict.explanation} Judged alone it would be {verdict.state}, but among {count} claims judged together "
    changed = replace(
        verdict,
        state="inconclusive",
        reason="holm",
        explanation=f"{text}chance is not excluded (Holm-adjusted p = {p_value:.2g}).",
        leaning=leanings.get(verdict.state),
    )
    return with_step(changed, "Measure more launches (`--profile standard` or `full`)", None)

"""Choose the records that may speak for a claim, and check that each is fit to: the preconditions of docs/method.md.

A record that does not match is not evidence at all. One that matches but fails a precondition is evidence that
gives no verdict, and says why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from rtxbench.placement import is_functional_check
from rtxbench.precision import why_unproven
from rtxbench.records import Case, CaseRecord, Environment, Flag, Note, Observation, RatioRecord
from rtxbench.results.store import LoadedRun
from rtxbench.stats import ratio_estimate
from rtxbench.units import format_percent
from rtxbench.verdicts.claims import CaseSelectors, Claim, Comparison, Fit, Limit
from rtxbench.verdicts.selectors import selects
from rtxbench.verdicts.statistics.pooling import widening
from rtxbench.verdicts.statistics.steadiness import ratio_trends
from rtxbench.wording import say_flag, say_metric

__all__ = ["MachineEvidence", "PairedEvidence", "Problem", "by_machine", "comparable", "lacks", "matches"]

_FIELDS: Final = (
    "workload",
    "batch_size",
    "precision",
    "placement",
    "engine",
    "compiler",
    "device_count",
    "variant",
)
_PATTERNS: Final = ("workload", "precision", "placement", "engine", "compiler", "variant")

_AGAIN: Final = "Measure both arms again in one run."


class Problem(NamedTuple):
    """The reason why evidence gives no verdict: its code, a sentence, what to do."""

    reason: str
    explanation: str
    next_step: str


class PairedEvidence(NamedTuple):
    """One matching paired record and, where it is not fit to judge by, the first thing wrong with it."""

    record: RatioRecord
    problem: Problem | None
    trending: bool = False
    """The ratio still moved while it was measured, or may have."""

    @property
    def doubtful(self) -> bool:
        """Return whether it moved, or was looked at until it looked narrow: then a verdict needs 99 %."""
        return self.trending or widening(self.record) > 1.001


@dataclass(frozen=True)
class MachineEvidence:
    """Everything measured on one machine."""

    machine: str
    runs: tuple[LoadedRun, ...]
    _cases: dict[str, CaseRecord] = field(default_factory=dict)
    _observations: dict[str, Observation] = field(default_factory=dict)
    _ratios: dict[tuple[str, str, Case, Case], list[tuple[Environment, RatioRecord]]] = field(default_factory=dict)
    """Comparison → its records: one comparison is matched once, however often it was measured."""
    _profiles: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for run in self.runs:
            self._cases.update({record.record_id: record for record in run.of_kind(CaseRecord)})
            self._observations.update({record.record_id: record for record in run.of_kind(Observation)})
            for record in run.of_kind(RatioRecord):
                pair = (record.metric, record.replicate, record.baseline, record.candidate)
                self._ratios.setdefault(pair, []).append((run.run.environment, record))
            self._profiles[run.run.run_id] = run.run.profile

    def profile_of(self, record: RatioRecord) -> str:
        """Return the profile a record was measured in; empty where its run is not here."""
        return self._profiles.get(record.run_id, "")

    def lacks(self, claim: Claim) -> Problem | None:
        """Give the reason why no run of this machine can speak for the claim, or ``None``."""
        reasons = [lacks(run.run.environment, claim) for run in self.runs]
        return None if any(reason is None for reason in reasons) else reasons[-1]

    def pairs(self, claim: Claim, comparison: Comparison) -> list[PairedEvidence]:
        """Matching ratio records, oldest first."""
        found = [
            PairedEvidence(record, self._problem(record, comparison), self._trends(record))
            for records in self._ratios.values()
            if matches(records[0][1], comparison)
            for environment, record in records
            if lacks(environment, claim) is None and _enough_gpus(record.candidate, environment)
        ]
        return sorted(found, key=lambda evidence: evidence.record.finished_at)

    def observations(self, claim: Claim, limit: Limit) -> list[Observation]:
        """Matching observations on this claim's topic, oldest first."""
        found = [
            record
            for run in self.runs
            if lacks(run.run.environment, claim) is None
            for record in run.of_kind(Observation)
            if record.topic == claim.id and record.metric == limit.metric and _labels_match(record, limit)
        ]
        return sorted(found, key=lambda record: record.finished_at)

    def why_absent(self, claim: Claim, comparison: Comparison) -> str | None:
        """Return the latest reason a trial stored in place of the figure of one of the comparison's arms."""
        arms = (comparison.baseline, comparison.candidate)
        names = {name for arm in arms for field in comparison.varies for name in getattr(arm, field, ())}
        found = [
            record
            for record in self._observations.values()
            if record.topic == claim.id and record.reason and record.labels.get("arm") in names
        ]
        latest = max(found, key=lambda record: record.finished_at, default=None)
        return None if latest is None else f"{latest.labels['arm']}: {latest.reason}"

    def superseded(self, claim: Claim) -> str:
        """Name the comparisons measured by a figure that the claim was judged by once; empty without any."""
        found = [
            comparison.metric
            for comparison in claim.comparisons
            if comparison.was_metric
            and any(matches(known[0][1], comparison, comparison.was_metric) for known in self._ratios.values())
        ]
        if not found:
            return ""
        return (
            "Older records hold the figure it was judged by before, which no longer speaks for it; now it is judged by "
            f"{' and '.join(dict.fromkeys(map(say_metric, found)))}."
        )

    def tried_on_gpu(self, claim: Claim, fit: Fit) -> list[CaseRecord]:
        """Cases of the fit's workloads that were run on a GPU of this machine, oldest first."""
        found = [
            record
            for run in self.runs
            if lacks(run.run.environment, claim) is None
            for record in run.of_kind(CaseRecord)
            if record.status != "skipped"
            and record.case.placement == "gpu"
            and selects("workload", fit.workload, record.case.workload)
        ]
        return sorted(found, key=lambda record: record.finished_at)

    def skipped(self, claim: Claim) -> CaseRecord | None:
        """Find the latest case that could have spoken for the claim but was skipped or failed."""
        found = [
            record
            for record in self._cases.values()
            if record.status != "measured" and (_planned_for(record, claim) or _wanted_by(record, claim))
        ]
        return max(found, key=lambda record: record.finished_at, default=None)

    def saving(self, record: RatioRecord) -> Note | None:
        """Compute how much of a saving in floating-point operations became time, where the arms are two workloads."""
        arms = [self._cases.get(name) for name in (record.baseline_record, record.candidate_record)]
        flops = [arm.measurement.flops_per_step for arm in arms if arm is not None and arm.measurement is not None]
        known = [value for value in flops if value]
        if len(known) != 2 or record.baseline.workload == record.candidate.workload or known[1] >= known[0]:
            return None
        computation, spent = 1 - known[1] / known[0], 1 - 1 / record.ratio.value
        text = (
            f"It computes {format_percent(computation, 0)} less and takes {format_percent(spent, 0)} less time: "
            f"{format_percent(spent / computation, 0)} of the saving became time."
        )
        return Note(kind="saving", text=text, links=(record.baseline_record, record.candidate_record))

    def _problem(self, record: RatioRecord, comparison: Comparison) -> Problem | None:
        return (
            self._arm_problem(record)
            or _flag_problem(record.flags)
            or _interval_problem(record, comparison)
            or _consistency_problem(record)
        )

    def _arm_problem(self, record: RatioRecord) -> Problem | None:
        """Say which arm is missing, unfinished or not finite: half of a comparison is no evidence."""
        for arm, record_id in (("baseline", record.baseline_record), ("candidate", record.candidate_record)):
            problem = self._one_arm_problem(arm, record_id)
            if problem is not None:
                return problem
        return None

    def _trends(self, record: RatioRecord) -> bool:
        """Judged on the ratio; where its rounds cannot tell, an arm that had not warmed up makes it doubtful."""
        arms = [self._cases.get(name) for name in (record.baseline_record, record.candidate_record)]
        measured = [arm.measurement for arm in arms if arm is not None and arm.measurement is not None]
        found = ratio_trends(measured[0], measured[1]) if len(measured) == 2 else None
        return not record.warmup_ok if found is None else found

    def _one_arm_problem(self, arm: str, record_id: str) -> Problem | None:
        case, observation = self._cases.get(record_id), self._observations.get(record_id)
        if case is not None:
            return _case_problem(arm, case)
        if observation is None:
            return Problem("half-evidence", f"The {arm}'s own record {record_id!r} is missing.", _AGAIN)
        if observation.values and all(math.isfinite(value) for value in observation.values):
            return None
        return Problem("failed-arm", f"The {arm} has no finite values.", _AGAIN)


def by_machine(runs: Sequence[LoadedRun]) -> list[MachineEvidence]:
    """Group runs by machine fingerprint, in order of first appearance: figures of two machines never mix."""
    machines: dict[str, list[LoadedRun]] = {}
    for run in runs:
        machines.setdefault(run.run.environment.machine, []).append(run)
    return [MachineEvidence(machine, tuple(grouped)) for machine, grouped in machines.items()]


def _case_problem(arm: str, case: CaseRecord) -> Problem | None:
    if case.status != "measured" or case.measurement is None:
        return Problem("failed-arm", f"The {arm} was {case.status}: {case.reason or 'no reason given'}.", _AGAIN)
    if any(launch.loss is None or not math.isfinite(launch.loss) for launch in case.measurement.launches):
        return Problem(
            "loss-not-finite",
            f"The {arm}'s loss was not finite, so it did not train.",
            "Lower the learning rate or use a precision with more range (mixed_bfloat16).",
        )
    contradiction = why_unproven(case.case.precision, case.measurement.numerics)
    if contradiction is not None:
        return Problem(
            "precision-contradicted",
            f"The {arm} did not compute in {case.case.precision}: {contradiction}.",
            "Unset NVIDIA_TF32_OVERRIDE and ONEDNN_DEFAULT_FPMATH_MODE, run `rtxbench doctor`, and measure again.",
        )
    return _flag_problem(case.flags)


def _planned_for(record: CaseRecord, claim: Claim) -> bool:
    """Return whether the group is named after the claim, as the suite names its groups: ``vision/resnet50``."""
    return record.group.partition("/")[0] == claim.id


def _wanted_by(record: CaseRecord, claim: Claim) -> bool:
    """Match on the candidate: a user's own claim has no group."""
    return claim.kind == "user" and any(_arm_matches(record.case, part.candidate) for part in claim.comparisons)


def lacks(environment: Environment, claim: Claim) -> Problem | None:
    """Name what a machine lacks to speak for a claim; ``None`` where it lacks nothing."""
    found, needed = len(environment.gpus), claim.needs_gpus
    step = _where(claim)
    if claim.gpu_name and not any(fnmatchcase(gpu.name, name) for gpu in environment.gpus for name in claim.gpu_name):
        present = ", ".join(gpu.name for gpu in environment.gpus)
        reason, has = ("other-gpu", f"it has {present}") if found else ("no-gpu", "it has no NVIDIA GPU")
        return Problem(reason, f"This machine has no GPU that the claim is about; {has}.", step)
    if found < needed and found == 0:
        return Problem("no-gpu", "This machine has no NVIDIA GPU, and a CPU says nothing about one.", step)
    if found < needed:
        return Problem("too-few-gpus", f"It needs {needed} NVIDIA GPUs; this machine has {found}.", step)
    return None


def _where(claim: Claim) -> str:
    place = f"On {claim.where}; then " if claim.where else "Run "
    return f"{place}`{claim.reproduce}`." if claim.reproduce else f"{place}measure it there."


def matches(record: RatioRecord, comparison: Comparison, metric: str | None = None) -> bool:
    """Return whether a record is evidence for the comparison."""
    return (
        record.metric == (metric or comparison.metric)
        and record.replicate == comparison.replicate
        and comparable(record.baseline, record.candidate, comparison)
    )


def comparable(baseline: Case, candidate: Case, comparison: Comparison) -> bool:
    """Return whether selectors fit and the arms differ in every field that varies and in none that may not."""
    differing = {name for name in _FIELDS if getattr(baseline, name) != getattr(candidate, name)}
    return (
        set(comparison.varies) <= differing <= {*comparison.varies, *comparison.may_vary}
        and _arm_matches(baseline, comparison.baseline)
        and _arm_matches(candidate, comparison.candidate)
        and _weak_scaling_is_fair(baseline, candidate, differing)
    )


def _weak_scaling_is_fair(baseline: Case, candidate: Case, differing: set[str]) -> bool:
    """When devices and batch both change, the batch per device must not."""
    if not {"device_count", "batch_size"} <= differing:
        return True
    return baseline.batch_size * candidate.device_count == candidate.batch_size * baseline.device_count


def _arm_matches(case: Case, arm: CaseSelectors) -> bool:
    if is_functional_check(case.placement):
        return False
    if case.device_count < arm.minimum_devices:
        return False
    for name in _PATTERNS:
        patterns, value = getattr(arm, name), getattr(case, name)
        if not selects(name, patterns, value):
            return False
    return True


def _enough_gpus(case: Case, environment: Environment) -> bool:
    """Return whether so many GPUs are listed: a case on logical devices of one chip is no evidence for several."""
    return case.placement == "cpu" or len(environment.gpus) >= case.device_count


def _labels_match(record: Observation, limit: Limit) -> bool:
    return all(
        any(fnmatchcase(record.labels.get(name, ""), pattern) for pattern in patterns)
        for name, patterns in limit.labels.items()
    )


def _flag_problem(flags: Sequence[Flag]) -> Problem | None:
    invalid = [flag for flag in flags if flag.severity == "invalid"]
    if not invalid:
        return None
    unfinished = next((flag for flag in invalid if flag.code == "not-converged"), None)
    if unfinished is not None:
        return Problem("not-converged", f"{unfinished.detail}.", "Train longer")
    details = "; ".join(f"{say_flag(flag.code)}, {flag.detail}" for flag in invalid)
    return Problem(
        "invalid-environment", f"The machine was disturbed while measuring ({details}).", "Quiet it and measure again."
    )


def _interval_problem(record: RatioRecord, comparison: Comparison) -> Problem | None:
    ratio = record.ratio
    unit = "launches" if record.replicate == "launch" else "seeds"
    were = f"{unit} were" if ratio.n != 1 else "launch was" if record.replicate == "launch" else "seed was"
    if ratio.low is None or ratio.high is None or ratio.n < comparison.least_replicates:
        return Problem(
            "too-few-replicates",
            f"Only {ratio.n} {were} measured; a verdict needs {comparison.least_replicates}.",
            f"Measure more {unit}",
        )
    return None


def _consistency_problem(record: RatioRecord) -> Problem | None:
    """Find a stored interval narrower than the replicates give; an adaptive stop only widens it."""
    own = ratio_estimate(record.log_ratios) if len(record.log_ratios) > 1 else None
    broken = Problem(
        "inconsistent-record",
        "The stored interval does not follow from the stored replicates.",
        "Measure again; do not edit results by hand.",
    )
    if own is None or own.n != record.ratio.n or not math.isclose(own.value, record.ratio.value, rel_tol=1e-6):
        return broken
    assert own.low is not None and own.high is not None
    assert record.ratio.low is not None and record.ratio.high is not None
    narrower = record.ratio.low > own.low * (1 + 1e-6) or record.ratio.high < own.high * (1 - 1e-6)
    return broken if narrower else None

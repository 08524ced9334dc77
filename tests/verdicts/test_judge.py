import json
import math
import os
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtxbench.records import Case, Flag, Observation, RatioRecord, Record, Verdict
from rtxbench.results.store import LoadedRun
from rtxbench.stats import ratio_estimate
from rtxbench.verdicts.claims import CaseSelectors, Claim, Comparison
from rtxbench.verdicts.judge import judge, load_claims
from tests.judged_runs import (
    SPREAD,
    arms_of,
    case_record,
    environment,
    evidence_for,
    loaded_run,
    observation,
    paired,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "verdicts.json"
CLAIMS = {claim.id: claim for claim in load_claims()}
TESTABLE = [claim for claim in CLAIMS.values() if not claim.not_testable]
FLOAT32 = Case(workload="resnet50", batch_size=64, placement="gpu")
FLOAT16 = msgspec.structs.replace(FLOAT32, precision="mixed_float16")
SPEED = Claim(
    id="mine",
    title="t",
    says="s",
    measured="m",
    reproduce="rtxbench run",
    comparisons=(
        Comparison(
            name="mixed",
            varies=("precision",),
            rule="at-least",
            threshold_ratio=1.5,
            baseline=CaseSelectors(precision=("float32",)),
            candidate=CaseSelectors(precision=("mixed_*",)),
        ),
    ),
)


def whole(records: list[Record], claim: Claim, gpus: int = 2) -> Verdict:
    return judge([loaded_run(records, environment(gpus))], [claim])[0]


def quality_evidence(claim: Claim) -> list[Record]:
    """Equal-quality evidence for every precision and placement the claim's candidates use."""
    comparison = CLAIMS["equal-quality"].comparisons[0]
    records: list[Record] = []
    for part in claim.comparisons if claim.needs_equal_quality else ():
        candidate = arms_of(part)[1]
        baseline = msgspec.structs.replace(candidate, precision="float32", workload="digits-cnn")
        candidate = msgspec.structs.replace(candidate, workload="digits-cnn")
        records += paired(baseline, candidate, 1.0, metric=comparison.metric, replicate="seed")
    return records


SCENARIOS = {
    "supported": {"ratio": 1.2, "equal": 1.0, "limit_factor": 0.0},
    "refuted": {"ratio": 0.8, "equal": 0.7, "limit_factor": 3.0},
    "inconclusive": {"ratio": 0.97, "equal": 1.25, "limit_factor": 0.0},
}


def scenario(claim: Claim, name: str) -> list[Record]:
    if name == "not-measured":
        return []
    levels = dict(SCENARIOS[name])
    if name != "refuted" and any(part.metric == "test_accuracy" for part in claim.comparisons):
        levels["ratio"] = 1.02 if name == "supported" else 0.995
    records = evidence_for(claim, **levels) + quality_evidence(claim)
    if name == "inconclusive" and claim.limits:
        records = [observation(claim.id, claim.limits[0].metric, [0.0] * 2, labels={"format": "keras"})]
    return records


def golden_verdicts() -> dict[str, dict[str, object]]:
    names = (*SCENARIOS, "not-measured")
    found: dict[str, dict[str, object]] = {}
    for claim in CLAIMS.values():
        for name in names if not claim.not_testable else ("not-measured",):
            verdict = whole(scenario(claim, name), claim)
            found[f"{claim.id}: {name}"] = {
                "state": verdict.state,
                "reason": verdict.reason,
                "explanation": verdict.explanation,
                "next_step": verdict.next_step,
            }
    return found


def test_golden_verdicts_of_every_claim() -> None:
    """For each claim of the suite synthetic evidence gives the verdict, reason and sentence on record."""
    found = golden_verdicts()
    if os.environ.get("RTXBENCH_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("claim", TESTABLE, ids=lambda claim: claim.id)
@pytest.mark.parametrize("state", [*SCENARIOS, "not-measured"])
def test_every_testable_claim_can_reach_every_state(claim: Claim, state: str) -> None:
    """No claim of the suite is decided before it is measured: evidence can support it, refute it or leave it open."""
    assert whole(scenario(claim, state), claim).state == state


def test_dlss_is_not_testable_with_sources() -> None:
    """DLSS is answered with a reason and the vendor's description, not dropped."""
    verdict = whole([], CLAIMS["dlss"])
    assert verdict.state == "not-testable"
    assert "no training interface" in verdict.explanation
    assert all("https://" in source for source in CLAIMS["dlss"].sources)


@pytest.mark.parametrize("claim_id", ["tensor-cores", "vision", "data-parallel", "model-parallel", "rtx-30-40"])
def test_a_gpu_claim_on_a_cpu_machine_is_not_measured(claim_id: str) -> None:
    """Records that call themselves GPU records give no verdict on a machine that lists no GPU."""
    verdict = whole(scenario(CLAIMS[claim_id], "supported"), CLAIMS[claim_id], gpus=0)
    assert (verdict.state, verdict.reason) == ("not-measured", "no-gpu")
    assert CLAIMS[claim_id].where in (verdict.next_step or "")


def test_two_gpu_claims_need_two_gpus() -> None:
    """A MirroredStrategy record from a one-GPU machine (logical devices) is never evidence of scaling."""
    verdict = whole(scenario(CLAIMS["data-parallel"], "supported"), CLAIMS["data-parallel"], gpus=1)
    assert (verdict.state, verdict.reason) == ("not-measured", "too-few-gpus")


def test_logical_devices_are_never_evidence() -> None:
    """A functional check matches no comparison, however many GPUs the machine has."""
    one = Case(workload="mlp", batch_size=64, placement="gpu")
    for change in ({"placement": "mirrored-logical"}, {"placement": "ddp-logical"}):
        many = msgspec.structs.replace(one, device_count=2, **change)
        claim = msgspec.structs.replace(
            SPEED,
            comparisons=(
                Comparison(
                    name="x",
                    varies=("placement", "device_count"),
                    may_vary=("variant",),
                    rule="at-least",
                    threshold_ratio=1.1,
                    candidate=CaseSelectors(variant=("*",)),
                ),
            ),
        )
        assert whole(paired(one, many, 1.9), claim).state == "not-measured"


def test_a_case_against_itself_is_never_evidence() -> None:
    """An A/A record, even one that shows a large ratio, supports nothing."""
    for case in (FLOAT32, FLOAT16):
        assert whole(paired(case, case, 3.0), SPEED).state == "not-measured"


IMPROVEMENTS = [c for c in TESTABLE if any(part.rule == "at-least" and part.required for part in c.comparisons)]


@pytest.mark.parametrize("claim", IMPROVEMENTS, ids=lambda claim: claim.id)
def test_equal_arms_support_no_speed_claim(claim: Claim) -> None:
    """Two arms of the same speed and quality never support a claim of improvement."""
    records: list[Record] = []
    for part in claim.comparisons:
        records += paired(*arms_of(part), 1.0, metric=part.metric, replicate=part.replicate)
    assert whole(records + quality_evidence(claim), claim).state != "supported"


def test_a_pair_at_two_batch_sizes_is_no_precision_evidence() -> None:
    """A field that may not vary keeps the record out."""
    other = msgspec.structs.replace(FLOAT16, batch_size=128)
    assert whole(paired(FLOAT32, other, 2.0), SPEED).state == "not-measured"


def test_weak_scaling_needs_the_same_batch_per_device() -> None:
    """Devices doubled with the batch tripled is neither strong nor weak scaling."""
    one = Case(workload="resnet50", batch_size=32, placement="gpu")
    many = msgspec.structs.replace(one, placement="mirrored", device_count=2, batch_size=96)
    assert whole(paired(one, many, 1.9), CLAIMS["data-parallel"]).state == "not-measured"


def change_last(records: list[Record], **changes: object) -> list[Record]:
    return [*records[:-1], msgspec.structs.replace(records[-1], **changes)]


def with_numerics(records: list[Record], number: int, **numerics: float) -> list[Record]:
    measurement = msgspec.structs.replace(records[number].measurement, numerics=numerics)  # type: ignore[union-attr]
    changed = msgspec.structs.replace(records[number], measurement=measurement)
    return [*records[:number], changed, *records[number + 1 :]]


INVALID = (Flag(code="hw-slowdown", severity="invalid", detail="3 % of samples"),)
GOOD = paired(FLOAT32, FLOAT16, 2.0)
UNFINISHED = (Flag(code="not-converged", severity="invalid", detail="augmented was still improving"),)
PRECONDITIONS = {
    "half-evidence": GOOD[1:],
    "invalid-environment": change_last(GOOD, flags=INVALID),
    "not-converged": change_last(GOOD, flags=UNFINISHED),
    "too-few-replicates": paired(FLOAT32, FLOAT16, 2.0, spread=SPREAD[:2]),
    "loss-not-finite": [
        msgspec.structs.replace(case_record(FLOAT32, loss=None), record_id=GOOD[0].record_id),
        *GOOD[1:],
    ],
    "failed-arm": [msgspec.structs.replace(GOOD[0], status="failed", reason="out of memory"), *GOOD[1:]],
    "precision-contradicted": with_numerics(GOOD, 0, matmul_relative_error=3e-4),
    "inconsistent-record": change_last(GOOD, log_ratios=tuple(0.1 + value for value in SPREAD)),
}


@pytest.mark.parametrize("reason", PRECONDITIONS)
def test_unfit_evidence_gives_no_verdict(reason: str) -> None:
    """A 2× ratio that fails a precondition is inconclusive and says which one."""
    verdict = whole(PRECONDITIONS[reason], SPEED)
    assert (verdict.state, verdict.reason) == ("inconclusive", reason)
    assert verdict.next_step


def test_an_arm_flagged_invalid_is_unfit() -> None:
    """The arms' own records count, not only the pair's."""
    flagged = [msgspec.structs.replace(GOOD[0], flags=INVALID), *GOOD[1:]]
    assert whole(flagged, SPEED).reason == "invalid-environment"


def test_a_wide_interval_far_from_the_line_decides() -> None:
    """Width alone silences nobody: ±6 % at twice the speed is decided, at 99 % instead of 95 %."""
    verdict = whole(paired(FLOAT32, FLOAT16, 2.0, spread=[12 * value for value in SPREAD]), SPEED)
    assert verdict.state == "supported"
    assert verdict.estimate is not None
    assert verdict.estimate.confidence == 0.99
    assert "99 % interval" in verdict.explanation


def test_an_arm_that_had_not_warmed_up_raises_the_confidence_asked_for() -> None:
    """Where its rounds cannot tell whether the ratio held still, doubt costs 99 %, not the verdict."""
    verdict = whole(change_last(GOOD, warmup_ok=False), SPEED)
    assert verdict.estimate is not None
    assert (verdict.state, verdict.estimate.confidence) == ("supported", 0.99)
    assert [note.kind for note in verdict.notes] == []
    subject = judge([loaded_run(change_last(GOOD, warmup_ok=False), environment(2))], [SPEED])[1]
    assert "trend" in [note.kind for note in subject.notes]


def test_few_launches_and_a_stop_that_looked_at_the_data_need_99_percent() -> None:
    """Four launches, or an interval widened for an adaptive stop, decide only what 99 % decides."""
    few = whole(paired(FLOAT32, FLOAT16, 2.0, spread=SPREAD[:4]), SPEED)
    record = GOOD[2]
    assert isinstance(record, RatioRecord)
    stopped = whole(change_last(GOOD, ratio=ratio_estimate(record.log_ratios, adaptive=True)), SPEED)
    for verdict in (few, stopped):
        assert verdict.estimate is not None
        assert (verdict.state, verdict.estimate.confidence) == ("supported", 0.99)


def test_between_the_claim_and_its_margin_lies_about_the_line() -> None:
    """1.46 against a claimed 1.5 with 5 %: neither supported nor refuted, and no measurement would tell more."""
    verdict = whole(paired(FLOAT32, FLOAT16, 1.46), SPEED)
    assert (verdict.state, verdict.reason, verdict.leaning) == ("inconclusive", "about-the-line", None)
    assert verdict.next_step is None
    assert "1.425×" in verdict.explanation
    assert (verdict.threshold_ratio, verdict.refuted_below_ratio) == (1.5, pytest.approx(1.425))


@pytest.mark.parametrize(("ratio", "leaning"), [(1.5113, "likely-yes"), (1.422, "likely-no"), (1.5, None)])
def test_an_open_subject_leans_with_its_80_percent_interval(ratio: float, leaning: str | None) -> None:
    """A leaning is said only where it is there: never at the claimed ratio itself."""
    spread = [2.5 * value for value in SPREAD]
    verdict = whole(paired(FLOAT32, FLOAT16, ratio, spread=spread), SPEED)
    assert (verdict.state, verdict.leaning) == ("inconclusive", leaning)
    assert verdict.next_command == "rtxbench run"


@pytest.mark.parametrize(
    ("arm", "numerics", "words"),
    [
        (0, {"matmul_relative_error": 3e-7, "convolution_relative_error": 3e-4}, "a convolution errs by 3.0e-04"),
        (1, {"matmul_relative_error": 3e-7}, "it looks like float32"),
    ],
)
def test_a_precision_that_its_numbers_contradict_gives_no_verdict(
    arm: int, numerics: dict[str, float], words: str
) -> None:
    """Point 4: a strict convolution that rounded, and a float16 arm that multiplied in float32, void the comparison."""
    verdict = whole(with_numerics(GOOD, arm, **numerics), SPEED)
    assert (verdict.state, verdict.reason) == ("inconclusive", "precision-contradicted")
    assert words in verdict.explanation


def test_proven_precisions_keep_their_verdict() -> None:
    """Point 4, the control: errors that fit the labels change nothing."""
    proven = with_numerics(GOOD, 0, matmul_relative_error=3e-7, convolution_relative_error=8e-7)
    proven = with_numerics(proven, 1, matmul_relative_error=3e-4, convolution_relative_error=3e-4)
    assert whole(proven, SPEED).state == "supported"


def test_good_evidence_is_supported_with_its_records() -> None:
    """The control of the preconditions: nothing wrong, supported, evidence named."""
    verdict = whole(GOOD, SPEED)
    assert verdict.state == "supported"
    assert verdict.evidence == (GOOD[2].record_id, GOOD[0].record_id, GOOD[1].record_id)
    stored = GOOD[2].ratio  # type: ignore[union-attr]
    assert verdict.estimate is not None
    found = (verdict.estimate.value, verdict.estimate.low, verdict.estimate.high)
    assert found == pytest.approx((stored.value, stored.low, stored.high))


def test_one_workload_against_another_is_mixed_with_count_and_range() -> None:
    """Supported on two workloads and refuted on another, the claim depends: count, range, and on what it fails."""
    mlp = [msgspec.structs.replace(case, workload="mlp") for case in (FLOAT32, FLOAT16)]
    bert = [msgspec.structs.replace(case, workload="bert-base") for case in (FLOAT32, FLOAT16)]
    verdict = whole(GOOD + paired(*mlp, 1.0) + paired(*bert, 1.7), SPEED)
    assert (verdict.state, verdict.reason) == ("mixed", "depends-on-subject")
    assert (verdict.held, verdict.judged) == (2, 3)
    assert verdict.range_ratio == pytest.approx((1.7, 2.0))
    assert verdict.explanation == "Holds for 2 of 3 decided, 1.700× to 2.00×; not for a small dense net (1.000×)."


def test_a_part_not_measured_keeps_a_claim_from_being_supported() -> None:
    """Half of a claim's parts is not the claim."""
    part = CLAIMS["architecture"].comparisons[0]
    verdict = whole(paired(*arms_of(part), 2.0), CLAIMS["architecture"])
    assert (verdict.state, verdict.reason) == ("inconclusive", "incomplete-evidence")
    assert "depthwise" in verdict.explanation
    assert verdict.next_step == "Run `pytest bench/bench_claims.py --benchmark-only --claim architecture`."


def test_a_part_that_a_trial_could_not_give_is_named_with_its_reason() -> None:
    """Where the trial ran and stored why there is no figure, the verdict says it and names no command that was run."""
    claim = CLAIMS["tuning"]
    reason = "1 of 5 seeds did not reach the target"
    tuned = Observation(
        record_id="tuned",
        run_id="r",
        topic="tuning",
        metric="time_to_accuracy_s",
        values=(),
        replicate="seed",
        finished_at="2026-03-14T09:00:00+00:00",
        labels={"arm": "tuned"},
        reason=reason,
    )
    verdict = whole([*paired(*arms_of(claim.comparisons[0]), 2.0), tuned], claim)
    assert f"speed to a fixed accuracy (tuned: {reason})" in verdict.explanation
    assert verdict.next_step == "Run `pytest bench/bench_claims.py --benchmark-only --claim tuning --profile standard`."


def test_a_faster_precision_counts_only_at_equal_quality() -> None:
    """Faster without proof of quality, or with worse quality, is not supported; with equal quality it is."""
    claim = CLAIMS["tensor-cores"]
    speed = paired(FLOAT32, FLOAT16, 2.0)
    digits = [msgspec.structs.replace(case, workload="digits-cnn") for case in (FLOAT32, FLOAT16)]

    def quality(ratio: float) -> list[Record]:
        return paired(digits[0], digits[1], ratio, metric="images_per_test_error", replicate="seed")

    assert whole(speed, claim).reason == "quality-unproven"
    assert whole(speed + quality(0.7), claim).reason == "quality-differs"
    assert whole(speed + quality(1.0), claim).state == "supported"


def test_runs_that_disagree_are_inconclusive() -> None:
    """Two fit records of one subject with opposite outcomes are reported as such."""
    verdict = whole(GOOD + paired(FLOAT32, FLOAT16, 1.0), SPEED)
    assert (verdict.state, verdict.reason) == ("inconclusive", "runs-disagree")


def test_a_coarse_later_run_does_not_shadow_a_good_one() -> None:
    """Runs are combined by what they know: a few rough launches leave a decided question decided."""
    later = paired(
        FLOAT32, FLOAT16, 1.95, spread=[20 * v for v in SPREAD[1:4]], finished_at="2027-01-01T00:00:00+00:00"
    )
    verdict = whole(GOOD + later, SPEED)
    assert verdict.state == "supported"
    assert verdict.estimate is not None
    assert verdict.estimate.n == 8
    assert "2 runs together" in verdict.explanation


def test_runs_that_each_refute_refute_together_however_much_they_differ() -> None:
    """0.58 and, half an hour later, 0.49: the machine has two states, and in neither is it faster."""
    verdict = whole(paired(FLOAT32, FLOAT16, 0.58) + paired(FLOAT32, FLOAT16, 0.49), SPEED)
    assert verdict.state == "refuted"
    assert verdict.estimate is not None
    assert verdict.estimate.low is not None
    assert verdict.estimate.low < 0.49
    assert verdict.estimate.high is not None
    assert verdict.estimate.high > 0.58


def seeded(ratio: float, seeds: tuple[int, ...]) -> list[Record]:
    """A pair over the given seeds whose interval crosses the line."""
    spread = [5 * value for value in SPREAD]
    return paired(FLOAT32, FLOAT16, ratio, metric="m", replicate="seed", spread=spread, seeds=seeds)


@pytest.mark.parametrize(("second", "count"), [((0, 1, 2, 3, 4), 5), ((), 5), ((5, 6, 7, 8, 9), 10)])
def test_the_same_seeds_again_are_no_replication(second: tuple[int, ...], count: int) -> None:
    """Two runs over seeds are combined only where they are known to share none."""
    part = msgspec.structs.replace(SPEED.comparisons[0], metric="m", replicate="seed")
    claim = msgspec.structs.replace(SPEED, comparisons=(part,))
    verdict = whole(seeded(1.5, (0, 1, 2, 3, 4)) + seeded(1.51, second), claim)
    assert verdict.estimate is not None
    assert verdict.estimate.n == count


def test_the_next_step_is_the_one_most_comparisons_ask_for() -> None:
    """Two of three open workloads need more launches and one a better learning rate: the claim says launches."""
    mlp, bert = (
        [msgspec.structs.replace(case, workload=name) for case in (FLOAT32, FLOAT16)] for name in ("mlp", "bert-base")
    )
    broken = paired(*mlp, 2.0)
    broken[0] = msgspec.structs.replace(case_record(mlp[0], loss=None), record_id=broken[0].record_id)
    wide = [15 * value for value in SPREAD]
    records = broken + paired(FLOAT32, FLOAT16, 1.5, spread=wide) + paired(*bert, 1.5, spread=wide)
    verdict = whole(records, SPEED)
    assert verdict.next_step == "More launches narrow the interval: `rtxbench run`."


def test_several_open_models_are_measured_by_the_claims_own_command() -> None:
    """Two models need more launches, each by a command of its own: the claim names one that measures both."""
    claim = CLAIMS["cpu-matrix-unit"]
    wide = [15 * value for value in SPREAD]
    records: list[Record] = []
    for name in ("mlp", "cnn"):
        baseline = Case(workload=name, batch_size=8)
        candidate = msgspec.structs.replace(baseline, precision="mixed_bfloat16")
        records += paired(baseline, candidate, 1.1, spread=wide)
    verdicts = judge([loaded_run(records, environment(0))], [claim])
    assert {v.next_command for v in verdicts if v.subject} == {
        "rtxbench run --workload mlp --profile full",
        "rtxbench run --workload cnn --profile full",
    }
    assert verdicts[0].next_command == f"{claim.reproduce} --profile standard"
    assert verdicts[0].next_step == f"More launches narrow the interval: `{verdicts[0].next_command}`."


def test_a_refutation_pays_for_every_part_that_could_have_refuted() -> None:
    """A part refuted at p = 0.02 refutes a claim of one part, and not one of four."""
    parts = [msgspec.structs.replace(SPEED.comparisons[0], name=str(i), metric=f"m{i}") for i in range(4)]
    spread = [2 * value for value in SPREAD]
    records = [r for part in parts for r in paired(FLOAT32, FLOAT16, 1.6, metric=part.metric, spread=spread)]
    records[-1] = paired(FLOAT32, FLOAT16, 1.411, metric="m3", spread=spread)[-1]
    records[-1] = msgspec.structs.replace(
        records[-1], baseline_record=records[0].record_id, candidate_record=records[1].record_id
    )
    alone = msgspec.structs.replace(SPEED, comparisons=(parts[3],))
    assert whole(records, alone).state == "refuted"
    verdict = whole(records, msgspec.structs.replace(SPEED, comparisons=tuple(parts)))
    assert (verdict.state, verdict.reason, verdict.leaning) == ("inconclusive", "holm", "likely-no")


def many_runs(count: int) -> list[LoadedRun]:
    """Runs of one machine, each with ceilings, the same pair again and figures of its case."""
    labels = {"engine": "tensorflow", "kind": "gpu"}
    runs = []
    for number in range(count):
        records = paired(FLOAT32, FLOAT16, 2.0)
        records += [observation("ceiling", f"ceiling_{i}", (1.0,), labels=labels) for i in range(5)]
        records += [observation("step-evidence", "kernels_per_step", (9.0,), case=FLOAT16)]
        loaded = loaded_run(records, environment(2))
        runs.append(loaded._replace(run=msgspec.structs.replace(loaded.run, run_id=f"run-{number}")))
    return runs


def calls_to_judge(count: int) -> int:
    """Function calls that judging so many runs takes."""
    runs, calls = many_runs(count), 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        judge(runs, [SPEED])
    finally:
        sys.setprofile(None)
    return calls


def test_judging_takes_work_in_proportion_to_the_records() -> None:
    """Eight times the runs take eight times the calls, not sixty-four: ceilings are not searched for every ratio."""
    calls_to_judge(10)  # what is computed once, such as scipy's import
    assert calls_to_judge(160) < 9 * calls_to_judge(20)


def test_old_records_of_another_figure_are_named_and_not_misjudged() -> None:
    """Accuracies of an older version say nothing of errors: not measured, and the verdict says why."""
    claim = CLAIMS["equal-quality"]
    arms = arms_of(claim.comparisons[0])
    verdict = whole(paired(*arms, 1.0, metric="validation_accuracy", replicate="seed"), claim)
    assert (verdict.state, verdict.reason) == ("not-measured", "superseded-line")
    assert "no longer speaks for it; now it is judged by images per test error" in verdict.explanation
    assert verdict.next_command


def test_machines_are_judged_apart() -> None:
    """Two machines with opposite evidence get a verdict each."""
    runs = [
        loaded_run(GOOD, environment(1, machine="a")),
        loaded_run(paired(FLOAT32, FLOAT16, 1.0), environment(1, machine="b")),
    ]
    found = {(v.machine, v.state) for v in judge(runs, [SPEED]) if not v.subject}
    assert found == {("a", "supported"), ("b", "refuted")}


def test_a_machine_that_only_ran_the_gate_is_not_judged_beside_others() -> None:
    """Twelve times "not measured" say nothing of a machine that was never asked; alone, it is told what to run."""
    gate_only = loaded_run([observation("gate-selftest", "log_ratio", [0.0])], environment(0, machine="b"))
    others = loaded_run(GOOD, environment(1, machine="a"))
    assert {verdict.machine for verdict in judge([others, gate_only], [SPEED])} == {"a"}
    assert {verdict.machine for verdict in judge([gate_only], [SPEED])} == {"b"}


def test_holm_takes_back_what_many_questions_give() -> None:
    """An interval just above the line supports one claim asked alone, and not one of twenty."""
    spread = [deviation * 5 for deviation in SPREAD]
    records = paired(FLOAT32, FLOAT16, 1.5 * 1.02, spread=spread)
    alone = whole(records, SPEED)
    assert alone.state == "supported"
    silent = [msgspec.structs.replace(SPEED, id=f"claim-{number}") for number in range(19)]
    among = judge([loaded_run(records, environment(1))], [SPEED, *silent])[0]
    assert (among.state, among.reason) == ("inconclusive", "holm")


def test_a_skipped_case_says_why_nothing_was_measured() -> None:
    """The reason a case was skipped reaches the verdict."""
    skipped = case_record(FLOAT16, status="skipped", reason="needs compute capability 7.0", measurement=None)
    verdict = whole([skipped], SPEED)
    assert (verdict.state, verdict.reason) == ("not-measured", "case-skipped")
    assert "compute capability 7.0" in verdict.explanation


def test_a_deployment_difference_is_refuted_and_a_failure_is_not() -> None:
    """A value above the limit refutes; a format that could not be written decides nothing."""
    claim = CLAIMS["deployment"]
    good = evidence_for(claim, 1.0)
    bad = observation("deployment", "accuracy_difference", [0, 0, 0.1, 0, 0], labels={"format": "h5"})
    failed = observation("deployment", "accuracy_difference", [], labels={"format": "h5"}, reason="h5py is missing")
    assert whole([*good, bad], claim).state != "supported"
    assert whole([*good, failed], claim).state == "inconclusive"
    assert whole(good, claim).state == "supported"


@given(
    ratio=st.floats(0.2, 5.0),
    spread=st.lists(st.floats(-0.02, 0.02), min_size=2, max_size=12),
    threshold=st.floats(1.06, 3.0),
)
def test_supported_means_the_whole_interval_is_above_one(ratio: float, spread: list[float], threshold: float) -> None:
    """Whatever the data, no improvement is supported unless the interval excludes equality, and never both ways."""
    claim = msgspec.structs.replace(
        SPEED, comparisons=(msgspec.structs.replace(SPEED.comparisons[0], threshold_ratio=threshold),)
    )
    records = paired(FLOAT32, FLOAT16, ratio, spread=spread)
    record = records[-1]
    assert isinstance(record, RatioRecord)
    verdict = whole(records, claim)
    if verdict.state == "supported":
        assert record.ratio.low is not None
        assert record.ratio.low >= threshold * (1 - 1e-9)
        assert len(spread) >= 3
    if verdict.state == "refuted":
        assert record.ratio.high is not None
        assert record.ratio.high < threshold * 0.95
    assert math.isfinite(record.ratio.value)


def test_a_cheaper_model_says_how_much_of_the_saving_became_time() -> None:
    """Half the computation at 1.5 times the speed is two thirds of the saving, and the verdict says so."""
    part = CLAIMS["architecture"].comparisons[0]
    records = paired(*arms_of(part), 1.5)
    flops = (4e9, 2e9)
    for index, value in enumerate(flops):
        case = records[index]
        measurement = msgspec.structs.replace(case.measurement, flops_per_step=value)  # type: ignore[union-attr]
        records[index] = msgspec.structs.replace(case, measurement=measurement)
    subject = judge([loaded_run(records, environment(1))], [CLAIMS["architecture"]])[1]
    (note,) = subject.notes
    assert note.kind == "saving"
    assert "50 % less" in note.text
    assert "67 % of the saving became time" in note.text


def test_a_verdict_carries_its_cause() -> None:
    """Where the records say why, the verdict does: a baseline that multiplies in TF32 leaves little to gain."""
    records = paired(FLOAT32, FLOAT16, 1.0)
    measurement = msgspec.structs.replace(records[0].measurement, numerics={"matmul_relative_error": 3e-4})  # type: ignore[union-attr]
    records[0] = msgspec.structs.replace(records[0], measurement=measurement)
    assert "TF32" in (whole(records, SPEED).cause or "")


def test_a_placement_of_another_version_is_judged_without_a_cause() -> None:
    """Results from a newer rtxbench with a placement this one does not know still get their verdict."""
    cases = [msgspec.structs.replace(case, placement="gpu-of-tomorrow") for case in (FLOAT32, FLOAT16)]
    verdict = whole(paired(cases[0], cases[1], 2.0), SPEED)
    assert verdict.state == "supported"
    assert verdict.cause is None


def test_the_reason_of_one_claims_case_is_not_told_of_another() -> None:
    """A skipped data-parallel case says nothing about equal-quality, whose selectors it happens to fit."""
    case = Case(workload="mlp", batch_size=256, placement="mirrored", device_count=2, precision="mixed_float16")
    skipped = case_record(case, status="skipped", reason="needs two GPUs.", measurement=None, group="data-parallel/mlp")
    assert whole([skipped], CLAIMS["equal-quality"]).reason == "not-run"
    verdict = whole([skipped], CLAIMS["data-parallel"])
    assert verdict.reason == "case-skipped"
    assert ".." not in verdict.explanation
